package engine

import "time"

// runSync is the group commit: whatever was written while one sync ran is covered by the next. An
// append that comes alone is synced at once; under load the syncs themselves make the groups.
func (e *Engine) runSync() {
	marks := make([]uint64, len(e.parts))
	for {
		select {
		case <-e.syncKick:
		case <-e.ctx.Done():
			return
		}
		if e.batches == nil {
			e.gather()
		}
		behind := false
		for i, p := range e.parts {
			marks[i] = p.written() // what is written from here on is not of this sync
			behind = behind || marks[i] > e.mark.at(p)
		}
		if !behind {
			kick(e.releaseKick) // what came when the last sync had covered it already
			continue
		}
		start := time.Now()
		if err := e.disk.sync(); err != nil {
			e.fail(err)
			return
		}
		if e.health.failed.Load() != nil {
			return
		}
		e.counts.syncs.Add(1)
		e.counts.syncTime.Add(int64(time.Since(start)))
		for i, p := range e.parts {
			e.mark.advance(p, marks[i])
		}
		kick(e.releaseKick)
	}
}

// A sync costs the processor as much as some ten appends, so where many are in flight it waits a
// little for more to be written.
const (
	gatherMany = 64
	gatherFor  = 300 * time.Microsecond
)

// gather waits while most of the many appends in flight have not been written yet.
func (e *Engine) gather() {
	if e.gathered() {
		return
	}
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	for !e.gathered() {
		select {
		case <-e.syncKick:
		case <-timer.C:
			return
		case <-e.ctx.Done():
			return
		}
	}
}

func (e *Engine) gathered() bool {
	inflight := e.slots.count()
	if inflight < gatherMany {
		return true
	}
	n := 0
	for _, p := range e.parts {
		n += int(p.written() - e.mark.at(p))
	}
	return 2*n >= inflight
}

// written sees to it that what has just come with seq is released: at once, or behind a sync.
func (e *Engine) written(p *partition, seq uint64) {
	if seq <= e.mark.at(p) {
		kick(e.releaseKick)
	} else {
		kick(e.syncKick)
	}
}

// fail ends all storing: after a sync that failed nobody can say what is on the disk, and asking
// again would only hear that all is well. What was shown stays; nothing else is.
func (e *Engine) fail(err error) {
	e.log.Error("the disk has failed; nothing more is stored until a restart", "error", err)
	e.health.failed.Store(errFailed.Because(err))
	e.failHeld(err, func(*slot) bool { return true })
}
