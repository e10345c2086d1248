package relay

import (
	"context"
	"hash/fnv"
	"slices"
	"time"
)

// peer is another node.
type peer struct {
	life  string
	heard time.Time
	parts []int
}

// holding is a part that this node keeps, or has just stopped keeping.
type holding struct {
	cancel context.CancelFunc
	ending bool
}

// hold begins to keep the parts that this node leads, and ends with those that it does not. It says
// whether anything has changed.
func (r *Relay) hold() (changed bool) {
	leads := make([]bool, r.Parts)
	for part := range leads {
		leads[part] = r.Leads != nil && r.Leads(part)
	}
	var left []int
	r.mu.Lock()
	for part, leading := range leads {
		h := r.holding[part]
		if r.Leads == nil {
			leading = r.share(part)
		}
		switch {
		case leading && h == nil && !r.closed:
			r.keep(part)
			changed = true
		case !leading && h != nil && !h.ending:
			h.ending = true
			h.cancel()
			r.routes[part] = r.claimant(part)
			left = append(left, part)
			changed = true
		}
	}
	moved := r.moved
	r.mu.Unlock()
	for _, part := range left {
		r.closeSeats(part)
	}
	if changed {
		for _, tell := range moved {
			tell()
		}
	}
	return changed
}

// keep begins to keep a part. r.mu is held, as in the next three.
func (r *Relay) keep(part int) {
	ctx, cancel := context.WithCancel(r.ctx)
	h := &holding{cancel: cancel}
	r.holding[part] = h
	r.routes[part] = r.name
	r.Logger.Info("keeping the jobs of a part of the rooms", "part", part)
	r.running.Go(func() {
		defer cancel()
		r.Work.Hold(ctx, part)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.holding, part)
	})
}

// share is how nodes that lead nothing agree: a part is kept by the one whose name goes best with it.
func (r *Relay) share(part int) bool {
	if time.Since(r.born) < silentFor {
		return false // others may be there
	}
	own := weight(r.name, part)
	for name := range r.peers {
		if w := weight(name, part); w > own || w == own && name > r.name {
			return false
		}
	}
	return true
}

func weight(node string, part int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(append([]byte(node), 0, byte(part), byte(part>>8))) // a hash takes all
	return h.Sum64()
}

// claimant gives another node that says it keeps a part; "" = none.
func (r *Relay) claimant(part int) string {
	for name, p := range r.peers {
		if slices.Contains(p.parts, part) {
			return name
		}
	}
	return ""
}

// owner is the node that keeps a part, as far as is known; "" = none.
func (r *Relay) owner(part int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.routes[part]
}

// Keeps says whether this node keeps a room's books.
func (r *Relay) Keeps(room string) bool { return r.owner(r.Part(room)) == r.name }

// Moved has told called when this node has begun or ended to keep some rooms' books. It must not
// block. It is called before Run.
func (r *Relay) Moved(told func()) { r.moved = append(r.moved, told) }

// tellBeat says that this node is there, and what it keeps.
func (r *Relay) tellBeat(now time.Time) {
	r.beat = now
	n := &note{Kind: noteBeat}
	r.mu.Lock()
	for part, h := range r.holding {
		if !h.ending {
			n.Parts = append(n.Parts, part)
		}
	}
	r.mu.Unlock()
	r.publish(topic, n)
}

// heardBeat notes what a node keeps. Who has said last that it began to, keeps a part.
func (r *Relay) heardBeat(from string, n *note) {
	r.mu.Lock()
	p := r.peers[from]
	if p != nil && n.Life < p.life {
		r.mu.Unlock()
		return
	}
	reborn := p != nil && p.life != n.Life
	if p == nil || reborn {
		p = &peer{life: n.Life}
		r.peers[from] = p
	}
	was := p.parts
	p.parts, p.heard = n.Parts, time.Now()
	for part := range r.routes {
		before, now := slices.Contains(was, part), slices.Contains(n.Parts, part)
		switch {
		case now && (!before || r.routes[part] == ""):
			r.routes[part] = from
		case !now && r.routes[part] == from:
			r.routes[part] = r.claimantOrOwn(part)
		}
	}
	gone := r.guests[from]
	if gone != nil && gone.life == n.Life {
		gone = nil
	} else if gone != nil {
		delete(r.guests, from)
	}
	r.mu.Unlock()
	r.dismiss(gone)
}

// claimantOrOwn is claimant, where this node may be one too.
func (r *Relay) claimantOrOwn(part int) string {
	if h := r.holding[part]; h != nil && !h.ending {
		return r.name
	}
	return r.claimant(part)
}

// expire takes nodes that have fallen silent for gone.
func (r *Relay) expire(now time.Time) {
	var silent []string
	r.mu.Lock()
	for name, p := range r.peers {
		if now.Sub(p.heard) > silentFor {
			silent = append(silent, name)
		}
	}
	r.mu.Unlock()
	for _, name := range silent {
		r.Logger.Warn("nothing is heard of a node: what its workers held is given to others", "node", name)
		r.lose(name, "")
	}
}

// lose takes a node for gone, in the life that is given, "" = in any: its workers have left.
func (r *Relay) lose(name, life string) {
	r.mu.Lock()
	p := r.peers[name]
	if p != nil && life != "" && p.life != life {
		r.mu.Unlock()
		return
	}
	delete(r.peers, name)
	for part, owner := range r.routes {
		if owner == name {
			r.routes[part] = r.claimantOrOwn(part)
		}
	}
	g := r.guests[name]
	delete(r.guests, name)
	r.mu.Unlock()
	r.dismiss(g)
}
