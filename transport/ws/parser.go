package ws

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// message is a whole message or control frame. data may be part of what was read, and is good until
// the next call of the parser.
type message struct {
	op   ws.OpCode // text, ping, pong or close; 0: there is none yet
	data []byte
}

// parser takes frames out of a stream that comes in pieces of any size. What it holds is at most
// limit bytes of one message, and nothing between messages. Its errors are *failure: the connection
// ends with them.
type parser struct {
	limit   int  // bytes of a message, as it comes and inflated
	deflate bool // permessage-deflate is negotiated

	head  [ws.MaxHeaderSize]byte // the header that is coming in
	got   uint8                  // bytes of it
	frame frame                  // whose payload is coming in, where within
	// A message that began in an earlier frame or piece.
	within     bool // a frame's payload is coming in
	open       bool // a message has begun and its last frame is not here
	compressed bool // it is
	checked    int  // bytes of text that are known to be UTF-8
	text       []byte
	control    []byte // the payload of a control frame, likewise
}

// frame is the header of a frame, and how far its payload is here.
type frame struct {
	op   ws.OpCode
	fin  bool
	mask [4]byte
	done int
	left int
}

// idle says whether nothing has begun.
func (p *parser) idle() bool { return p.got == 0 && !p.within && !p.open }

// next takes one message or control frame out of data, in which it works, and gives what is behind
// it. Where there is none, data is taken whole.
func (p *parser) next(data []byte) (message, []byte, error) {
	for {
		if !p.within {
			rest, err := p.header(data)
			if err != nil || !p.within {
				return message{}, nil, err
			}
			data = rest
		}
		f := &p.frame
		n := min(len(data), f.left)
		part := data[:n:n]
		data = data[n:]
		ws.Cipher(part, f.mask, f.done)
		f.done += n
		f.left -= n
		p.within = f.left > 0
		m, err := p.take(part)
		if err != nil || m.op != 0 || len(data) == 0 {
			return m, data, err
		}
	}
}

// header takes in a header; p.within says that it is whole. What it says is checked before a byte
// is kept for it.
func (p *parser) header(data []byte) (rest []byte, err error) {
	for {
		size := headerSize(p.head[:p.got])
		n := copy(p.head[p.got:size], data)
		data = data[n:]
		p.got += uint8(n)
		switch {
		case int(p.got) < size:
			return nil, nil
		case size == 2:
			if err := p.checkFlags(); err != nil {
				return nil, err
			}
		}
		if size == headerSize(p.head[:p.got]) {
			p.got = 0
			return data, p.begin(p.head[:size])
		}
	}
}

// headerSize is how long a header is, as far as it can be told from what is there.
func headerSize(head []byte) int {
	if len(head) < 2 {
		return 2
	}
	size := 2
	switch head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if head[1]&0x80 != 0 {
		size += 4
	}
	return size
}

// checkFlags checks a header's first two bytes.
func (p *parser) checkFlags() error {
	h := ws.Header{
		Fin:    p.head[0]&0x80 != 0,
		Rsv:    p.head[0] >> 4 & 7,
		OpCode: ws.OpCode(p.head[0] & 0x0f),
		Masked: p.head[1]&0x80 != 0,
		Length: int64(p.head[1] & 0x7f),
	}
	const rsv1 = 4
	if h.Rsv == rsv1 && p.deflate && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) {
		h.Rsv = 0
	}
	if h.Rsv != 0 {
		return errReserved
	}
	state := ws.StateServerSide
	if p.open {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return &failure{protocolError, err.Error()}
	}
	if h.OpCode == ws.OpBinary {
		return errBinary
	}
	return nil
}

// begin begins a frame.
func (p *parser) begin(head []byte) error {
	f := frame{op: ws.OpCode(head[0] & 0x0f), fin: head[0]&0x80 != 0}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		if length = binary.BigEndian.Uint64(head[2:]); length>>63 != 0 {
			return errLength
		}
	}
	if length > uint64(p.limit-len(p.text)) && !f.op.IsControl() {
		return errTooBig
	}
	f.left = int(length)
	copy(f.mask[:], head[len(head)-4:])
	if f.op == ws.OpText {
		p.open, p.compressed = true, head[0]&0x40 != 0
	}
	p.frame, p.within = f, true
	return nil
}

// take takes a piece of the frame's payload; the last one may end a message.
func (p *parser) take(part []byte) (message, error) {
	f := &p.frame
	if f.op.IsControl() {
		if f.left > 0 || len(p.control) > 0 {
			p.control = append(p.control, part...)
			part = p.control
		}
		if f.left > 0 {
			return message{}, nil
		}
		p.control = nil
		return message{f.op, part}, nil
	}
	whole := f.fin && f.left == 0
	if !whole || len(p.text) > 0 {
		p.text = append(p.text, part...)
		part = p.text
	}
	if !p.compressed {
		if err := p.checkText(part, whole); err != nil {
			return message{}, err
		}
	}
	if !whole {
		return message{}, nil
	}
	compressed := p.compressed
	p.open, p.compressed, p.checked, p.text = false, false, 0, nil
	if compressed {
		var err error
		if part, err = inflate(part, p.limit); err != nil {
			return message{}, err
		}
		if !utf8.Valid(part) {
			return message{}, errUTF8
		}
	}
	return message{ws.OpText, part}, nil
}

// checkText checks what has come of a text since the last time; a character may be cut in two
// unless the text is whole. A mistake is found at its first byte.
func (p *parser) checkText(text []byte, whole bool) error {
	end := len(text)
	if !whole {
		end = characters(text)
	}
	if !utf8.Valid(text[p.checked:end]) {
		return errUTF8
	}
	p.checked = end
	return nil
}

// characters is where the last character of a text ends that is not cut in two.
func characters(text []byte) int {
	for i := len(text) - 1; i >= 0 && i >= len(text)-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				return i
			}
			break
		}
	}
	return len(text)
}
