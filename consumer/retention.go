package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
)

const (
	retentionEvery   = 5 * time.Minute // asked for the topics' retention
	retentionAgain   = 15 * time.Second
	retentionTimeout = 5 * time.Second
)

// retain keeps up with how long the topics keep their records, so that an open record is noticed before Kafka deletes
// it. Nothing depends on it: the right to read a topic's configuration is optional.
func (g *generation) retain(ctx context.Context) {
	defer g.c.cfg.Watch.Loop("retention").End()
	for {
		pause := retentionEvery
		if err := g.c.askRetention(ctx, g.topics); err != nil {
			g.c.cfg.Log.Debug().Err(err).Msg("the topics' retention is not known")
			if !errors.Is(err, kafka.UnsupportedVersion) {
				pause = retentionAgain
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// askRetention asks Kafka for the retention of topics. If Kafka does not answer, the last answer stands.
func (c *Consumer) askRetention(ctx context.Context, topics []string) error {
	ctx, stop := context.WithTimeout(ctx, retentionTimeout)
	defer stop()
	req := &describeconfigs.Request{}
	for _, topic := range topics {
		req.Resources = append(req.Resources, describeconfigs.RequestResource{ResourceType: int8(kafka.ResourceTypeTopic),
			ResourceName: topic, ConfigNames: []string{retentionName, policyName}})
	}
	res, err := exchange[*describeconfigs.Response](ctx, c.transport, c.addr,
		&optional{versioned: versioned{Message: req, clientID: c.cfg.ClientID, newest: newestVersion}})
	if err != nil {
		return fmt.Errorf("ask for the topics' configuration: %w", err)
	}
	kept := map[string]time.Duration{}
	var failed error
	for _, r := range res.Resources {
		if err := failure(r.ErrorCode); err != nil {
			if !errors.Is(err, kafka.TopicAuthorizationFailed) { // the right is optional
				failed = errors.Join(failed, fmt.Errorf("read the configuration of topic %s: %w", r.ResourceName, err))
			}
			continue
		}
		if keeps, ok := retentionOf(r.ConfigEntries); ok {
			kept[r.ResourceName] = keeps
		}
	}
	c.kept.Store(&kept)
	return failed
}

const (
	retentionName = "retention.ms"
	policyName    = "cleanup.policy"
)

// retentionOf is after what time a topic with this configuration deletes records. ok is false if it deletes none by
// their age.
func retentionOf(entries []describeconfigs.ResponseConfigEntry) (keeps time.Duration, ok bool) {
	values := map[string]string{}
	for _, e := range entries {
		values[e.ConfigName] = e.ConfigValue
	}
	ms, err := strconv.ParseInt(values[retentionName], 10, 64)
	if err != nil || ms < 0 || !strings.Contains(values[policyName], "delete") {
		return 0, false
	}
	return time.Duration(min(ms, int64(longestRetention/time.Millisecond))) * time.Millisecond, true
}

const longestRetention = 1<<63 - 1 // of time.Duration; Kafka allows as many milliseconds

// untilDeleted tells how long it is until a topic's retention reaches the partition's oldest open record; 0 if it has.
// ok is false if there is no such record, or if its time cannot be.
func (p *partition) untilDeleted(keeps time.Duration, now time.Time) (left time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := p.open.oldest
	if oldest == nil || !plausible(oldest.Time) {
		return 0, false
	}
	return max(0, keeps-oldest.age(now)), true
}

// openRetention is untilDeleted in seconds; nil if it is unknown, or if the topic deletes nothing by its age.
func (c *Consumer) openRetention(p *partition, now time.Time) *float64 {
	kept := c.kept.Load()
	if kept == nil {
		return nil
	}
	keeps, ok := (*kept)[p.topic]
	if !ok {
		return nil
	}
	left, ok := p.untilDeleted(keeps, now)
	if !ok {
		return nil
	}
	seconds := left.Seconds()
	return &seconds
}

// optional is a request that a broker need not know. Apache Kafka closes the connection of a request that it does not
// know.
type optional struct {
	versioned
	known bool
}

func (o *optional) Required(spoken map[protocol.ApiKey]int16) bool {
	_, o.known = spoken[o.ApiKey()]
	return o.versioned.Required(spoken)
}

func (o *optional) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if !o.known {
		return nil, fmt.Errorf("the broker does not speak %s: %w", o.ApiKey(), kafka.UnsupportedVersion)
	}
	return o.versioned.RawExchange(rw)
}
