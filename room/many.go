package room

import (
	"context"
	"slices"
	"sync"
	"time"

	"parley"
	"parley/wire"
)

// A pattern's room: no message is stored in it, and all of many rooms come through it. It has a ring,
// shards and members as any room has; what is not the same is in this file, and a member's place in
// cursor.go.

// Many says which rooms somebody is shown.
type Many struct {
	// Key is equal for all who are shown the same, and no room's name: they share a pattern's room.
	Key string

	// Match says whether a room is shown. It is asked once for a room, by whoever needs it.
	Match func(room string) bool

	// Past, if not nil, says whether it is shown what was said there before the join, too.
	Past func(room string) bool
}

// many is what a pattern's room has beside what a room has. Guarded by the room's mu.
type many struct {
	Many
	since int             // messages since the last cursor frame
	told  parley.Position // what that one said
}

// Cursor frames come after so many messages, or when so many others have gone by in a part of the log;
// behind fewer messages, in the next second.
const (
	cursorEvery = 64
	cursorMoved = 4096
)

// followMany starts the tail of a pattern's room.
func (h *Hub) followMany(ctx context.Context, r *Room) (stop func(), err error) {
	early := &openingMany{room: r}
	at, stop, err := h.log.FollowMany(ctx, r.many.Match, early.deliver)
	if err == nil {
		early.open(at)
	}
	return stop, err
}

// openingMany holds what the tail delivers before FollowMany has said where it starts.
type openingMany struct {
	room *Room

	mu    sync.Mutex
	early []func()
	ready bool
}

func (p *openingMany) deliver(part int, upTo uint64, batch []*parley.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready {
		p.room.deliverMany(part, upTo, batch)
		return
	}
	batch = slices.Clone(batch)
	p.early = append(p.early, func() { p.room.deliverMany(part, upTo, batch) })
}

func (p *openingMany) open(at parley.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room.mu.Lock()
	p.room.ring.at, p.room.many.told = at, at
	p.room.mu.Unlock()
	for _, deliver := range p.early {
		deliver()
	}
	p.early, p.ready = nil, true
}

// deliverMany is deliver for a pattern's room.
func (r *Room) deliverMany(part int, upTo uint64, batch []*parley.Message) {
	now, limit := time.Now(), int(r.hub.strandLimit.Load())
	r.mu.Lock()
	r.appendMany(part, upTo, batch, limit, now)
	shards := r.shards
	r.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	r.hub.stats.messages.Add(int64(len(batch)))
	for _, s := range shards {
		r.hub.flushers.add(s)
	}
}

// appendMany is the ring's, with cursor frames in between however long the batch is: what a client remembers
// of rooms behind one is bounded. The room's mu is held.
func (r *Room) appendMany(part int, upTo uint64, batch []*parley.Message, limit int, now time.Time) {
	for left := cursorEvery - r.many.since; len(batch) >= left; left = cursorEvery {
		r.ring.appendMany(part, batch[left-1].Seq, batch[:left], limit, now)
		r.tellCursor(limit, now)
		batch = batch[left:]
	}
	r.ring.appendMany(part, upTo, batch, limit, now)
	r.many.since += len(batch)
}

// appendMany takes the next messages of a part of the log in, which is told up to upTo then.
func (r *ring) appendMany(part int, upTo uint64, batch []*parley.Message, limit int, now time.Time) {
	at := slices.Clone(r.at)
	scratch := scratches.Get().(*[]byte)
	for _, m := range batch {
		for _, s := range r.strands {
			*scratch = s.enc.Message((*scratch)[:0], m)
			s.put(*scratch, mark{seq: m.Seq, session: m.Session, part: uint16(part)}, at, limit, now)
		}
		at[part] = m.Seq
		r.next++
	}
	scratches.Put(scratch)
	at[part] = max(at[part], upTo)
	r.at = at
}

// tellCursor puts a cursor frame behind the messages. The room's mu is held.
func (r *Room) tellCursor(limit int, now time.Time) {
	scratch := scratches.Get().(*[]byte)
	for _, s := range r.ring.strands {
		*scratch = s.enc.Cursor((*scratch)[:0], r.name, r.ring.at)
		s.put(*scratch, mark{}, r.ring.at, limit, now)
	}
	scratches.Put(scratch)
	r.ring.next++
	r.many.since, r.many.told = 0, r.ring.at
}

