package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// stage is one run: an account of its own, a consumer group of its own, and the workers in it.
type stage struct {
	lab      *lab
	subject  subject
	topic    string
	group    string
	settings []string // NAME=VALUE, beside those that every run has
	account  *account
	workers  []*process
}

// conditions are those of a run.
type conditions struct {
	limit    int // of the account; 0: unlimited, and the worker is told so
	latency  time.Duration
	inFlight int      // 0: the worker's default
	settings []string // NAME=VALUE, more of them
}

func (l *lab) open(ctx context.Context, s subject, topic string, c conditions) (*stage, error) {
	a, err := openAccount(ctx, c.limit, c.latency)
	if err != nil {
		return nil, err
	}
	st := &stage{lab: l, subject: s, topic: topic, group: fmt.Sprintf("bench-%d", time.Now().UnixNano()), account: a,
		settings: c.settings}
	if c.limit == 0 {
		st.settings = append(st.settings, "TASKSINK_HUBSPOT_RATE=0")
	}
	if c.inFlight > 0 {
		st.settings = append(st.settings, "TASKSINK_MAX_IN_FLIGHT="+strconv.Itoa(c.inFlight))
	}
	if l.daily {
		st.settings = append(st.settings, "TASKSINK_HUBSPOT_DAILY=0")
	}
	return st, nil
}

// close ends what is left of the run.
func (st *stage) close() {
	for _, w := range st.workers {
		w.kill()
	}
	st.account.close()
}

// environ is what a worker is told.
func (st *stage) environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TASKSINK_") {
			env = append(env, v)
		}
	}
	return append(append(env,
		"TASKSINK_KAFKA_BROKERS="+st.lab.addr, "TASKSINK_KAFKA_TOPICS="+st.topic, "TASKSINK_KAFKA_GROUP="+st.group,
		"TASKSINK_HUBSPOT_URL="+st.account.url, "TASKSINK_HUBSPOT_TOKEN=bench", "TASKSINK_HUBSPOT_ID_PROPERTY="+idProperty,
		"TASKSINK_LISTEN=127.0.0.1:0", "TASKSINK_LOG_LEVEL=warn",
		"KAFKA_BROKERS="+st.lab.addr, "KAFKA_TOPIC="+st.topic, "KAFKA_GROUP="+st.group, "HUBSPOT_URL="+st.account.url),
		st.settings...)
}

// start starts one more worker.
func (st *stage) start(ctx context.Context) (*process, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), st.subject.argv[0], st.subject.argv[1:]...)
	cmd.Env = st.environ()
	p, err := launch(st.subject.name, cmd)
	if err != nil {
		return nil, err
	}
	st.workers = append(st.workers, p)
	return p, nil
}

// stopLast stops the worker that was started last.
func (st *stage) stopLast() (usage, error) {
	last := len(st.workers) - 1
	p := st.workers[last]
	st.workers = st.workers[:last]
	return p.stop()
}

// until waits until the receiver's counts satisfy done. It fails if a worker ends meanwhile.
func (st *stage) until(ctx context.Context, done func(counts) bool) error {
	for {
		c, err := st.account.counts(ctx)
		if err != nil {
			return err
		}
		if done(c) {
			return nil
		}
		if err := st.lives(); err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%s has sent %d records in %d requests: %w", st.subject.name, c.Records, c.Requests, err)
		}
	}
}

func (st *stage) lives() error {
	var all []error
	for _, w := range st.workers {
		all = append(all, w.failed())
	}
	return errors.Join(all...)
}

// span waits, while the workers live.
func (st *stage) span(ctx context.Context, d time.Duration) error {
	if err := pause(ctx, d); err != nil {
		return err
	}
	return st.lives()
}

// warm starts a worker and produces the event of the given number, until it has been received: then the worker
// works. It returns the worker.
func (st *stage) warm(ctx context.Context, event int) (*process, error) {
	p, err := st.start(ctx)
	if err != nil {
		return nil, err
	}
	if err := st.lab.produce(ctx, st.topic, 1, event, event+1, recordBytes); err != nil {
		return nil, err
	}
	return p, st.until(ctx, func(c counts) bool { return c.Records == 1 })
}

const recordBytes = 350 // of an event's value, where a row does not say otherwise
