package room

import (
	"sync"
	"sync/atomic"

	"parley"
	"parley/wire"
)

// Member is a session in a room, as the room sees it: a cursor. Guarded by its outlet's mu.
type Member struct {
	room *Room
	out  *Outlet
	echo bool

	watches bool // is told who comes and goes; fixed at birth

	shard  *shard                 // guarded by the room's mu
	user   string                 // likewise: its session's, as the others see it
	strand atomic.Pointer[strand] // changed with the room's mu held too

	index   uint64 // of the next message in the strand, unless lagging
	seq     uint64 // of the last message written, or the position it joined at
	skip    uint64 // messages up to this seq are not its: it joined beyond the newest
	gap     uint64 // messages behind this seq may be gone: say so before the next one; 0 = none
	exact   bool   // seq was worked out to replay what is left: what is not there behind it is no gap
	lagging bool   // behind the ring: the pump reads the log from seq
	gone    bool   // has left
	told    uint64 // version of the room's presence it knows of
	stale   bool   // it could not be told of a change: tell all anew when it can be
	sent    bool   // its session has sent something here: with echo off, own messages are looked for

	many *cursor // what a member of a pattern has in place of seq; nil for one of a room
}

// Room is the room's name.
func (m *Member) Room() string { return m.room.name }

// Watches says whether the member is told who comes and goes.
func (m *Member) Watches() bool { return m.watches }

// Sends notes that the session sends to this room, so that with echo off its own messages are
// looked for from now on.
func (m *Member) Sends() {
	if m.echo {
		return
	}
	m.out.mu.Lock()
	m.sent = true
	m.out.mu.Unlock()
}

// Leave takes the member out of its room. Nothing of the room is written to it any more, but the
// rest of a message already begun.
func (m *Member) Leave() {
	o := m.out
	o.mu.Lock()
	for i := range o.members {
		if o.members[i] == m {
			o.members = append(o.members[:i:i], o.members[i+1:]...)
			break
		}
	}
	left := m.gone
	m.gone = true
	o.mu.Unlock()
	if !left {
		m.detach()
	}
}

// detach takes the member out of its shard.
func (m *Member) detach() { m.room.remove(m) }

// recode moves the cursor to the strand of another encoding. The index means the same there.
func (m *Member) recode(enc wire.Encoding) {
	if m.many != nil {
		enc = wire.OfMany(enc)
	}
	m.room.recode(m, enc)
}

// writePage writes a page of the log, as far as the socket takes it.
func (m *Member) writePage(o *Outlet, page parley.Page) {
	if len(page.Messages) == 0 {
		return
	}
	m.tellGap(o, page.Messages[0].Seq)
	buf := pages.Get().(*[]byte)
	defer pages.Put(buf)
	span := span{buf: (*buf)[:0], marks: make([]mark, len(page.Messages))}
	for i, e := range page.Messages {
		span.buf = o.enc.Message(span.buf, e)
		span.marks[i] = mark{seq: e.Seq, session: e.Session, end: uint32(len(span.buf))}
	}
	m.write(o, span, 0)
	*buf = span.buf
}

// pages are buffers for encoded pages.
var pages = sync.Pool{New: func() any { return new([]byte) }}

// rejoin puts a lagging member back on the ring if that reaches back far enough by now.
func (m *Member) rejoin() {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	index, ok := m.strand.Load().place(m.seq)
	if !ok {
		return
	}
	m.index, m.lagging = index, false
	if m.seq > m.room.ring.last { // the log's page was ahead of the tail
		m.skip = m.seq
	}
}
