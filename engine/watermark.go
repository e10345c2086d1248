package engine

import "sync/atomic"

// watermark is how far each partition is durable. It is the one thing that gates receipts, live
// messages, pages and every seq shown: what lies above it may still be lost, and is shown to
// nobody. It only rises.
type watermark struct {
	durable []atomic.Uint64
}

func newWatermark(partitions int) *watermark {
	return &watermark{durable: make([]atomic.Uint64, partitions)}
}

// at gives the seq up to which the partition is durable.
func (w *watermark) at(p *partition) uint64 { return w.durable[p.index].Load() }

// advance raises the partition's mark; a lower one changes nothing. Only one goroutine may.
func (w *watermark) advance(p *partition, seq uint64) {
	if seq > w.at(p) {
		w.durable[p.index].Store(seq)
	}
}
