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
		behind := false
		for i, p := range e.parts {
			marks[i] = p.written() // what is written from here on is not of this sync
			behind = behind || marks[i] > e.mark.at(p)
		}
		if !behind {
			continue
		}
		start := time.Now()
		if err := e.disk.sync(); err != nil {
			e.fail(err)
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

// fail ends all storing: after a sync that failed nobody can say what is on the disk, and asking
// again would only hear that all is well. What was shown stays; nothing else is.
func (e *Engine) fail(err error) {
	e.log.Error("the disk failed to sync; nothing more is stored until a restart", "error", err)
	e.health.failed.Store(errFailed.Because(err))
	e.failHeld(err, func(*slot) bool { return true })
}
