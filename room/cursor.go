package room

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"parley"
	"parley/wire"
)

// cursor is the place of a pattern's member. Guarded by its outlet's mu.
type cursor struct {
	pos  parley.Position // it has got all up to here; shared, and as of the last flush
	skip parley.Position // it had got all up to here when it came to the ring, whose order is another; nil = the ring's own

	past *past // while it is shown what was there before its join; nil from then on
}

// past is what a member is shown of what was there when it joined, which is read from the log.
type past struct {
	head   parley.Position   // where it ends
	rest   parley.Position   // in rooms without a place of their own it begins behind this
	places map[string]uint64 // in these it begins behind these seqs

	may func(m *parley.Message, part int) bool // nil = all of it may be shown
}

// startMany works out where a member of a pattern begins.
func (h *Hub) startMany(ctx context.Context, r *Room, j Joining) (*cursor, error) {
	s := j.Start
	if !s.Replays() {
		return &cursor{}, nil
	}
	r.mu.Lock()
	head := r.ring.at
	r.mu.Unlock()
	p := &past{head: head, rest: head, places: s.Places}
	if may := j.Many.Past; may != nil {
		p.may = func(m *parley.Message, _ int) bool { return may(m.Room) }
	}
	switch {
	case s.Cursor != nil && len(s.Cursor) == len(head):
		// A part is sent in its order: who has a message has all in front of it.
		p.rest, p.places = slices.Clone(s.Cursor), nil
		for room, seq := range s.Places {
			part := h.log.Part(room)
			p.rest[part] = max(p.rest[part], seq)
		}
	case s.Cursor != nil:
		return nil, parley.Errorf(parley.BadRequest, "a cursor is one that this server gave")
	case s.After != nil || s.Rest:
		p.rest = make(parley.Position, len(head))
	case !s.Since.IsZero():
		var err error
		if p.rest, err = h.log.SinceMany(ctx, s.Since); err != nil {
			return nil, err
		}
	}
	pos := slices.Clone(p.rest)
	for room, seq := range p.places {
		part := h.log.Part(room)
		pos[part] = min(pos[part], seq)
	}
	return &cursor{pos: pos, past: p}, nil
}

// begin puts the cursor of a member that enters behind at, unless it has a place already. True: the log
// has to be read.
func (c *cursor) begin(at parley.Position) (lagging bool) {
	if c.pos == nil {
		c.pos = at
		return false
	}
	c.settle()
	c.skip = c.pos
	return c.past != nil || !c.pos.Covers(at)
}

// cursor is the position behind which the member could go on; nil where it has not got all up to there in
// every room, or more in some.
func (c *cursor) cursor() parley.Position {
	if c.past != nil && c.past.places != nil {
		return nil
	}
	return c.pos
}

// settle ends the past where all of it was shown.
func (c *cursor) settle() {
	if c.past != nil && c.pos.Covers(c.past.head) {
		c.pos = later(c.pos, c.past.rest)
		c.past = nil
	}
}

// later gives the position up to which at least one of two is.
func later(a, b parley.Position) parley.Position {
	if a.Covers(b) {
		return a
	}
	a = slices.Clone(a)
	for i := range a {
		a[i] = max(a[i], b[i])
	}
	return a
}

// change gives the cursor to a member that was shown some rooms and is shown others from here on, whose past
// ends at head: of that it is shown what it may read, and what it would have been shown before.
func (c *cursor) change(was, to *Many, head parley.Position) *cursor {
	next := &cursor{pos: c.pos}
	old := c.past
	if old == nil && to.Past == nil {
		return next
	}
	next.past = &past{head: head, rest: c.pos}
	if old != nil {
		next.past.head, next.past.rest, next.past.places = later(head, old.head), old.rest, old.places
	}
	if to.Past != nil {
		next.past.may = func(m *parley.Message, part int) bool {
			return to.Past(m.Room) ||
				was.Match(m.Room) && (old == nil || m.Seq > old.head[part] || old.may == nil || old.may(m, part))
		}
	}
	return next
}

