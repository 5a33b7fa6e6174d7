package consumer

import (
	"sort"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// aborted tells which batches of an answer belong to transactions that were aborted. The broker names for each the
// producer and the first offset; it lasts until the producer's next control batch.
type aborted struct {
	begin  []fetch.ResponseTransaction // by first offset, those not reached yet
	active map[int64]bool              // producers inside an aborted transaction
}

func newAborted(list []fetch.ResponseTransaction) *aborted {
	sort.Slice(list, func(i, j int) bool { return list[i].FirstOffset < list[j].FirstOffset })
	return &aborted{begin: list, active: map[int64]bool{}}
}

func (a *aborted) drops(batch protocol.RecordReader) bool {
	b, ok := batch.(*protocol.RecordBatch)
	if !ok {
		return false // older formats know no transactions
	}
	for len(a.begin) > 0 && a.begin[0].FirstOffset <= b.BaseOffset {
		a.active[a.begin[0].ProducerID] = true
		a.begin = a.begin[1:]
	}
	return b.Attributes.Transactional() && a.active[b.ProducerID]
}

func (a *aborted) end(c *protocol.ControlBatch) {
	for len(a.begin) > 0 && a.begin[0].FirstOffset <= c.BaseOffset {
		a.active[a.begin[0].ProducerID] = true
		a.begin = a.begin[1:]
	}
	delete(a.active, c.ProducerID)
}
