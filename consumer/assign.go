package consumer

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// The formats below are those of Kafka's consumer protocol: what a member subscribes to as it joins, and what the
// group's leader assigns. They come from other programs, too, so nothing in them is believed before it is there.

// subscription is what a member brings into the group.
type subscription struct {
	member string
	topics []string
	note   []byte // nil if there is none
}

var errMalformed = errors.New("the bytes are no subscription or assignment of Kafka's consumer protocol")

// bytes writes version 0: kafka-go's own consumer group, which runs in older versions of tasksink, reads nothing newer.
func (s subscription) bytes() []byte {
	b := binary.BigEndian.AppendUint16(nil, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.topics)))
	for _, topic := range s.topics {
		b = appendString(b, topic)
	}
	if s.note == nil {
		return binary.BigEndian.AppendUint32(b, 1<<32-1) // null
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.note)))
	return append(b, s.note...)
}

// parseSubscription reads any version: newer ones only add to the end.
func parseSubscription(member string, b []byte) (subscription, error) {
	f := &fields{rest: b}
	f.uint16() // the version
	s := subscription{member: member}
	for range f.count() {
		s.topics = append(s.topics, f.string())
	}
	s.note = f.bytes()
	if f.failed {
		return subscription{}, errMalformed
	}
	return s, nil
}

// parts names partitions by topic.
type parts map[string][]int

func (p parts) bytes() []byte {
	b := binary.BigEndian.AppendUint16(nil, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
	for topic, ids := range p {
		b = appendString(b, topic)
		b = binary.BigEndian.AppendUint32(b, uint32(len(ids)))
		for _, id := range ids {
			b = binary.BigEndian.AppendUint32(b, uint32(id))
		}
	}
	return binary.BigEndian.AppendUint32(b, 1<<32-1) // no data of the leader's
}

// parseAssignment reads any version. A member that got nothing may get no bytes at all.
func parseAssignment(b []byte) (parts, error) {
	p := parts{}
	if len(b) == 0 {
		return p, nil
	}
	f := &fields{rest: b}
	f.uint16() // the version
	for range f.count() {
		topic := f.string()
		for range f.count() {
			p[topic] = append(p[topic], int(int32(f.uint32())))
		}
	}
	if f.failed {
		return nil, errMalformed
	}
	return p, nil
}

// divide gives each partition to one of the members that subscribe to its topic. As in Kafka's range assignment a
// member's partitions of a topic follow one another. What does not divide evenly goes to those that have least so far,
// so that many topics of few partitions are spread over all members.
func divide(members []subscription, partitions parts) map[string]parts {
	members = slices.SortedFunc(slices.Values(members),
		func(x, y subscription) int { return cmp.Compare(x.member, y.member) })
	assigned, has := map[string]parts{}, map[string]int{}
	for _, m := range members {
		assigned[m.member] = parts{}
	}
	topics := make([]string, 0, len(partitions))
	for topic := range partitions {
		topics = append(topics, topic)
	}
	slices.Sort(topics)
	for _, topic := range topics {
		var takers []string
		for _, m := range members {
			if slices.Contains(m.topics, topic) {
				takers = append(takers, m.member)
			}
		}
		if len(takers) == 0 {
			continue
		}
		rest := slices.Sorted(slices.Values(partitions[topic]))
		each, more := len(rest)/len(takers), len(rest)%len(takers)
		poorest := slices.SortedStableFunc(slices.Values(takers),
			func(x, y string) int { return cmp.Compare(has[x], has[y]) })[:more]
		for _, taker := range takers {
			n := each
			if slices.Contains(poorest, taker) {
				n++
			}
			if n > 0 {
				assigned[taker][topic], rest = rest[:n:n], rest[n:]
				has[taker] += n
			}
		}
	}
	return assigned
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// fields reads Kafka's fields one after the other. What is not there reads as zero, and is a failure.
type fields struct {
	rest   []byte
	failed bool
}

func (f *fields) take(n int) []byte {
	if f.failed || n < 0 || n > len(f.rest) {
		f.failed = true
		return make([]byte, min(max(n, 0), 8))
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) uint16() uint16 { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) uint32() uint32 { return binary.BigEndian.Uint32(f.take(4)) }

// count is the length of an array: never more than the bytes that are left, as each entry takes some.
func (f *fields) count() int {
	n := int(int32(f.uint32()))
	if n > len(f.rest) {
		f.failed = true
		return 0
	}
	return max(n, 0)
}

func (f *fields) string() string { return string(f.take(int(int16(f.uint16())))) }

// bytes is nil for null.
func (f *fields) bytes() []byte {
	n := int(int32(f.uint32()))
	if n == -1 {
		return nil
	}
	return slices.Clone(f.take(n))
}
