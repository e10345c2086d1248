package room

import (
	"time"

	"parley"
)

// The way of messages through a room, from the log's tail to the members' sockets: deliver puts
// them into the ring and marks the shards dirty, a flusher walks a shard, and each member writes
// what lies between its cursor and the head.

// deliver takes messages from the log's tail, in order, and sees that they get to the members.
func (r *Room) deliver(batch []*parley.Message) {
	now := time.Now()
	r.mu.Lock()
	r.ring.append(batch, int(r.hub.strandLimit.Load()), now)
	shards, attendants := r.shards, r.attendants
	r.mu.Unlock()
	r.hub.stats.messages.Add(int64(len(batch)))
	for _, s := range shards {
		r.hub.flushers.add(s)
	}
	for _, grew := range attendants {
		(*grew)(batch)
	}
}

// flush is a flusher's work on a shard: a walk, unless it should wait for more messages first.
func (s *shard) flush() (later time.Duration) {
	members := *s.members.Load()
	began := time.Now()
	if wait := s.gather(members, began); wait > 0 {
		return wait
	}
	s.walk(members)
	s.ended = time.Now()
	s.took = s.ended.Sub(began)
	return 0
}

// walk writes to each member what its cursor owes. Views are taken once a walk, so that all members
// share the same chunks.
func (s *shard) walk(members []*Member) {
	var views [4]struct {
		of *strand
		v  view
	}
	used := 0
	for _, m := range members {
		st := m.strand.Load()
		i := 0
		for i < used && views[i].of != st {
			i++
		}
		if i == used {
			if used == len(views) {
				i, used = 0, 1
			} else {
				used++
			}
			views[i].of, views[i].v = st, m.room.view(st)
		}
		m.out.flushMember(m, st, &views[i].v)
	}
	s.walked = views[0].v.next
}

// Gathering: a walk over many members costs far more than the messages it carries. So where there
// is little to carry yet and the last walk has just ended, the next one waits for more, in
// proportion to what a walk takes. A small room, or one in which little is said, never waits.
const (
	gatherFrom  = 300 * time.Microsecond // what a walk must take for the next one to wait
	gatherTimes = 3                      // walks that the wait is long
	gatherMost  = 5 * time.Millisecond   // and no longer
	gatherUntil = 32                     // messages that are enough to go at once
)

// gather says how long the next walk is to wait.
func (s *shard) gather(members []*Member, now time.Time) time.Duration {
	wait := min(gatherTimes*s.took, gatherMost) - now.Sub(s.ended)
	if s.took < gatherFrom || wait <= 0 || len(members) == 0 {
		return 0
	}
	r := members[0].room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring.next-s.walked >= gatherUntil {
		return 0
	}
	return wait
}

// flushMember writes what one member is owed: a flusher's work on a shard. v is a view of the
// member's strand.
func (o *Outlet) flushMember(m *Member, s *strand, v *view) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.off() || o.pumping || m.gone {
		return
	}
	if m.strand.Load() != s { // it changed its encoding since the view was taken
		o.flushAll()
	} else if o.flushReplies() {
		m.flush(o, v)
	}
	o.settle()
}

// flush writes what lies between the cursor and the view's head.
func (m *Member) flush(o *Outlet, v *view) {
	for !m.lagging && m.index < v.next && !o.full && !o.off() {
		if m.index < v.first {
			m.lagging = true
			return
		}
		span, i := v.at(m.index)
		if m.skip != 0 || m.gap != 0 {
			i = m.arrive(o, span, i)
		}
		m.write(o, span, i)
	}
	if m.many != nil && !m.lagging {
		m.many.reach(v, m.index)
	}
}

// arrive is what happens once, at the first message of a member that joined beyond the newest or
// into a room whose messages were all gone.
func (m *Member) arrive(o *Outlet, span span, i int) int {
	for i < len(span.marks) && span.marks[i].seq <= m.skip {
		i++
	}
	m.index = span.first + uint64(i)
	if i < len(span.marks) {
		m.skip = 0
		m.tellGap(o, span.marks[i].seq)
	}
	return i
}

// tellGap says, before message next is written, that messages in front of it may be gone.
func (m *Member) tellGap(o *Outlet, next uint64) {
	if m.gap == 0 {
		return
	}
	o.replies = o.enc.Gap(o.replies, m.room.name, m.gap, next)
	m.gap = 0
	o.hub.stats.gaps.Add(1)
	o.flushReplies()
}

// write writes the span's messages from i on, but its own where echo is off, and moves the cursor.
// When the socket takes part of a message, the rest of that one is kept.
func (m *Member) write(o *Outlet, span span, i int) {
	for i < len(span.marks) && !o.full && !o.off() {
		end := len(span.marks)
		switch {
		case m.many != nil && m.many.outruns(&span.marks[i]):
			m.tellOwn(o, &span, i)
			i++
			end = i
		case m.many != nil:
			i, end = m.many.unseen(span.marks, i, m.sent, o.session)
		case m.sent:
			i, end = others(span.marks, i, o.session)
		}
		if i < end {
			i += m.writeRun(o, &span, i, end)
		}
		if i > 0 {
			m.seq, m.exact = span.marks[i-1].seq, false
		}
		m.index = span.first + uint64(i)
	}
}

// others finds the next run of messages that a session did not send itself.
func others(marks []mark, i int, own parley.SessionID) (int, int) {
	for i < len(marks) && marks[i].session == own {
		i++
	}
	end := i
	for end < len(marks) && marks[end].session != own {
		end++
	}
	return i, end
}

// writeRun writes messages lo to hi and returns how many are on their way, a part of the last one
// perhaps in o.rest.
func (m *Member) writeRun(o *Outlet, span *span, lo, hi int) int {
	n := o.write(span.bytes(lo, hi))
	off := span.start(lo) + n
	if off == span.start(hi) {
		return hi - lo
	}
	at := span.holding(off)
	if off > span.start(at) {
		o.rest = append([]byte(nil), span.buf[off:span.marks[at].end]...)
		at++
	}
	return at - lo
}
