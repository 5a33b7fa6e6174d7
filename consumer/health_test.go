package consumer

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
)

// TestRests: a partition that fails rests longer each time, up to five seconds, and is asked for alone; when it moves
// to another leader it is tried at once.
func TestRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &health{leader: -1, epoch: -1}
		if claimed, _, _ := h.claim(1, time.Now()); claimed {
			t.Error("a partition without a leader was claimed")
		}
		h.lead(1, 0)
		claimed, suspect, _ := h.claim(1, time.Now())
		if !claimed || suspect {
			t.Errorf("a healthy partition: claimed %v, suspect %v", claimed, suspect)
		}
		if again, _, _ := h.claim(1, time.Now()); again {
			t.Error("it was claimed twice")
		}
		h.release(1)
		for try, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
			h.fail(fetching, 7, kafka.KafkaStorageError)
			claimed, suspect, due := h.claim(1, time.Now())
			rest := time.Until(due)
			if want *= time.Millisecond; claimed || !suspect || rest < want*4/5 || rest > want*6/5 {
				t.Errorf("failure %d: claimed %v, rests %v, want about %v", try+1, claimed, rest, want)
			}
			time.Sleep(rest)
			if claimed, suspect, _ = h.claim(1, time.Now()); !claimed || !suspect {
				t.Errorf("after its rest: claimed %v, suspect %v", claimed, suspect)
			}
			h.release(1)
		}
		h.fail(fetching, 7, kafka.NotLeaderForPartition)
		h.lead(2, 0)
		if claimed, suspect, _ := h.claim(2, time.Now()); !claimed || !suspect {
			t.Errorf("with another leader: claimed %v, suspect %v", claimed, suspect)
		}
		if !h.release(1) || h.release(2) {
			t.Error("release does not tell who leads it by now")
		}
	})
}

// TestProblem: what fails is shown at once, logged after a second and then each minute, and held after ten seconds. An
// open transaction is shown when it is ten seconds old, and another one begins anew.
func TestProblem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, began := &health{}, time.Now()
		h.fail(committing, 3, errors.New("refused"))
		if p := h.problem(time.Now()); p == nil || p.Offset != 3 || !p.Since.Equal(began) {
			t.Errorf("shown: %+v", p)
		}
		logged, held := "", time.Duration(0)
		for range 130 {
			time.Sleep(time.Second)
			h.fail(committing, 3, errors.New("refused"))
			_, log, lasting := h.report(time.Now())
			if log {
				logged += fmt.Sprint(time.Since(began), " ")
			}
			if lasting && held == 0 {
				held = time.Since(began)
			}
		}
		if logged != "1s 1m1s 2m1s " || held != patience {
			t.Errorf("logged after %s, held after %v", logged, held)
		}
		if ended := h.succeed(committing); ended == nil || !ended.Since.Equal(began) || h.problem(time.Now()) != nil {
			t.Errorf("ended: %+v", ended)
		}
		for _, offset := range []int64{50, 60} {
			for range 9 {
				h.fail(passing, offset, errOpenTransaction)
				time.Sleep(time.Second)
			}
			if p := h.problem(time.Now()); p != nil {
				t.Errorf("a young transaction is shown: %+v", p)
			}
		}
		time.Sleep(time.Second)
		if p := h.problem(time.Now()); p == nil || p.Cause != causeTransaction || p.Offset != 60 {
			t.Errorf("shown: %+v", p)
		}
	})
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	for cause, errs := range map[string][]error{
		causeMissing:     {kafka.UnknownTopicOrPartition, kafka.UnknownTopicID},
		causeNoLeader:    {kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.FencedLeaderEpoch},
		causeDenied:      {kafka.TopicAuthorizationFailed},
		causeStorage:     {kafka.KafkaStorageError},
		causeCorrupt:     {kafka.InvalidMessage, fmt.Errorf("%w: crc32 checksum mismatch", errUnreadable)},
		causeUnreachable: {kafka.BrokerNotAvailable, errors.New("connection refused")},
		causeOther:       {kafka.Unknown, kafka.ThrottlingQuotaExceeded},
	} {
		for _, err := range errs {
			if got, remedy := diagnose(fmt.Errorf("fetch: %w", err)); got != cause || remedy == "" {
				t.Errorf("%v: %s, %q; want %s", err, got, remedy, cause)
			}
		}
	}
}
