package sse

import (
	"bytes"
	"slices"
	"strconv"

	"parley"
)

// places are where a stream is in each of its rooms: what its ids say, so that a client which comes
// back goes on in all of them. A room whose place is not known yet is left out; the client's query
// says where to begin there. Owned by whoever holds the outlet, but before the first join.
type places struct {
	one    bool // of one room or pattern: an id is its seq or cursor alone
	shared bool // of one room: the shared events have its ids
	list   []place
	part   func(room string) int // of the log

	undo []undo // of the events composed and not written
}

type place struct {
	room  string // or a pattern
	seq   uint64
	known bool

	many parley.Pattern  // of the rooms that go by it; the zero pattern for a room
	at   parley.Position // in place of seq; its own, and it changes
}

// undo is what an event has changed.
type undo struct {
	in, out int // where the event ends: in the shared bytes, in the composed ones
	room    int // index; -1 = it changed nothing
	old     place
	part    int // of a pattern: the part that has changed, and old.seq what it was; -1 = all have
}

func (p *places) add(room string, after *uint64) {
	l := place{room: room}
	if parley.IsPattern(room) {
		l.many, _ = parley.ParsePattern(room) // it was checked
		after = nil                           // it is known when it has been joined
	}
	if after != nil {
		l.seq, l.known = *after, true
	}
	p.list = append(p.list, l)
}

func (p *places) find(room string) int {
	for i := range p.list {
		if p.list[i].room == room {
			return i
		}
	}
	return -1
}

// set notes a place.
func (p *places) set(room string, seq uint64) {
	if i := p.find(room); i >= 0 {
		p.list[i].seq, p.list[i].known = seq, true
	}
}

// setAt notes the place of a pattern.
func (p *places) setAt(pattern string, at parley.Position) {
	if i := p.find(pattern); i >= 0 {
		p.list[i].at, p.list[i].known = slices.Clone(at), true
	}
}

// overlap finds something in the list that has rooms in common with a room or pattern.
func (p *places) overlap(room string) (other string, found bool) {
	this, err := parley.ParsePattern(room) // a name is a pattern too
	if err != nil {
		return "", false
	}
	for _, l := range p.list {
		of := l.many
		if of == (parley.Pattern{}) {
			of, _ = parley.ParsePattern(l.room)
		}
		if _, common := this.Intersect(of); common {
			return l.room, true
		}
	}
	return "", false
}

// appendID appends the line of an id; nothing where no place is known.
func (p *places) appendID(dst []byte) []byte {
	begun := false
	for _, l := range p.list {
		switch {
		case !l.known:
			continue
		case begun:
			dst = append(dst, ',')
		default:
			dst = append(dst, "id: "...)
			begun = true
		}
		if !p.one {
			dst = append(dst, l.room...)
			dst = append(dst, ':')
		}
		if l.at != nil {
			dst = l.at.Append(dst)
		} else {
			dst = strconv.AppendUint(dst, l.seq, 10)
		}
	}
	if begun {
		dst = append(dst, '\n')
	}
	return dst
}

// composeMost bounds what is composed for one write.
const composeMost = 64 << 10

// compose appends shared events with the stream's own ids in them, as many as go into composeMost
// bytes, at least one. The end of each is noted in undo.
func (p *places) compose(dst, events []byte) []byte {
	p.undo = p.undo[:0]
	for at := 0; at < len(events) && (at == 0 || len(dst) < composeMost); {
		event := firstEvent(events[at:])
		at += len(event)
		u := undo{in: at, room: -1}
		if p.move(&u, event) {
			dst = p.appendID(dst)
			event = event[bytes.IndexByte(event, '\n')+1:]
			event = bytes.TrimPrefix(event, cursorLine(event))
		}
		dst = append(dst, event...)
		u.out = len(dst)
		p.undo = append(p.undo, u)
	}
	return dst
}

