package upsert

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
)

// categoryPanic is of records on which tasksink's own code panics: each is a dead letter, and its neighbours flow.
const categoryPanic = "PANIC"

// panicked is a panic in the code that works on one record.
type panicked struct {
	value any
	stack []byte
}

// caught is what recover returned; nil if there was no panic.
func caught(value any) *panicked {
	if value == nil {
		return nil
	}
	return &panicked{value, debug.Stack()}
}

// log reports the panic. The value may quote the record, so only the runtime's own errors are written out.
func (p *panicked) log(log zerolog.Logger, rec *consumer.Record, stage string) {
	what := fmt.Sprintf("%T", p.value)
	if err, ok := p.value.(runtime.Error); ok {
		what = err.Error()
	}
	log.Error().Str("topic", rec.Topic).Int("partition", rec.Partition).Int64("offset", rec.Offset).Str("stage", stage).
		Str("panic", what).Bytes("stack", p.stack).
		Msg("tasksink panicked on a record, which becomes a dead letter; report this as a bug, with the stack")
}

func (p *panicked) reason(stage string) *dlq.Reason {
	return &dlq.Reason{Stage: stage, Category: categoryPanic, Message: cut(fmt.Sprint(p.value), maxMessage)}
}

// inspect is for tests: it sees each record as it is decoded, and each as its input is encoded.
var inspect = func(_ string, _ *consumer.Record) {}
