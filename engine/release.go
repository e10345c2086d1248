package engine

import (
	"github.com/nats-io/nats.go"

	"parley"
)

// runRelease passes on what the watermark has covered: live copies to followers, then receipts to
// senders.
func (e *Engine) runRelease() {
	r := releaser{Engine: e}
	for {
		select {
		case <-e.releaseKick:
		case <-e.ctx.Done():
			return
		}
		for _, p := range e.parts {
			mark := e.mark.at(p)
			if p.quiet {
				p.tailed.Store(mark)
			} else {
				r.releaseLive(p, mark)
			}
			p.told.Store(mark)
			r.releaseAcked(p, mark)
		}
	}
}

// releaser is what one goroutine holds between releases.
type releaser struct {
	*Engine
	touched []*follower
	many    manyRoutes
	slots   []slot
}

// onLive takes a live copy: it waits for the watermark.
func (e *Engine) onLive(p *partition, m *nats.Msg) {
	seq := headerNumber(m.Header, hdrSeq)
	if e.cfg.losesCopy != nil && e.cfg.losesCopy(seq) {
		return
	}
	if e.batches != nil {
		e.batches.heard(p, lastHeader(m.Header, hdrID), seq)
	}
	p.copied(seq, m)
	e.written(p, seq)
}

// releaseLive gives every follower all of its messages of this release in one call.
func (r *releaser) releaseLive(p *partition, mark uint64) {
	copies, skip := p.takeLive(mark)
	tailed, hole := p.tailed.Load(), false
	r.many.refresh(r.Engine)
	for _, c := range copies {
		if c.seq > tailed+1 {
			hole = true
			p.missed.Store(true)
			kick(r.safetyKick)
		}
		tailed = max(tailed, c.seq)
		f, route := r.rooms.find(c.msg.Subject), r.many.find(c.msg.Subject)
		if f == nil && len(route.to) == 0 {
			continue
		}
		room := route.room
		if f != nil {
			room = f.place.room
		}
		m, err := decode(c.msg, room)
		if err != nil {
			r.unreadable(err)
			continue
		}
		m.Prev = headerNumber(c.msg.Header, hdrPrev)
		r.many.add(p.index, route.to, m)
		if f == nil {
			continue
		}
		if len(f.batch) == 0 {
			r.touched = append(r.touched, f)
		}
		f.batch = append(f.batch, m)
	}
	for _, f := range r.touched {
		r.counts.delivered.Add(uint64(len(f.batch)))
		if f.take(f.batch) {
			r.counts.gapFills.Add(1)
			r.startCatchUp(f)
		}
		clear(f.batch)
		f.batch = f.batch[:0]
	}
	clear(r.touched)
	r.touched = r.touched[:0]
	r.grown(copies)
	hole = hole || skip > tailed
	tailed = max(tailed, skip)
	r.many.release(r.Engine, p.index, tailed, hole)
	if tailed > p.tailed.Load() {
		p.tailed.Store(tailed)
		r.releaseAwaited(p, tailed)
	}
}

// releaseAcked tells senders their receipts. A repeated append may carry the seq of a message that
// the tail has not shown: that is looked into.
func (r *releaser) releaseAcked(p *partition, mark uint64) {
	batch := p.takeAcked(mark)
	if len(batch) == 0 {
		return
	}
	r.slots = r.Engine.slots.dropAcked(batch, r.slots[:0])
	tailed := p.tailed.Load()
	var freed int64
	for i, s := range r.slots {
		if !s.held {
			continue // its time had run out
		}
		a := batch[i]
		if a.duplicate {
			r.counts.duplicates.Add(1)
			r.lookAfter(s.place, a.seq, tailed)
		} else if !p.quiet {
			r.counts.appended.Add(1)
		}
		if a.seq <= tailed {
			freed += s.weight
		} else {
			p.await = append(p.await, awaited{a.seq, s.weight})
		}
		s.done(parley.Receipt{Seq: a.seq, Duplicate: a.duplicate}, nil)
	}
	clear(r.slots)
	r.inflight.Release(freed)
}

// releaseAwaited ends the flight of settled appends whose live copies have now been passed on.
// Without it, senders could run ahead of the tail without bound.
func (r *releaser) releaseAwaited(p *partition, tailed uint64) {
	var freed int64
	rest := p.await[:0]
	for _, a := range p.await {
		if a.seq <= tailed {
			freed += a.weight
		} else {
			rest = append(rest, a)
		}
	}
	p.await = rest
	r.inflight.Release(freed)
}

// lookAfter checks that a follower has been shown the message that a repeated append named.
func (r *releaser) lookAfter(pl place, seq, tailed uint64) {
	f := r.rooms.find(pl.live())
	if f == nil || seq > tailed || seq <= f.seen.Load() {
		return
	}
	if f.fallBehind() {
		r.counts.gapFills.Add(1)
		r.startCatchUp(f)
	}
}

func (e *Engine) unreadable(err error) {
	e.counts.unreadable.Add(1)
	e.log.Error("message left out: it cannot be read", "error", err)
}
