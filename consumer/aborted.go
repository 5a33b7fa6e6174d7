package consumer

import (
	"cmp"
	"slices"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// aborted tells which batches of an answer belong to transactions that were aborted. The broker names for each the
// producer and the first offset; it lasts until the producer's next control batch.
type aborted struct {
	begin  []abortedTransaction // by first offset, those not reached yet
	active map[int64]bool       // producers inside an aborted transaction
}

func newAborted(list []abortedTransaction) *aborted {
	slices.SortFunc(list, func(x, y abortedTransaction) int { return cmp.Compare(x.first, y.first) })
	return &aborted{begin: list, active: map[int64]bool{}}
}

// drops tells whether a batch holds nothing for us: the marker of a transaction's end, or records of an aborted one.
func (a *aborted) drops(b *recordbatch.Batch) bool {
	for len(a.begin) > 0 && a.begin[0].first <= b.BaseOffset {
		a.active[a.begin[0].producer] = true
		a.begin = a.begin[1:]
	}
	if b.Control {
		delete(a.active, b.ProducerID)
		return true
	}
	return b.Transactional && a.active[b.ProducerID]
}
