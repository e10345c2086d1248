package wire

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"

	"parley"
)

// WS is the ws encoding: each frame is a WebSocket text frame (RFC 6455, section 5.2) that holds
// the JSON of [JSONLines], without its newline. Frames of a server are not masked, so one copy
// serves every member.
type WS struct {
	// Deflate compresses frames that are long enough to gain by it, as permessage-deflate without
	// context takeover (RFC 7692): each by itself, so that compressed frames can be shared too.
	Deflate bool
}

// Bits of a frame's first byte.
const (
	wsText       = 0x81 // a text message in one frame
	wsCompressed = 0x40 // RSV1
)

const (
	// wsHeader is the header of a frame of 126 to 65,535 bytes, as most are. Others are moved to
	// make room, or to take it back.
	wsHeader = 4
	// deflateFrom is how many bytes of JSON are worth compressing.
	deflateFrom = 256
)

// Message appends a message frame.
func (e WS) Message(dst []byte, m *parley.Message) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Message(dst, m) })
}

// Gap appends a gap frame.
func (e WS) Gap(dst []byte, room string, after, next uint64) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Gap(dst, room, after, next) })
}

// Presence appends what members are told about who is in a room.
func (e WS) Presence(dst []byte, room string, p Presence) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Presence(dst, room, p) })
}

// Signal appends what a member says and nobody keeps.
func (e WS) Signal(dst []byte, room, from string, body []byte) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Signal(dst, room, from, body) })
}

// Status appends whether the server can store messages now.
func (e WS) Status(dst []byte, s Status) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Status(dst, s) })
}

// Welcome appends the answer to a hello.
func (e WS) Welcome(dst, ref []byte, w Welcome) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Welcome(dst, ref, w) })
}

// Joined appends the answer to a join.
func (e WS) Joined(dst, ref []byte, room string, seq uint64) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Joined(dst, ref, room, seq) })
}

// JoinedMembers appends the answer to a join that asks who is there.
func (e WS) JoinedMembers(dst, ref []byte, room string, seq uint64, users []string, count int) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.JoinedMembers(dst, ref, room, seq, users, count) })
}

// Left appends the answer to a leave.
func (e WS) Left(dst, ref []byte, room string) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Left(dst, ref, room) })
}

// Ack appends the answer to a send that is durable.
func (e WS) Ack(dst, ref []byte, room string, r parley.Receipt) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Ack(dst, ref, room, r) })
}

// Page appends the answer to a history.
func (e WS) Page(dst, ref []byte, room string, p parley.Page) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Page(dst, ref, room, p) })
}

// Members appends who is in a room.
func (e WS) Members(dst, ref []byte, room string, users []string, count int) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Members(dst, ref, room, users, count) })
}

// Rooms appends a list of rooms.
func (e WS) Rooms(dst, ref []byte, rooms []RoomEntry, more bool) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Rooms(dst, ref, rooms, more) })
}

// Pong appends the answer to a ping operation, which is no pong of WebSocket.
func (e WS) Pong(dst, ref []byte) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Pong(dst, ref) })
}

// Job appends a job.
func (e WS) Job(dst []byte, j *parley.Job) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Job(dst, j) })
}

// Taking appends the answer to a take.
func (e WS) Taking(dst, ref []byte, room, group string) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Taking(dst, ref, room, group) })
}

// Stopped appends the answer to a stop.
func (e WS) Stopped(dst, ref []byte, room, group string) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Stopped(dst, ref, room, group) })
}

// Busy appends the answer to a busy.
func (e WS) Busy(dst, ref []byte, room, job string, deadline time.Duration) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Busy(dst, ref, room, job, deadline) })
}

// Serving appends the answer to a serve.
func (e WS) Serving(dst, ref []byte, room string) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Serving(dst, ref, room) })
}

// Question appends what somebody asks.
func (e WS) Question(dst []byte, q *parley.Question) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Question(dst, q) })
}

// OneAnswer appends one answer to an ask.
func (e WS) OneAnswer(dst, ref []byte, room string, a *parley.Answer) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.OneAnswer(dst, ref, room, a) })
}

// Answered appends the end of an ask.
func (e WS) Answered(dst, ref []byte, room string, count int) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Answered(dst, ref, room, count) })
}

// Revoked appends the answer to a revoke.
func (e WS) Revoked(dst, ref []byte) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Revoked(dst, ref) })
}

// Draining appends the answer to a drain.
func (e WS) Draining(dst, ref []byte) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Draining(dst, ref) })
}

// Error appends an error frame.
func (e WS) Error(dst, ref []byte, err *parley.Error) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Error(dst, ref, err) })
}

// frame appends a WebSocket frame around the line that json appends.
func (e WS) frame(dst []byte, json func(dst []byte) []byte) []byte {
	start := len(dst)
	dst = json(append(dst, make([]byte, wsHeader)...))
	dst = dst[:len(dst)-1] // the newline
	first := byte(wsText)
	if body := dst[start+wsHeader:]; e.Deflate && len(body) > deflateFrom {
		if n := deflate(body); n > 0 {
			dst = dst[:start+wsHeader+n]
			first |= wsCompressed
		}
	}
	return sealWS(dst, start, first)
}

// sealWS writes the header of the frame that begins at start, with wsHeader bytes kept free.
func sealWS(dst []byte, start int, first byte) []byte {
	n := len(dst) - start - wsHeader
	switch {
	case n <= 125:
		copy(dst[start+2:], dst[start+wsHeader:])
		dst = dst[:len(dst)-2]
		dst[start+1] = byte(n)
	case n <= 65535:
		dst[start+1] = 126
		binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
	default:
		dst = append(dst, make([]byte, 6)...)
		copy(dst[start+10:], dst[start+wsHeader:start+wsHeader+n])
		dst[start+1] = 127
		binary.BigEndian.PutUint64(dst[start+2:], uint64(n))
	}
	dst[start] = first
	return dst
}

// deflater is a compressor with the buffer it writes to.
type deflater struct {
	w   *flate.Writer
	out bytes.Buffer
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.w, _ = flate.NewWriter(&d.out, flate.BestSpeed) // the level is a good one
	return d
}}

// syncTail is what a flush ends with, and permessage-deflate leaves out (RFC 7692, section 7.2.1).
var syncTail = []byte{0x00, 0x00, 0xff, 0xff}

// deflate compresses body in place and returns its new length; 0 where that gains nothing.
func deflate(body []byte) int {
	const keep = 64 << 10 // of a buffer
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	if d.out.Cap() > keep {
		d.out = bytes.Buffer{}
	}
	d.out.Reset()
	d.w.Reset(&d.out)
	if _, err := d.w.Write(body); err != nil {
		return 0 // cannot be: a buffer takes all
	}
	if err := d.w.Flush(); err != nil {
		return 0
	}
	short := bytes.TrimSuffix(d.out.Bytes(), syncTail)
	if len(short) >= len(body) {
		return 0
	}
	return copy(body, short)
}
