package engine

import (
	"sync/atomic"
	"time"

	"parley"
)

// health is what stands against storing messages. Each reason has one writer and many readers.
type health struct {
	closing atomic.Bool
	failed  atomic.Pointer[parley.Error] // a sync has failed: final
	broken  atomic.Pointer[string]       // the store has met a write error: until it is opened again
	full    atomic.Bool                  // less than the floor of free space
	apart   atomic.Pointer[parley.Error] // no majority can be reached from here

	spaceChecked atomic.Int64 // ns of the engine's clock
}

// What a sender reads when his message is refused. All say that it was not stored.
var (
	errClosed   = parley.Errorf(parley.Unavailable, "the server is stopping: the message was not stored")
	errFull     = parley.Errorf(parley.Unavailable, "the disk is full: the message was not stored")
	errBroken   = parley.Errorf(parley.Unavailable, "the log could not be written, as when the disk is full, and is opened again as soon as it can be: the message was not stored")
	errBusy     = parley.Errorf(parley.Unavailable, "too many messages are on their way: this one was not stored")
	errNoQuorum = parley.Errorf(parley.Unavailable, "too few nodes of the cluster can be reached: the message was not stored")
	errNot      = parley.Errorf(parley.Unavailable, "the log refused the message: it was not stored")
	errFailed   = parley.Errorf(parley.Unavailable, "the disk has failed to store messages for good: the message was not stored")
)

// What a sender reads when nobody knows.
var errUnknown = parley.Errorf(parley.Unavailable, "the outcome is unknown: the message may or may not have been stored")

// refuses gives the reason why nothing can be stored now; nil when it can.
func (h *health) refuses() *parley.Error {
	switch {
	case h.failed.Load() != nil:
		return h.failed.Load()
	case h.closing.Load():
		return errClosed
	case h.broken.Load() != nil:
		return errBroken
	case h.full.Load():
		return errFull
	case h.apart.Load() != nil:
		return h.apart.Load()
	}
	return nil
}

// spaceEvery is how old the knowledge of free space may be when an append relies on it.
const spaceEvery = 100 * time.Millisecond

// checkSpace looks at the free space of the disk, at most every spaceEvery.
func (e *Engine) checkSpace(now time.Time) {
	last := e.health.spaceChecked.Load()
	if e.cfg.MinFree <= 0 || now.UnixNano()-last < int64(spaceEvery) || !e.health.spaceChecked.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	free, err := e.disk.free()
	if err != nil {
		e.log.Warn("look at the free space", "error", err)
		return
	}
	full := free < e.cfg.MinFree
	if e.health.full.Swap(full) != full {
		e.log.Warn("free space", "bytes", free, "floor", e.cfg.MinFree, "refusing", full)
	}
}
