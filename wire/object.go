package wire

import (
	"bytes"
	"encoding/json"
	"sync"
	"unicode/utf8"

	"parley"
)

// object is a frame's members as they were written. encoding/json cannot serve for frames: it
// takes keys in any case and the last of two that are the same. A frame has few members, so a
// list is as fast as a map and costs nothing to make.
type object struct {
	n       int
	members [maxMembers]member
}

type member struct{ key, value []byte }

// maxMembers is more than any operation has; a frame with more is refused.
const maxMembers = 64

var objects = sync.Pool{New: func() any { return new(object) }}

// release gives the object back to the pool, without the memory it points to.
func (o *object) release() {
	clear(o.members[:o.n])
	o.n = 0
	objects.Put(o)
}

// parse reads a JSON object into an empty one. The parts it keeps are parts of line. On a
// duplicate key or invalid UTF-8 it goes on to the end beside the error, so that the ref is known.
func (o *object) parse(line []byte) error {
	var fault error
	if !utf8.Valid(line) {
		fault = parley.Errorf(parley.BadRequest, "a frame is valid UTF-8")
	}
	if !json.Valid(line) {
		return parley.Errorf(parley.BadRequest, "a frame is one JSON object, and this is no JSON")
	}
	s := scanner{b: line}
	s.space()
	if s.b[s.i] != '{' {
		return parley.Errorf(parley.BadRequest, "a frame is a JSON object")
	}
	s.i++
	for s.space(); s.b[s.i] != '}'; s.space() {
		if s.b[s.i] == ',' {
			s.i++
			s.space()
		}
		key := unquote(s.value())
		s.space()
		s.i++ // the colon: the whole line is known to be valid
		s.space()
		value := s.value()
		switch {
		case o.get(string(key)) != nil:
			fault = parley.Errorf(parley.BadRequest, "the key %q stands twice", clip(string(key)))
		case o.n == maxMembers:
			return parley.Errorf(parley.BadRequest, "a frame has at most %d members", maxMembers)
		default:
			o.members[o.n] = member{key, value}
			o.n++
		}
	}
	return fault
}

// get gives the value as it was written, or nil.
func (o *object) get(key string) []byte {
	for i := range o.members[:o.n] {
		if string(o.members[i].key) == key {
			return o.members[i].value
		}
	}
	return nil
}

// scanner walks over JSON that is known to be valid.
type scanner struct {
	b       []byte
	i       int
	deepest int // how far values were nested so far
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// value steps over one value and returns it.
func (s *scanner) value() []byte {
	start, depth := s.i, 0
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case '"':
			s.str()
			if depth == 0 {
				return s.b[start:s.i]
			}
			continue
		case '{', '[':
			depth++
			s.deepest = max(s.deepest, depth)
		case '}', ']':
			if depth == 0 {
				return s.b[start:s.i] // the end of a number or word, last in its object
			}
			if depth--; depth == 0 {
				s.i++
				return s.b[start:s.i]
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return s.b[start:s.i]
			}
		}
		s.i++
	}
	return s.b[start:s.i]
}

func (s *scanner) str() {
	for s.i++; s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			s.i++
		}
	}
	s.i++
}

// depth is how far a JSON value is nested: 0 for one that is no object or array.
func depth(raw []byte) int {
	s := scanner{b: raw}
	s.value()
	return s.deepest
}

// unquote decodes a JSON string that is known to be valid. Where nothing is escaped the result
// is part of raw.
func unquote(raw []byte) []byte {
	in := raw[1 : len(raw)-1]
	if bytes.IndexByte(in, '\\') < 0 {
		return in
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return in // cannot be: json.Valid has said so
	}
	return []byte(s)
}

// compact takes the white space out of a JSON value; keys and numbers stay as they were written.
func compact(raw []byte) []byte {
	var buf bytes.Buffer
	buf.Grow(len(raw))
	if err := json.Compact(&buf, raw); err != nil {
		return raw // cannot be: json.Valid has said so
	}
	return buf.Bytes()
}
