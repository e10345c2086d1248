package room

import (
	"maps"
	"slices"
	"sort"
	"time"

	"parley/wire"
)

// MaxNamed is how many users a room may have for its members to be told of them by name; where
// there are more they are counted alone.
const MaxNamed = 200

// The pace of presence frames: what changes between two of them goes into the second.
const (
	presencePace   = 50 * time.Millisecond
	presenceCrowd  = 50 // sessions from which on a room is big
	presenceSlow   = 250 * time.Millisecond
	presenceEach   = 250 * time.Microsecond // and no less than so much for each member that is told
	presenceSlowst = 5 * time.Second
)

// presence is what a room's members that asked are told of who comes and goes. It begins with the
// first of them. What is known is in Room.present, which appear and vanish alone change: by
// sessions of this node and by what other nodes tell (peers.go).
//
// A member is told all at its join, then of changes. Its version says which it knows of. One whose
// socket is full, or which is behind in the log, is marked stale and told all anew once it can be
// written to: so nothing is queued for it.
type presence struct {
	room *Room
	task task

	// Guarded by the room's mu.
	watchers int                 // members that asked
	version  uint64              // rises with each change
	told     uint64              // the version of the last frame
	changed  map[string]struct{} // users who came or went since then; at most MaxNamed
	seen     bool                // someone was told all since then: no change undoes another any more
	anew     bool                // changed is not all, or someone does not know the names: tell all

	// Owned by the flusher at work on it.
	frame wire.Presence
	of    uint64 // the frame's version
	last  time.Time
	round round
}

func (p *presence) state() *task { return &p.task }

// appear and vanish take one session of a user's in and out, or all those at other nodes. The
// room's mu is held.
func (r *Room) appear(user string) {
	if r.present[user]++; r.present[user] == 1 {
		r.changed(user)
	}
}

func (r *Room) vanish(user string) {
	if r.present[user]--; r.present[user] == 0 {
		delete(r.present, user)
		r.changed(user)
	}
}

// changed notes that a user came or went, for who wants to know.
func (r *Room) changed(user string) {
	if seen := r.hub.observer.Load(); seen != nil && r.hub.peers == nil {
		(*seen)(r.name, user, r.present[user] > 0, len(r.present))
	}
	if r.presence != nil && r.presence.watchers > 0 {
		r.presence.note(user)
		r.hub.flushers.add(r.presence)
	}
}

func (p *presence) note(user string) {
	p.version++
	if _, back := p.changed[user]; back && !p.seen {
		delete(p.changed, user)
	} else if !p.anew {
		if p.changed == nil {
			p.changed = make(map[string]struct{})
		}
		p.changed[user] = struct{}{}
	}
	if len(p.changed) > MaxNamed || len(p.room.present) > MaxNamed {
		p.anew, p.changed = true, nil
	}
}

// watch begins to tell the member. The room's mu is held.
func (r *Room) watch(m *Member) {
	if !m.watches {
		return
	}
	if r.presence == nil {
		r.presence = &presence{room: r}
	}
	r.presence.watchers++
}

func (r *Room) unwatch(m *Member) {
	if !m.watches {
		return
	}
	p := r.presence
	if p.watchers--; p.watchers == 0 {
		p.forget()
	}
}

// forget drops what is to be told.
func (p *presence) forget() {
	p.told, p.changed, p.seen, p.anew = p.version, nil, false, false
}

// all is what a member is told at its join, or when it is told anew. The mu of the outlet and of
// the room are held.
func (r *Room) all(m *Member) wire.Presence {
	p := r.presence
	m.told = p.version
	if p.watchers == 1 { // nobody else is to be told
		p.forget()
	}
	p.seen = p.seen || len(p.changed) > 0
	all := wire.Presence{Count: len(r.present)}
	if all.Count > MaxNamed {
		p.anew = true
	} else {
		all.Members = r.who(MaxNamed)
	}
	return all
}

// who lists up to most users, each once, in the order they came, those of other nodes behind them.
// The room's mu is held.
func (r *Room) who(most int) []string {
	most = min(most, len(r.present))
	users := make([]string, 0, most)
	once := len(r.present) == r.count && len(r.remote) == 0
	seen := make(map[string]bool)
	for _, s := range r.shards {
		for _, m := range *s.members.Load() {
			if len(users) == most {
				return users
			}
			if once || !seen[m.user] {
				seen[m.user] = !once
				users = append(users, m.user)
			}
		}
	}
	for _, user := range slices.Sorted(maps.Keys(r.remote)) {
		if len(users) == most {
			break
		}
		if !seen[user] {
			users = append(users, user)
		}
	}
	return users
}

// rename gives a member another user's name. The outlet's mu is held.
func (r *Room) rename(m *Member, user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.depart(m.user)
	m.user = user
	r.arrive(user)
}

// flush is a flusher's work on a room's presence: a frame when it is time for one, and a shard of
// the members.
func (p *presence) flush() (later time.Duration) {
	if !p.round.on() {
		if later = p.begin(time.Now()); !p.round.on() {
			return later
		}
	}
	p.round.step(p)
	p.room.hub.flushers.add(p) // for the next shard, or what has changed meanwhile
	return 0
}

// begin makes the next frame, if there is something to tell; later says that it is too early.
func (p *presence) begin(now time.Time) (later time.Duration) {
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.told == p.version {
		return 0
	}
	if later = p.pace() - now.Sub(p.last); later > 0 {
		return later
	}
	f := wire.Presence{Count: len(r.present)}
	switch {
	case f.Count > MaxNamed: // the count alone, and the names when there are fewer again
	case p.anew:
		f.Members = r.who(MaxNamed)
		p.anew = false
	default:
		for user := range p.changed {
			if r.present[user] > 0 {
				f.Joined = append(f.Joined, user)
			} else {
				f.Left = append(f.Left, user)
			}
		}
		sort.Strings(f.Joined)
		sort.Strings(f.Left)
		if len(p.changed) == 0 { // all was undone
			p.told = p.version
			return 0
		}
	}
	clear(p.changed)
	p.told, p.seen = p.version, false
	p.frame, p.of, p.last = f, p.version, now
	p.round.shards = r.shards
	r.hub.stats.presence.Add(1)
	return 0
}

// pace is the time from one frame to the next.
func (p *presence) pace() time.Duration {
	if p.room.count < presenceCrowd {
		return presencePace
	}
	return min(max(presenceSlow, time.Duration(p.watchers)*presenceEach), presenceSlowst)
}

func (p *presence) encode(enc wire.Encoding) (s span) {
	s.add(0, func(dst []byte) []byte { return enc.Presence(dst, p.room.name, p.frame) })
	return s
}

// offer tells a member that asked and does not know it yet.
func (p *presence) offer(m *Member, f *made) {
	if !m.watches {
		return
	}
	o := m.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.off() || m.gone || m.told >= p.of {
		return
	}
	if o.takes(f.enc) && m.writeRun(o, &f.span, 0, 1) == 1 {
		m.told = p.of
	} else {
		m.stale = true
		p.room.hub.stats.presenceLate.Add(1)
	}
	o.settle()
}

// refresh tells all anew to a member that could not be told of a change when it was.
func (m *Member) refresh(o *Outlet) {
	m.stale = false
	m.room.mu.Lock()
	all := m.room.all(m)
	m.room.mu.Unlock()
	var s span
	s.add(0, func(dst []byte) []byte { return o.enc.Presence(dst, m.room.name, all) })
	if len(s.buf) > 0 && m.writeRun(o, &s, 0, 1) == 0 {
		m.stale = true
	}
}
