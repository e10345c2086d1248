package wire

import (
	"strconv"

	"parley"
)

// SSE is the encoding of server-sent events: what a room sends is an event whose data is the frame
// that JSON lines have, on one line. A stream has no operations and so no answers to them; what the
// server has to say goes into comments.
//
// The id of a message is its seq: the bytes are the same for everyone. A stream of several rooms,
// whose ids are its own, puts them in the place of that first line; see package transport/sse.
type SSE struct{ JSONLines }

// Message appends a message event.
func (SSE) Message(dst []byte, m *parley.Message) []byte {
	dst = append(dst, "id: "...)
	dst = strconv.AppendUint(dst, m.Seq, 10)
	dst = append(dst, "\nevent: message\ndata: "...)
	return append(JSONLines{}.Message(dst, m), '\n')
}

// Gap appends a gap event. It has no id: who is cut off right behind it is told again.
func (SSE) Gap(dst []byte, room string, after, next uint64) []byte {
	dst = append(dst, "event: gap\ndata: "...)
	return append(JSONLines{}.Gap(dst, room, after, next), '\n')
}

// Presence appends a presence event.
func (SSE) Presence(dst []byte, room string, p Presence) []byte {
	dst = append(dst, "event: presence\ndata: "...)
	return append(JSONLines{}.Presence(dst, room, p), '\n')
}

// Signal appends a signal event.
func (SSE) Signal(dst []byte, room, from string, body []byte) []byte {
	dst = append(dst, "event: signal\ndata: "...)
	return append(JSONLines{}.Signal(dst, room, from, body), '\n')
}

// Status appends a status event.
func (SSE) Status(dst []byte, s Status) []byte {
	dst = append(dst, "event: status\ndata: "...)
	return append(JSONLines{}.Status(dst, s), '\n')
}

// Left appends a left event: the stream is not in the room any more.
func (SSE) Left(dst, ref []byte, room string) []byte {
	dst = append(dst, "event: left\ndata: "...)
	return append(JSONLines{}.Left(dst, ref, room), '\n')
}

// Error appends an error event. Where there is a hint when to come back, clients do that by
// themselves: then it is a comment for people, and the time.
func (SSE) Error(dst, _ []byte, e *parley.Error) []byte {
	if e.Retry == 0 {
		dst = append(dst, "event: error\ndata: "...)
		return append(JSONLines{}.Error(dst, nil, e), '\n')
	}
	dst = append(dst, ": "...)
	dst = append(dst, e.Code...)
	dst = append(dst, ": "...)
	dst = append(appendVisible(dst, e.Message), "\nretry: "...)
	dst = strconv.AppendInt(dst, max(1, e.Retry.Milliseconds()), 10)
	return append(dst, "\n\n"...)
}

// Welcome appends nothing: a stream's session is not asked for.
func (SSE) Welcome(dst, _ []byte, _ Welcome) []byte { return dst }
