package sse

import (
	"bytes"
	"strconv"
)

// places are where a stream is in each of its rooms: what its ids say, so that a client which comes
// back goes on in all of them. A room whose place is not known yet is left out; the client's query
// says where to begin there. Owned by whoever holds the outlet, but before the first join.
type places struct {
	one  bool // of one room: an id is its seq alone
	list []place

	undo []undo // of the events composed and not written
}

type place struct {
	room  string
	seq   uint64
	known bool
}

// undo is what an event has changed.
type undo struct {
	in, out int // where the event ends: in the shared bytes, in the composed ones
	room    int // index; -1 = it changed nothing
	old     place
}

func (p *places) add(room string, after *uint64) {
	l := place{room: room}
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
		dst = strconv.AppendUint(dst, l.seq, 10)
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
		if room, seq, ok := messageOf(event); ok {
			if u.room = p.findBytes(room); u.room >= 0 {
				u.old = p.list[u.room]
				p.list[u.room].seq, p.list[u.room].known = seq, true
				dst = p.appendID(dst)
				event = event[bytes.IndexByte(event, '\n')+1:]
			}
		}
		dst = append(dst, event...)
		u.out = len(dst)
		p.undo = append(p.undo, u)
	}
	return dst
}

func (p *places) findBytes(room []byte) int {
	for i := range p.list {
		if p.list[i].room == string(room) {
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
			p.list[u.room] = u.old
		}
	}
	return in, owed
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
