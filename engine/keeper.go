package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	timeoutEvery = 250 * time.Millisecond // how often appends are looked at for their time
	reopenSpace  = 1 << 20                // bytes that must be free before the store is opened again
	reopenWithin = time.Minute            // bound on one attempt
)

var errTimeout = errors.New("the store did not answer in time")

// runKeeper does what goes by the clock: it ends appends whose time has run out, asks the log for
// what the tail has missed, and opens the store again after a write error.
func (e *Engine) runKeeper() {
	tick := time.NewTicker(timeoutEvery)
	defer tick.Stop()
	safety := time.NewTicker(e.cfg.SafetyCheck)
	defer safety.Stop()
	for {
		select {
		case now := <-tick.C:
			e.checkSpace(now)
			if e.batches == nil { // batches see to the time of what is in them
				e.endOverdue(now)
			}
		case <-safety.C:
			e.safetyCheck(true)
		case <-e.safetyKick:
			e.safetyCheck(false)
		case <-e.reopenKick:
		case <-e.ctx.Done():
			return
		}
		if e.health.broken.Load() != nil && e.health.failed.Load() == nil {
			e.reopen()
		}
	}
}

// endOverdue fails the appends that nobody has answered in time. In-process, a store that leaves
// one without any answer has stopped writing, whatever its log says.
func (e *Engine) endOverdue(now time.Time) {
	before := now.Add(-e.cfg.AppendTimeout)
	overdue := false
	e.failHeld(errTimeout, func(s *slot) bool {
		late := s.since.Before(before)
		overdue = overdue || (late && !s.place.part.answered(s.since))
		return late
	})
	if overdue {
		e.storeBroke(errTimeout.Error())
	}
}

// storeBroke notes that the store can no longer write. It is called from the store's own
// goroutines, with its locks held.
func (e *Engine) storeBroke(reason string) {
	if e.health.closing.Load() {
		return
	}
	if e.health.broken.CompareAndSwap(nil, &reason) {
		e.counts.broke.Add(1)
	}
	kick(e.reopenKick)
}

// reopen ends the store's life and begins another on the same directory, once there is room.
// Until then the old one still answers reads. Followers stay; what they missed is found by the
// safety check.
func (e *Engine) reopen() {
	reason := *e.health.broken.Load()
	e.failHeld(errors.New(reason), func(*slot) bool { return true }) // nobody will answer them
	if free, err := e.disk.free(); err == nil && free < max(e.cfg.MinFree, reopenSpace) {
		return // the next tick looks again
	}
	e.log.Warn("the store is opened again", "reason", reason)
	e.store.Load().close()
	ctx, cancel := context.WithTimeout(e.ctx, reopenWithin)
	defer cancel()
	lasts, err := e.openStore(ctx)
	if err != nil {
		if e.ctx.Err() == nil {
			e.log.Error("the store could not be opened again", "error", err)
		}
		return // the next tick tries again
	}
	e.counts.reopened.Add(1)
	for i, p := range e.parts {
		if written := p.written(); lasts[i] < written {
			e.fail(fmt.Errorf("stream %s held %d messages and now ends at %d", p.stream, written, lasts[i]))
			return
		}
		p.found(lasts[i])
		p.missed.Store(true)
	}
	e.health.broken.Store(nil)
	if again := e.store.Load().broke.Load(); again != nil {
		e.storeBroke(*again) // it was said while the old reason still stood
	}
	kick(e.syncKick)
	kick(e.safetyKick)
}
