package room

import (
	"slices"
	"sort"
	"sync"
	"time"

	"parley"
	"parley/wire"
)

// Bounds of a ring.
const (
	ringMessages = 1024      // messages kept decoded, for pages and new strands
	ringBytes    = 1 << 20   // bytes of their bodies
	minSegment   = 4 << 10   // bytes of a quiet room's segment
	maxSegment   = 256 << 10 // and of a busy one's
	minStrand    = 16 << 10  // bytes a strand may keep however many rooms there are
	maxStrand    = 4 << 20   // and however few, where nothing else is said
)

// ring is a room's newest messages: decoded, and as bytes once per encoding in use. A message has
// an index, counted from the room's activation, which is the same in every strand: a cursor is an
// index. Guarded by its room's mu; what a view shows never changes.
type ring struct {
	msgs    []*parley.Message // the newest, without a hole; msgs[len-1] has index next-1
	bytes   int               // of their bodies
	next    uint64            // index of the next message
	last    uint64            // seq of the newest message delivered, or of the room when it was activated
	strands []*strand

	// Of a pattern's room: all up to here was told. It never changes, but is replaced.
	at parley.Position
}

// append takes the next messages in.
func (r *ring) append(batch []*parley.Message, limit int, now time.Time) {
	for _, m := range batch {
		for _, s := range r.strands {
			s.append(m, limit, now)
		}
		r.msgs = append(r.msgs, m)
		r.bytes += len(m.Body)
		r.last = m.Seq
		r.next++
	}
	r.trim(ringMessages, ringBytes)
}

// trim drops the oldest decoded messages beyond the bounds. What was dropped stays as it was, since
// a page may be reading it; the next time the slice grows it is left behind.
func (r *ring) trim(count, bytes int) {
	drop := 0
	for drop < len(r.msgs) && (len(r.msgs)-drop > count || r.bytes > bytes) {
		r.bytes -= len(r.msgs[drop].Body)
		drop++
	}
	r.msgs = r.msgs[drop:]
}

// before is the seq of the message in front of the ring: who has read it misses nothing here.
func (r *ring) before() uint64 {
	if len(r.msgs) == 0 {
		return r.last
	}
	return r.msgs[0].Prev
}

// since gives the ring's messages with seq > after, and whether these are all there are.
func (r *ring) since(after uint64) ([]*parley.Message, bool) {
	i := sort.Search(len(r.msgs), func(i int) bool { return r.msgs[i].Seq > after })
	return r.msgs[i:], i > 0 || after >= r.before()
}

// strand finds the strand of an encoding, or makes one from the decoded messages.
func (r *ring) strand(enc wire.Encoding, limit int, now time.Time) *strand {
	for _, s := range r.strands {
		if s.enc == enc {
			return s
		}
	}
	s := &strand{enc: enc, next: r.next - uint64(len(r.msgs)), before: r.before(), from: r.at}
	for _, m := range r.msgs {
		s.append(m, limit, now)
	}
	r.strands = append(r.strands, s)
	return s
}

// drop forgets the strand of an encoding that no member uses any more.
func (r *ring) drop(s *strand) {
	for i := range r.strands {
		if r.strands[i] == s {
			r.strands = append(r.strands[:i:i], r.strands[i+1:]...)
			return
		}
	}
}

// strand is the ring in one encoding: segments of bytes, oldest first. All but the newest are
// full and never change; the newest only grows, within its capacity.
type strand struct {
	enc     wire.Encoding
	members int
	segs    []*segment
	bytes   int    // capacity of the segments
	next    uint64 // index of the next message
	before  uint64 // seq of the message in front of the oldest one here

	from parley.Position // of a pattern's room: in front of the oldest one here
}

type segment struct {
	first  uint64 // index of its first message
	buf    []byte
	marks  []mark
	opened time.Time

	at parley.Position // of a pattern's room: in front of its first message
}

// mark is where a message ends in its segment, and whose it is.
type mark struct {
	seq     uint64 // 0 = it is no message, but a frame between them
	session parley.SessionID
	end     uint32
	part    uint16 // of the log, in a pattern's room
}

// scratches hold a message while it is encoded, before its size is known.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

func (s *strand) append(m *parley.Message, limit int, now time.Time) {
	scratch := scratches.Get().(*[]byte)
	*scratch = s.enc.Message((*scratch)[:0], m)
	s.put(*scratch, mark{seq: m.Seq, session: m.Session}, nil, limit, now)
	scratches.Put(scratch)
}

