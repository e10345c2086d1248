package parley

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// Position is a reader's place in all rooms at once. The log numbers its messages in parts, each
// room being in one of them; a position has, for each part, the seq up to which the reader has got
// whatever it reads. One that others can see does not change any more.
type Position []uint64

// maxParts bounds what is read as a position.
const maxParts = 1024

var positionText = base64.RawURLEncoding

// String gives the position as clients have it, who need not know what is in it: a cursor.
func (p Position) String() string { return string(p.Append(nil)) }

// Append appends what String gives.
func (p Position) Append(dst []byte) []byte {
	b := make([]byte, 0, 64)
	for _, seq := range p {
		b = binary.AppendUvarint(b, seq)
	}
	return positionText.AppendEncode(dst, b)
}

// ParsePosition reads a position as String gives it.
func ParsePosition(s string) (Position, error) {
	bad := Errorf(BadRequest, "a cursor is one that this server gave")
	if len(s) > maxParts*binary.MaxVarintLen64*4/3 {
		return nil, bad
	}
	b, err := positionText.DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil, bad
	}
	var p Position
	for len(b) > 0 {
		seq, n := binary.Uvarint(b)
		if n <= 0 || seq > 1<<63-1 || len(p) == maxParts {
			return nil, bad
		}
		p, b = append(p, seq), b[n:]
	}
	return p, nil
}

// Covers says whether a reader at p has got everything that one at q has.
func (p Position) Covers(q Position) bool {
	for i := range p {
		if p[i] < q[i] {
			return false
		}
	}
	return true
}

// With gives the position with another seq for a part.
func (p Position) With(part int, seq uint64) Position {
	p = slices.Clone(p)
	p[part] = seq
	return p
}
