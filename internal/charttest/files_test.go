package charttest

import (
	"encoding/json"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	core "k8s.io/api/core/v1"
)

// TestFiles: the alerts and the dashboard of helm/tasksink/files are installed whole, and point at the runbook that the
// values name. helm/tasksink/ci/everything-values.yaml names another than the default.
func TestFiles(t *testing.T) {
	t.Parallel()
	const runbook = "https://runbooks.example.com/tasksink/docs/runbook.md"
	seen := 0
	for _, o := range render(t, "--values="+chart+"/ci/everything-values.yaml") {
		switch is := as(t, o).(type) {
		case *monitoring.PrometheusRule:
			for _, group := range is.Spec.Groups {
				for _, rule := range group.Rules {
					seen++
					if at := rule.Annotations["runbook_url"]; rule.Alert != "" && !strings.HasPrefix(at, runbook+"#") {
						t.Errorf("%s points at %q", rule.Alert, at)
					}
				}
			}
		case *core.ConfigMap:
			text, dashboard := is.Data["tasksink.json"]
			if !dashboard {
				continue
			}
			seen++
			var parsed struct {
				Title  string
				Panels []any
			}
			if err := json.Unmarshal([]byte(text), &parsed); err != nil || parsed.Title == "" || len(parsed.Panels) < 5 {
				t.Errorf("the dashboard is not whole: %v %q, %d panels", err, parsed.Title, len(parsed.Panels))
			}
			if !strings.Contains(text, runbook) || strings.Contains(text,
				"github.com/tasksink/tasksink/blob/main/docs/runbook.md") {
				t.Error("the dashboard points at another runbook than the values name")
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d alerts and dashboards are installed", seen)
	}
}