// move goes to where the stream is behind an event; false where that says nothing of it.
func (p *places) move(u *undo, event []byte) bool {
	if room, seq, ok := messageOf(event); ok {
		if u.room = p.findBytes(room); u.room < 0 {
			return false
		}
		l := &p.list[u.room]
		if u.old = *l; l.at == nil {
			l.seq, l.known = seq, true
			return true
		}
		u.part = p.part(string(room))
		u.old.seq, l.at[u.part] = l.at[u.part], max(l.at[u.part], seq)
		return true
	}
	pattern, at, ok := cursorOf(event)
	if !ok {
		return false
	}
	u.room = p.find(pattern)
	if u.room < 0 || len(p.list[u.room].at) != len(at) {
		u.room = -1
		return false
	}
	l := &p.list[u.room]
	u.old, u.part = *l, -1
	l.at = slices.Clone(l.at)
	for i := range at {
		l.at[i] = max(l.at[i], at[i])
	}
	return true
}

// findBytes finds the place of a room: its own, or that of a pattern that it goes by.
func (p *places) findBytes(room []byte) int {
	for i := range p.list {
		if p.list[i].room == string(room) {
			return i
		}
	}
	for i := range p.list {
		if l := &p.list[i]; l.at != nil && l.many.Match(string(room)) {
			return i
		}
	}
	return -1
}

// accept takes back what the events changed of which no byte was written, n being composed bytes that
// were. It says how many of the shared bytes count as written: whole events, and of one begun all
// but its last byte; and which composed bytes of that one are owed before its last.
func (p *places) accept(composed []byte, n int) (in int, owed []byte) {
	i, out := 0, 0
	for ; i < len(p.undo) && p.undo[i].out <= n; i++ {
		in, out = p.undo[i].in, p.undo[i].out
	}
	if i < len(p.undo) && n > out {
		in, owed = p.undo[i].in-1, composed[n:p.undo[i].out-1]
		i++
	}
	for j := len(p.undo) - 1; j >= i; j-- {
		if u := &p.undo[j]; u.room >= 0 {
			p.list[u.room].back(u)
		}
	}
	return in, owed
}

// back takes back what an event has changed.
func (l *place) back(u *undo) {
	if l.at == nil || u.part < 0 {
		*l = u.old
		return
	}
	l.at[u.part] = u.old.seq
}

// firstEvent is the first of the events, or the newline that ends one already begun.
func firstEvent(events []byte) []byte {
	if events[0] == '\n' {
		return events[:1]
	}
	if i := bytes.Index(events, []byte("\n\n")); i >= 0 {
		return events[:i+2]
	}
	return events
}

var (
	idPrefix      = []byte("id: ")
	messagePrefix = []byte("\nevent: message\ndata: {\"op\":\"message\",\"room\":\"")
)

// messageOf reads room and seq of a message event as wire.SSE writes it; ok is false for any other. A
// room's name has nothing in it that JSON escapes.
func messageOf(event []byte) (room []byte, seq uint64, ok bool) {
	rest, ok := bytes.CutPrefix(event, idPrefix)
	if !ok {
		return nil, 0, false
	}
	for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
		seq = seq*10 + uint64(rest[0]-'0')
		rest = rest[1:]
	}
	if rest, ok = bytes.CutPrefix(rest, messagePrefix); !ok {
		return nil, 0, false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil, 0, false
	}
	return rest[:end], seq, true
}

// cursorOf reads an event by which a pattern says where it is, as wire.SSE writes it.
func cursorOf(event []byte) (pattern string, at parley.Position, ok bool) {
	if len(event) == 0 || event[0] != ':' {
		return "", nil, false
	}
	name, rest, _ := bytes.Cut(event[1:], []byte{'\n'})
	text := bytes.TrimSuffix(bytes.TrimPrefix(cursorLine(rest), idPrefix), []byte{'\n'})
	if len(name) == 0 || len(text) == 0 {
		return "", nil, false
	}
	at, err := parley.ParsePosition(string(text))
	return string(name), at, err == nil
}

// cursorLine is the line of an id that ends an event; nothing where it does not begin with one.
func cursorLine(event []byte) []byte {
	if i := bytes.IndexByte(event, '\n'); i >= 0 && i+2 == len(event) && bytes.HasPrefix(event, idPrefix) {
		return event[:i+1]
	}
	return nil
}
