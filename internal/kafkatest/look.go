package kafkatest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Coordinator is the id of the node that coordinates a group.
func (b *Broker) Coordinator(t testing.TB, group string) int {
	t.Helper()
	c := b.franz(t)
	defer c.Close()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKey, req.CoordinatorKeys = group, []string{group}
	var id int32
	if err := poll(func(ctx context.Context) error {
		res, err := req.RequestWith(ctx, c)
		switch {
		case err != nil:
			return err
		case len(res.Coordinators) == 1:
			id = res.Coordinators[0].NodeID
			return kerr.ErrorForCode(res.Coordinators[0].ErrorCode)
		default:
			id = res.NodeID
			return kerr.ErrorForCode(res.ErrorCode)
		}
	}); err != nil {
		t.Fatalf("find the coordinator of %s: %v", group, err)
	}
	return int(id)
}

// LeaderOf is the id of the node that leads a partition, or -1 if none does.
func (b *Broker) LeaderOf(t testing.TB, topic string, partition int) int {
	t.Helper()
	return int(b.partition(t, topic, partition).Leader)
}

// placement says which nodes hold and lead a partition.
type placement = kmsg.MetadataResponseTopicPartition

func (b *Broker) partition(t testing.TB, topic string, id int) (found placement) {
	t.Helper()
	c := b.franz(t)
	defer c.Close()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr(topic)
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, rt)
	if err := poll(func(ctx context.Context) error {
		res, err := req.RequestWith(ctx, c)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(res.Topics[0].ErrorCode); err != nil {
			return err
		}
		for _, part := range res.Topics[0].Partitions {
			if int(part.Partition) == id {
				found = part
				return nil
			}
		}
		return errors.New("the topic has no such partition")
	}); err != nil {
		t.Fatalf("look up %s/%d: %v", topic, id, err)
	}
	return found
}

// persist calls try until it succeeds, for 15 s as long as a node is dead, or a leader or coordinator is on its way.
func persist(try func() error) error {
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := try()
		var code kafka.Error
		passing := errors.As(err, new(net.Error)) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, io.EOF) ||
			errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &code) && code.Temporary()
		if err == nil || !passing || time.Now().After(deadline) {
			return err
		}
	}
}

// Corrupt flips a byte of the last record of a partition, on the disk of its leader: a client that fetches the batch
// sees a wrong checksum. The other replica stays as it is. Kafka itself notices only when it starts again after a kill.
// The test is skipped if the broker's disk is out of reach: kfake, Docker, or a broker that somebody else started.
func (b *Broker) Corrupt(t testing.TB, topic string, partition int) {
	t.Helper()
	b.CorruptAt(t, topic, partition, -3)
}

// CorruptAt flips one byte of a partition's last batch, as Corrupt does: at is its place in the batch; if it is
// negative, it counts from the end.
func (b *Broker) CorruptAt(t testing.TB, topic string, partition, at int) {
	t.Helper()
	if b.Fake != nil {
		t.Skip("kfake has no disk on which a record could be corrupted")
	}
	if b.data == nil {
		unavailable(t, errors.New("nobody knows where this broker keeps its data"))
	}
	dir := filepath.Join(b.data[int32(b.LeaderOf(t, topic, partition))], fmt.Sprintf("%s-%d", topic, partition))
	segments, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err == nil && len(segments) == 0 {
		err = fmt.Errorf("there is no segment in %s", dir)
	}
	if err == nil {
		err = flip(slices.Max(segments), at)
	}
	if err != nil {
		t.Fatalf("corrupt %s/%d: %v", topic, partition, err)
	}
}

// flip flips a byte of the last batch in a segment. A batch begins with its base offset, 8 bytes, and the length of
// what follows, 4 bytes.
func flip(path string, at int) (err error) {
	log, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := 0, 0
	for end+12 <= len(log) {
		size := int(binary.BigEndian.Uint32(log[end+8:]))
		if size == 0 || end+12+size > len(log) {
			break
		}
		begin, end = end, end+12+size
	}
	if at < 0 {
		at += end - begin
	}
	if at < 0 || begin+at >= end {
		return fmt.Errorf("%s: the last batch has %d bytes", path, end-begin)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteAt([]byte{log[begin+at] ^ 0xff}, int64(begin+at))
	return err
}
