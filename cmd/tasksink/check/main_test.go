package check_test

import (
	"testing"

	"github.com/tasksink/tasksink/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }
