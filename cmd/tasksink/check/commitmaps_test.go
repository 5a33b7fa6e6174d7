package check_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/cmd/tasksink/check"
	"github.com/tasksink/tasksink/consumer/offsetmap"
	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// TestCommitMaps: a row says what the metadata of the group's commits holds, and which of it is ignored. What a map has
// as settled does not wait.
func TestCommitMaps(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		var got strings.Builder
		for _, tc := range []struct {
			name   string
			commit func(text func(committed int64, change func(*offsetmap.Place)) string) []string // for each partition
		}{
			{"maps", func(text func(int64, func(*offsetmap.Place)) string) []string {
				return []string{text(0, nil), text(1, nil), text(2, nil), text(3, nil)}
			}},
			{"an older version committed", func(func(int64, func(*offsetmap.Place)) string) []string {
				return []string{"", ""}
			}},
			{"maps that are ignored", func(text func(int64, func(*offsetmap.Place)) string) []string {
				mirrored := text(1, func(at *offsetmap.Place) { at.Cluster = "another" })
				return []string{text(0, nil), mirrored, text(7, nil), "by another program"}
			}},
			{"one of another group, one cut", func(text func(int64, func(*offsetmap.Place)) string) []string {
				copied := text(0, func(at *offsetmap.Place) { at.Group = "another" })
				return []string{copied, text(1, nil)[:40]}
			}},
			{"a newer version committed", func(text func(int64, func(*offsetmap.Place)) string) []string {
				return []string{"tasksink2.anything", "tasksink2.anything", text(2, nil)}
			}},
		} {
			t.Run(tc.name, func(t *testing.T) {
				p := newPlace(t, b)
				p.topics(nil, good())
				p.produce(100)
				at := offsetmap.Place{Cluster: p.clusterID(), Group: p.name}
				p.commitMetadata(tc.commit(func(committed int64, change func(*offsetmap.Place)) string {
					place := at
					if change != nil {
						change(&place)
					}
					var e offsetmap.Encoder
					text, _ := e.Encode(place, offsetmap.Map{Committed: committed, Epoch: 0,
						Settled: []offsetmap.Span{{From: committed + 1, To: committed + 11}}}, 4096)
					return text
				}))
				fmt.Fprintf(&got, "# %s\n", tc.name)
				for _, r := range p.look() {
					if r.Check == "commit metadata" || r.Check == "offsets" {
						got.WriteString(p.neutral(fmt.Sprintf("%s %s: %s\n%s\n", r.Result, r.Subject, r.Seen, r.Remedy)))
					} else if r.Result == check.Failed {
						t.Errorf("%+v", r)
					}
				}
			})
		}
		golden.Compare(t, "commitmaps.golden", got.String())
	})
}

func (p *place) clusterID() string {
	p.t.Helper()
	res, err := p.client().Metadata(p.t.Context(), &kafka.MetadataRequest{Topics: []string{p.name}})
	if err != nil {
		p.t.Fatal(err)
	}
	return res.ClusterID
}

// commitMetadata commits partition i at offset i, with the metadata that is at i, as no member.
func (p *place) commitMetadata(metadata []string) {
	p.t.Helper()
	var commits []kafka.OffsetCommit
	for i, text := range metadata {
		commits = append(commits, kafka.OffsetCommit{Partition: i, Offset: int64(i), Metadata: text})
	}
	p.commitAll(commits...)
}