// tellCursors sees that the members of patterns know, each second, where they are.
func (h *Hub) tellCursors() {
	now, limit := time.Now(), int(h.strandLimit.Load())
	for _, r := range h.active() {
		if r.many == nil || !isClosed(r.ready) || r.err != nil {
			continue
		}
		var shards []*shard
		r.mu.Lock()
		if r.many.since > 0 || r.moved() {
			r.tellCursor(limit, now)
			shards = r.shards
		}
		r.mu.Unlock()
		for _, s := range shards {
			h.flushers.add(s)
		}
	}
}

// moved says whether the log has gone on far since the last cursor frame, though nothing came from it.
func (r *Room) moved() bool {
	for part, seq := range r.ring.at {
		if seq >= r.many.told[part]+cursorMoved {
			return true
		}
	}
	return false
}

// endVacant ends patterns' rooms at once when nobody is in them: what they hold is of no use to who comes next, and a
// client that tries one pattern after another would leave the log a tail to serve for each.
func (h *Hub) endVacant() {
	var ended []*Room
	h.mu.Lock()
	for _, r := range h.vacant {
		if r.users == 0 && !r.ending && isClosed(r.ready) && r.err == nil { // else the next sweep finds it
			r.ending = true
			ended = append(ended, r)
		}
	}
	h.vacant = nil
	h.mu.Unlock()
	for _, r := range ended {
		h.end(r)
	}
}

// joinMany is Join for a pattern.
func (h *Hub) joinMany(ctx context.Context, o *Outlet, j Joining) (*Member, error) {
	r, err := h.acquireAs(ctx, j.Many.Key, j.Room, j.Many)
	if err != nil {
		return nil, err
	}
	start, err := h.startMany(ctx, r, j)
	if err != nil {
		h.release(r)
		return nil, err
	}
	m := &Member{room: r, out: o, echo: j.Echo, many: start}
	if err := h.enter(m, j.JoinedMany); err != nil {
		return nil, err
	}
	return m, nil
}

// enter lets a member into a pattern's room. On an error it is not there, nor held.
func (h *Hub) enter(m *Member, joined func(enc wire.Encoding, dst []byte, at parley.Position) []byte) error {
	o := m.out
	o.mu.Lock()
	if o.off() {
		o.mu.Unlock()
		h.release(m.room)
		return context.Canceled
	}
	at := m.room.addMany(m)
	o.members = append(o.members, m)
	if joined != nil {
		o.replies = joined(o.enc, o.replies, at)
	}
	o.mu.Unlock()
	h.flushers.add(o)
	return nil
}

// addMany is add for a pattern's room. It returns the cursor that the member begins at.
func (r *Room) addMany(m *Member) parley.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.ring.strand(wire.OfMany(m.out.enc), int(r.hub.strandLimit.Load()), time.Now())
	s.members++
	m.strand.Store(s)
	m.index = s.next
	m.lagging = m.many.begin(r.ring.at)
	r.enroll(m)
	return m.many.cursor()
}

// Change has a member of a pattern shown other rooms from now on, from its place on. It is not the same
// member afterwards; on an error it is none, and has left.
func (h *Hub) Change(ctx context.Context, m *Member, to *Many) (*Member, error) {
	m.Leave()
	r, err := h.acquireAs(ctx, to.Key, m.room.name, to)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	head := r.ring.at
	r.mu.Unlock()
	m.out.mu.Lock()
	next := &Member{room: r, out: m.out, echo: m.echo, sent: m.sent, many: m.many.change(&m.room.many.Many, to, head)}
	m.out.mu.Unlock()
	if err := h.enter(next, nil); err != nil {
		return nil, err
	}
	return next, nil
}

// Key is that of what a member of a pattern is shown; "" for one of a room.
func (m *Member) Key() string {
	if m.room.many == nil {
		return ""
	}
	return m.room.key
}