// put takes a frame in. at is the position in front of it, in a pattern's room; it is not kept.
func (s *strand) put(frame []byte, mk mark, at parley.Position, limit int, now time.Time) {
	seg := s.newest()
	if seg == nil || len(seg.buf)+len(frame) > cap(seg.buf) {
		seg = s.grow(len(frame), now)
		seg.at = slices.Clone(at)
	}
	seg.buf = append(seg.buf, frame...)
	mk.end = uint32(len(seg.buf))
	seg.marks = append(seg.marks, mk)
	s.next++
	s.trim(limit)
}

func (s *strand) newest() *segment {
	if len(s.segs) == 0 {
		return nil
	}
	return s.segs[len(s.segs)-1]
}

// grow opens a segment: twice the last one's size when that filled within a second, half when it
// took long, and never smaller than what must go in.
func (s *strand) grow(need int, now time.Time) *segment {
	size := minSegment
	if last := s.newest(); last != nil {
		size = min(cap(last.buf), maxSegment)
		switch age := now.Sub(last.opened); {
		case age < time.Second:
			size = min(size*2, maxSegment)
		case age > 10*time.Second:
			size = max(size/2, minSegment)
		}
	}
	seg := &segment{first: s.next, buf: make([]byte, 0, max(size, need)), opened: now}
	s.segs = append(s.segs, seg)
	s.bytes += cap(seg.buf)
	return seg
}

// trim drops the oldest segments as long as what is left is more than limit. The newest stays.
func (s *strand) trim(limit int) {
	for len(s.segs) > 1 && s.bytes-cap(s.segs[0].buf) >= limit {
		old := s.segs[0]
		s.before = old.marks[len(old.marks)-1].seq
		s.bytes -= cap(old.buf)
		s.segs = s.segs[1:]
		s.from = s.segs[0].at
	}
}

// place finds the index of the first message with seq > after; false where the strand does not
// reach back that far.
func (s *strand) place(after uint64) (uint64, bool) {
	if after < s.before {
		return 0, false
	}
	i := sort.Search(len(s.segs), func(i int) bool {
		marks := s.segs[i].marks
		return marks[len(marks)-1].seq > after
	})
	if i == len(s.segs) {
		return s.next, true
	}
	marks := s.segs[i].marks
	j := sort.Search(len(marks), func(j int) bool { return marks[j].seq > after })
	return s.segs[i].first + uint64(j), true
}

// view is what a strand holds at one moment, to be read without a lock.
type view struct {
	segs  []*segment
	buf   []byte // of the newest segment, which goes on growing
	marks []mark // likewise
	first uint64 // oldest index here
	next  uint64 // index behind the newest

	told parley.Position // of a pattern's room: all up to here was told
}

func (s *strand) view() view {
	v := view{segs: s.segs, first: s.next, next: s.next}
	if seg := s.newest(); seg != nil {
		v.buf, v.marks, v.first = seg.buf, seg.marks, s.segs[0].first
	}
	return v
}

// at gives the segment that holds index i, which lies in the view, and i's place in it.
func (v *view) at(i uint64) (span, int) {
	n := len(v.segs) - 1
	for v.segs[n].first > i {
		n--
	}
	seg := v.segs[n]
	c := span{buf: v.buf, marks: v.marks, first: seg.first, at: seg.at}
	if n < len(v.segs)-1 {
		c.buf, c.marks = seg.buf, seg.marks
	}
	return c, int(i - c.first)
}

// span is encoded messages one behind the other: a segment as a view shows it, or a page.
type span struct {
	buf   []byte
	marks []mark
	first uint64 // index of marks[0]

	at parley.Position // of a pattern's room: in front of marks[0]; nil of a page
}

// start is where message i begins; of len(marks), where the last one ends.
func (c *span) start(i int) int {
	if i == 0 {
		return 0
	}
	return int(c.marks[i-1].end)
}

// bytes are those of the messages from lo up to hi.
func (c *span) bytes(lo, hi int) []byte { return c.buf[c.start(lo):c.start(hi)] }

// holding finds the message that byte at off belongs to.
func (c *span) holding(off int) int {
	return sort.Search(len(c.marks), func(i int) bool { return int(c.marks[i].end) > off })
}