// reach notes that all in front of index i was written, unless the view is too old, or too new, to say
// where that is: then the cursor has not moved.
func (c *cursor) reach(v *view, i uint64) {
	if i < v.first || i > v.next {
		return
	}
	pos := v.position(i)
	if c.skip != nil {
		if pos.Covers(c.skip) {
			c.skip = nil
		} else {
			pos = later(pos, c.skip)
		}
	}
	c.pos = pos
}

// position is the one in front of index i, which lies in the view or right behind it.
func (v *view) position(i uint64) parley.Position {
	if i == v.next {
		return v.told
	}
	n := len(v.segs) - 1
	for v.segs[n].first > i {
		n--
	}
	marks := v.marks
	if n < len(v.segs)-1 {
		marks = v.segs[n].marks
	}
	return behind(v.segs[n].at, marks[:i-v.segs[n].first])
}

// behind gives the position behind messages that follow on at.
func behind(at parley.Position, marks []mark) parley.Position {
	at = slices.Clone(at)
	for _, mk := range marks {
		at[mk.part] = max(at[mk.part], mk.seq)
	}
	return at
}

// unseen finds the next run of messages that the member has not got, and that its session, where that
// matters, did not send itself. It ends in front of a cursor frame that the member is ahead of.
func (c *cursor) unseen(marks []mark, i int, sent bool, own parley.SessionID) (int, int) {
	if c.skip == nil && !sent {
		return i, len(marks)
	}
	seen := func(mk *mark) bool {
		return sent && mk.session == own || c.skip != nil && mk.seq != 0 && mk.seq <= c.skip[mk.part]
	}
	for i < len(marks) && seen(&marks[i]) {
		i++
	}
	end := i
	for end < len(marks) && !seen(&marks[end]) && !c.outruns(&marks[end]) {
		end++
	}
	return i, end
}

// outruns says whether what is marked is a cursor frame that the member may be ahead of.
func (c *cursor) outruns(mk *mark) bool { return c.skip != nil && mk.seq == 0 }

// tellOwn has the client told where it is, in place of a cursor frame at i that it may be ahead of.
func (m *Member) tellOwn(o *Outlet, span *span, i int) {
	at := later(behind(span.at, span.marks[:i]), m.many.skip)
	o.replies = wire.OfMany(o.enc).Cursor(o.replies, m.room.name, at)
	o.flushReplies()
}

// stillPause is how long a reader waits where the log has not come as far as it was told of.
const stillPause = 5 * time.Millisecond

