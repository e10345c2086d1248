package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/klauspost/compress/flate"
)

// cutter cuts a stream into messages. It keeps only what has come of one that has not ended.
type cutter interface {
	cut(p []byte, each func(message []byte) error) error
}

// The first bytes of WebSocket frames (RFC 6455, section 5.2), each a whole message.
const (
	frameText       = 0x81
	frameCompressed = 0xC1
	frameClose      = 0x88
	framePing       = 0x89
	framePong       = 0x8A
)

// frames cuts a stream of WebSocket frames as a server sends them: not masked, each a message.
type frames struct {
	rest    []byte
	inflate *inflater                  // nil: a compressed message is given as nil
	pong    func(payload []byte) error // answers a ping; nil: it stays without an answer
}

func (f *frames) cut(p []byte, each func(message []byte) error) error {
	for {
		if len(f.rest) == 0 {
			size := frameSize(p)
			if size > len(p) {
				f.rest = append(f.rest, p...)
				return nil
			}
			if err := f.frame(p[:size], each); err != nil {
				return err
			}
			p = p[size:]
			continue
		}
		size := frameSize(f.rest)
		if size <= len(f.rest) {
			if err := f.frame(f.rest, each); err != nil {
				return err
			}
			f.rest = f.rest[:0]
			continue
		}
		k := min(size-len(f.rest), len(p))
		if k == 0 {
			return nil
		}
		f.rest = append(f.rest, p[:k]...)
		p = p[k:]
	}
}

// frameSize gives the size of the frame that p begins with; where too little of it has come to
// know, how many bytes it takes to know more.
func frameSize(p []byte) int {
	const short, long = 4, 10 // headers with a length of two bytes, of eight
	if len(p) < 2 {
		return 2
	}
	switch n := int(p[1]); {
	case n < 126:
		return 2 + n
	case n == 126 && len(p) < short:
		return short
	case n == 126:
		return short + int(binary.BigEndian.Uint16(p[2:]))
	case len(p) < long:
		return long
	}
	return long + int(binary.BigEndian.Uint64(p[2:])&(1<<32-1))
}

// frame takes one whole frame.
func (f *frames) frame(p []byte, each func(message []byte) error) error {
	payload := p[2:]
	switch p[1] {
	case 126:
		payload = p[4:]
	case 127:
		payload = p[10:]
	}
	switch p[0] {
	case frameText:
		return each(payload)
	case frameCompressed:
		if f.inflate == nil {
			return each(nil)
		}
		message, err := f.inflate.all(payload)
		if err != nil {
			return fmt.Errorf("decompress a message: %w", err)
		}
		return each(message)
	case framePing:
		if f.pong == nil {
			return nil
		}
		return f.pong(payload)
	case frameClose:
		return fmt.Errorf("the server closed a connection: %.130q", payload[min(2, len(payload)):])
	}
	return fmt.Errorf("the server sent a frame that begins with %#x", p[0])
}

// appendFrame appends a frame as a client sends it: masked.
func appendFrame(dst []byte, first byte, payload []byte) []byte {
	dst = append(dst, first)
	if n := len(payload); n < 126 {
		dst = append(dst, 0x80|byte(n))
	} else {
		dst = append(dst, 0x80|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	}
	key := binary.BigEndian.AppendUint32(nil, rand.Uint32())
	dst = append(dst, key...)
	for i, b := range payload {
		dst = append(dst, b^key[i%len(key)])
	}
	return dst
}

// inflater decompresses messages of permessage-deflate, each by itself (RFC 7692).
type inflater struct {
	in, out bytes.Buffer
	from    io.Reader
}

// all decompresses a message. What it gives is good until the next one.
func (i *inflater) all(p []byte) ([]byte, error) {
	const flushed, final = "\x00\x00\xff\xff", "\x01\x00\x00\xff\xff"
	i.in.Reset()
	i.in.Write(p)
	i.in.WriteString(flushed + final)
	if r, ok := i.from.(flate.Resetter); ok {
		if err := r.Reset(&i.in, nil); err != nil {
			return nil, err
		}
	} else {
		i.from = flate.NewReader(&i.in)
	}
	i.out.Reset()
	_, err := i.out.ReadFrom(i.from)
	return i.out.Bytes(), err
}

// frameCounter counts the messages of a room in a stream of frames.
type frameCounter struct {
	frames
	cursors bool // there may be cursors between them, which are not counted
}

var cursorStart = []byte(`{"op":"cursor",`)

func (f *frameCounter) count(p []byte) (n int64, err error) {
	err = f.cut(p, func(message []byte) error {
		switch {
		case message == nil || bytes.HasPrefix(message, messageStart):
			n++
		case !f.cursors || !bytes.HasPrefix(message, cursorStart):
			return unexpected(message)
		}
		return nil
	})
	return n, err
}

// eventCounter counts messages in a stream in which there are other things too, by a mark that each has once.
type eventCounter struct{ mark, tail []byte }

var (
	eventMark   = []byte("\nevent: message\n")       // of server-sent events
	messageMark = []byte(`{"op":"message","room":"`) // of JSON lines
)

func (e *eventCounter) count(p []byte) (int64, error) {
	keep := len(e.mark) - 1
	e.tail = append(e.tail, p[:min(keep, len(p))]...)
	n := bytes.Count(e.tail, e.mark) + bytes.Count(p, e.mark)
	if len(p) > keep {
		e.tail = append(e.tail[:0], p[len(p)-keep:]...)
	} else {
		e.tail = append(e.tail[:0], e.tail[max(0, len(e.tail)-keep):]...)
	}
	return int64(n), nil
}

// lineCounter counts line ends, for the encodings that have so many in each message.
type lineCounter struct{}

func (lineCounter) count(p []byte) (int64, error) { return int64(bytes.Count(p, newline)), nil }
