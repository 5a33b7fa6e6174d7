package check

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go/protocol/describegroups"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/upsert/pace"
)

// foreign says why a member of the group is not a tasksink; empty if it is one. While the group rebalances, members say
// nothing of themselves, and only the client id tells.
func foreign(m describegroups.ResponseGroupMember) string {
	topics, note, ok := subscription(m.MemberMetadata)
	what := strings.Join(topics, ", ")
	switch {
	case len(m.MemberMetadata) == 0 && strings.HasPrefix(m.ClientID, config.ClientID):
		return ""
	case len(m.MemberMetadata) == 0:
		return "joining"
	case !ok:
		return "its metadata is unreadable"
	case !strings.HasPrefix(m.ClientID, config.ClientID):
		return what
	case !pace.IsNote(note):
		return what + ", without the notes of a tasksink"
	default:
		return ""
	}
}

// subscription reads what a member brought into the group, by Kafka's consumer protocol: which topics it wants, sorted,
// and its note. Of newer versions the beginning is the same. The bytes come from any program: no length in them is
// believed before so much is there.
func subscription(metadata []byte) (topics []string, note []byte, ok bool) {
	rest, ok := metadata, true
	take := func(n int) (b []byte) {
		if n < 0 || n > len(rest) {
			ok = false
			return nil
		}
		b, rest = rest[:n], rest[n:]
		return b
	}
	number := func(size int) int {
		b := take(size)
		switch {
		case !ok:
			return -1
		case size == 2:
			return int(int16(binary.BigEndian.Uint16(b)))
		default:
			return int(int32(binary.BigEndian.Uint32(b)))
		}
	}
	number(2) // the version
	for n := number(4); n > 0 && ok; n-- {
		topics = append(topics, string(take(number(2))))
	}
	if n := number(4); n >= 0 { // less: there is none
		note = take(n)
	}
	if !ok {
		return nil, nil, false
	}
	slices.Sort(topics)
	return topics, note, true
}