// catchUpMany is catchUp for a member of a pattern.
func (o *Outlet) catchUpMany(ctx context.Context, m *Member) error {
	o.mu.Lock()
	after := m.many.pos
	o.mu.Unlock()
	page, err := o.hub.log.ReadMany(ctx, m.room.many.Match, after, catchUpPage)
	if err != nil {
		return fmt.Errorf("read on after %v: %w", after, err)
	}
	o.hub.stats.lagReads.Add(1)

	o.mu.Lock()
	if !o.flushReplies() || m.gone || !m.lagging { // answers that were made meanwhile go first
		o.mu.Unlock()
		return nil
	}
	m.writeMany(o, page)
	m.arriveMany(o)
	m.rejoinMany()
	o.yield(m)
	still := m.lagging && !o.full && !page.More && after.Covers(page.Next)
	o.mu.Unlock()
	if still {
		t := time.NewTimer(stillPause)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// writeMany writes a page, as far as the socket takes it, and moves the cursor.
func (m *Member) writeMany(o *Outlet, page parley.ManyPage) {
	c, enc := m.many, wire.OfMany(o.enc)
	c.skip = nil // for the ring
	buf := pages.Get().(*[]byte)
	defer pages.Put(buf)
	span := span{buf: (*buf)[:0], marks: make([]mark, 0, len(page.Messages)+1)}
	put := func(mk mark) {
		mk.end = uint32(len(span.buf))
		span.marks = append(span.marks, mk)
	}
	gaps, gone := 0, c.passed(page.Messages, o.hub.log.Part)
	for _, e := range page.Messages {
		part := o.hub.log.Part(e.Room)
		front, shown := c.place(e, part)
		trimmed := slices.Index(page.Trimmed, e.Room)
		if trimmed >= 0 {
			page.Trimmed = slices.Delete(page.Trimmed, trimmed, trimmed+1) // said once
		}
		if !shown {
			continue
		}
		place, passed := gone[e.Room]
		if trimmed >= 0 || passed {
			delete(gone, e.Room)
			span.buf = enc.Gap(span.buf, e.Room, max(front, place), e.Seq)
			put(mark{})
			gaps++
		}
		span.buf = enc.Message(span.buf, e)
		put(mark{seq: e.Seq, session: e.Session, part: uint16(part)})
	}
	if c.cursor() != nil && !c.pos.Covers(page.Next) {
		span.buf = enc.Cursor(span.buf, m.room.name, page.Next)
		put(mark{})
	}
	m.index = 0
	m.write(o, span, 0)
	if m.index == uint64(len(span.marks)) {
		c.pos = page.Next
	} else {
		c.pos = behind(c.pos, span.marks[:m.index])
	}
	o.hub.stats.gaps.Add(int64(gaps))
	*buf = span.buf
}

// place gives the seq behind which the member is in a message's room, and whether it is shown the message.
func (c *cursor) place(e *parley.Message, part int) (front uint64, shown bool) {
	p := c.past
	if p == nil || e.Seq > p.head[part] {
		return c.pos[part], true
	}
	front, own := p.places[e.Room]
	if !own {
		front = p.rest[part]
	}
	return max(front, c.pos[part]), e.Seq > front && (p.may == nil || p.may(e, part))
}

// passed gives the places that the member named and of which a page that it reads from the start of a partition has
// nothing: a message there is gone, and those behind it may be. What lies in front of the start the log cannot say.
func (c *cursor) passed(page []*parley.Message, part func(room string) int) map[string]uint64 {
	if c.past == nil || c.past.places == nil {
		return nil
	}
	var gone map[string]uint64
	met := make(map[string]bool)
	for _, e := range page {
		place := c.past.places[e.Room]
		if met[e.Room] || c.pos[part(e.Room)] > 0 {
			continue
		}
		if met[e.Room] = true; 0 < place && place < e.Seq {
			if gone == nil {
				gone = make(map[string]uint64)
			}
			gone[e.Room] = place
		}
	}
	return gone
}

// arriveMany ends the past where all of it was shown. Who began at places of its own is told where it is now:
// it has had no cursor until here, and the next one may be long in coming.
func (m *Member) arriveMany(o *Outlet) {
	c := m.many
	placed := c.cursor() == nil
	if c.settle(); placed && c.past == nil {
		o.replies = wire.OfMany(o.enc).Cursor(o.replies, m.room.name, c.pos)
		o.flushReplies()
	}
}

// rejoinMany is rejoin for a member of a pattern: it gets from the ring what it has not read from the log.
func (m *Member) rejoinMany() {
	c := m.many
	if c.past != nil {
		return
	}
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	index, ok := m.strand.Load().placeMany(c.pos)
	if ok {
		m.index, m.lagging, c.skip = index, false, c.pos
	}
}

// placeMany finds the index of the first message that is not covered by a position; false where the
// strand does not reach back that far.
func (s *strand) placeMany(pos parley.Position) (uint64, bool) {
	if !pos.Covers(s.from) {
		return 0, false
	}
	if len(s.segs) == 0 {
		return s.next, true
	}
	// All in front of this segment is covered; what comes behind may be in part.
	i := sort.Search(len(s.segs), func(i int) bool { return !pos.Covers(s.segs[i].at) })
	seg := s.segs[max(i-1, 0)]
	j := slices.IndexFunc(seg.marks, func(mk mark) bool { return mk.seq > pos[mk.part] })
	if j < 0 {
		j = len(seg.marks)
	}
	return seg.first + uint64(j), true
}
