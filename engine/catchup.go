package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"parley"
)

const (
	catchUpsAtOnce = 4
	catchUpBackoff = 50 * time.Millisecond // doubles up to a second
	multiLast      = 1024                  // subjects in one question for last messages
	checkWithin    = 2 * time.Second
)

// startCatchUp has the follower, which is behind, read the log until it can go live.
func (e *Engine) startCatchUp(f *follower) {
	e.spawn(func() {
		if e.catchers.Acquire(e.ctx, 1) != nil {
			return
		}
		defer e.catchers.Release(1)
		e.catchUp(f)
	})
}

// backOff is how long a reader of the log waits before it tries again. The zero value begins anew.
type backOff struct{ pause time.Duration }

// sleep waits; false where ctx has ended.
func (b *backOff) sleep(ctx context.Context) bool {
	b.pause = min(max(2*b.pause, catchUpBackoff), time.Second)
	select {
	case <-time.After(b.pause):
		return true
	case <-ctx.Done():
		return false
	}
}

func (e *Engine) catchUp(f *follower) {
	wait := backOff{}
	for {
		mark := e.mark.at(f.place.part)
		page, err := e.readBehind(f, mark)
		if err == nil {
			if f.absorb(page.Messages, page.More, mark) {
				return
			}
			wait = backOff{}
			continue
		}
		if e.ctx.Err() != nil || f.isStopped() {
			return
		}
		e.log.Warn("catch up", "room", f.place.room, "error", err)
		if !wait.sleep(e.ctx) {
			return
		}
	}
}

// readBehind reads what the follower has not seen, up to the mark.
func (e *Engine) readBehind(f *follower, mark uint64) (parley.Page, error) {
	ctx, cancel := context.WithTimeout(e.ctx, answerWithin)
	defer cancel()
	if err := e.fence(ctx, f.place.part, mark); err != nil {
		return parley.Page{}, err
	}
	return e.readLog(ctx, f.place, f.seen.Load(), mark, parley.MaxPage)
}

func (f *follower) isStopped() bool {
	f.turn.Lock()
	defer f.turn.Unlock()
	return f.stopped
}

// absorb delivers what the log held behind the last seen, up to the mark or, where there is more,
// up to the last of it, together with what the tail has brought of that stretch. True: there is
// nothing left to read; f is live, or stopped.
func (f *follower) absorb(page []*parley.Message, more bool, mark uint64) bool {
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.stopped {
		return true
	}
	upTo := mark
	if more {
		upTo = page[len(page)-1].Seq
	}
	n := 0
	for n < len(f.pending) && f.pending[n].Seq <= upTo {
		n++
	}
	seen := f.seen.Load()
	run := append(slices.Clone(page), f.pending[:n]...)
	slices.SortStableFunc(run, func(a, b *parley.Message) int { return cmp.Compare(a.Seq, b.Seq) })
	run = slices.CompactFunc(run, func(a, b *parley.Message) bool { return a.Seq == b.Seq })
	run = slices.DeleteFunc(run, func(m *parley.Message) bool { return m.Seq <= seen })
	f.pending = slices.Delete(f.pending, 0, n)
	if len(run) > 0 {
		f.hand(run)
	}
	return !more && f.goLive()
}

// safetyCheck finds messages that were stored and never came as live copies. Every seq of a
// partition belongs to one of its rooms, so it asks the log only where the copies have left a hole
// or, by the clock, have not come since the last look.
func (e *Engine) safetyCheck(byClock bool) {
	for _, p := range e.parts[:e.cfg.Partitions] {
		tailed, mark := p.tailed.Load(), e.mark.at(p)
		upTo := tailed
		late := byClock && tailed < p.lastMark
		if late {
			upTo = p.lastMark
		}
		if byClock {
			p.lastMark = mark
		}
		if hole := p.missed.Swap(false); !hole && !late {
			continue
		} else if hole && e.rooms.count() > 0 {
			upTo = mark // after a hole, whoever is behind reads up to here anyway
		}
		if err := e.checkPartition(p, upTo); err != nil {
			if e.ctx.Err() == nil {
				e.log.Warn("safety check", "stream", p.stream, "error", err)
			}
			p.missed.Store(true)
			continue
		}
		p.vouch(upTo)
		kick(e.releaseKick)
	}
}

// checkPartition lets every follower catch up that has not seen its room's last message up to upTo.
func (e *Engine) checkPartition(p *partition, upTo uint64) error {
	ctx, cancel := context.WithTimeout(e.ctx, checkWithin)
	defer cancel()
	if err := e.fence(ctx, p, upTo); err != nil {
		return err
	}
	for chunk := range slices.Chunk(e.rooms.of(p), multiLast) {
		subjects := make([]string, len(chunk))
		by := make(map[string]*follower, len(chunk))
		for i, f := range chunk {
			subjects[i] = f.place.subject
			by[f.place.subject] = f
		}
		last, err := e.store.Load().quick.lasts(ctx, p.stream, subjects, upTo)
		if err != nil {
			return err
		}
		for _, l := range last {
			if f := by[l.subject]; f != nil && l.seq > f.seen.Load() && f.fallBehind() {
				e.counts.safetyFinds.Add(1)
				e.startCatchUp(f)
			}
		}
	}
	return nil
}
