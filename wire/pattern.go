package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"

	"parley"
)

// What operations say of patterns.

// MaxPlaces bounds the rooms that a join names places of.
const MaxPlaces = 10_000

// parseRooms reads a room's name or a pattern.
func parseRooms(op *Op, obj *object) error {
	name, err := obj.str("room")
	if err != nil {
		return err
	}
	if !parley.IsPattern(name) {
		op.Room, err = parley.ParseRoom(name)
		return err
	}
	p, err := parley.ParsePattern(name)
	op.Room = p.String()
	return err
}

// parseAfter reads where a join goes on: behind a seq, or in a pattern behind one of each of some rooms.
func parseAfter(op *Op, obj *object, raw []byte) (err error) {
	many := parley.IsPattern(op.Room)
	switch {
	case raw[0] == '{' && !many:
		return parley.Errorf(parley.BadRequest, `"after" is a seq; places by room are for a pattern`)
	case raw[0] == '{':
		op.Start.Places, err = parsePlaces(raw)
		return err
	}
	if op.Start.After, err = obj.seq("after"); err == nil && many && *op.Start.After > 0 {
		return parley.Errorf(parley.BadRequest, `in a pattern "after" is 0, for all that is left, or an object of a seq for each of some rooms`)
	}
	return err
}

// parsePlaces reads an object of seqs by room.
func parsePlaces(raw []byte) (map[string]uint64, error) {
	bad := parley.Errorf(parley.BadRequest, `"after" is a seq for each of at most %d rooms, and each stands once`, MaxPlaces)
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	_, _ = d.Token() // the brace: the line is known to be valid
	places := make(map[string]uint64)
	for d.More() {
		key, _ := d.Token()
		value, _ := d.Token()
		name, _ := key.(string)
		number, ok := value.(json.Number)
		if !ok || len(places) == MaxPlaces {
			return nil, bad
		}
		seq, err := strconv.ParseUint(number.String(), 10, 64)
		if err != nil || seq > math.MaxInt64 {
			return nil, bad
		}
		if name, err = parley.ParseRoom(name); err != nil {
			return nil, err
		}
		if _, twice := places[name]; twice {
			return nil, bad
		}
		places[name] = seq
	}
	return places, nil
}

// parseManyStart reads what only a join of a pattern has, and refuses there what only one of a room has.
func parseManyStart(op *Op, obj *object) error {
	many, s := parley.IsPattern(op.Room), &op.Start
	if obj.get("cursor") != nil {
		text, err := obj.str("cursor")
		if err != nil {
			return err
		}
		if s.Cursor, err = parley.ParsePosition(text); err != nil {
			return err
		}
	}
	rest, err := obj.str("rest")
	if err != nil {
		return err
	}
	s.Rest = rest == "start"
	switch {
	case !many && (s.Cursor != nil || obj.get("rest") != nil):
		return parley.Errorf(parley.BadRequest, `"cursor" and "rest" are for a pattern`)
	case many && s.Last > 0:
		return parley.Errorf(parley.BadRequest, `"last" is for a room; in a pattern, ask for "since"`)
	case s.Cursor != nil && (s.After != nil || !s.Since.IsZero()):
		return parley.Errorf(parley.BadRequest, `beside "cursor" only an "after" that names rooms`)
	case obj.get("rest") != nil && (s.Places == nil || s.Cursor != nil || rest != "start" && rest != "live"):
		return parley.Errorf(parley.BadRequest, `"rest" is "live" or "start", beside an "after" that names rooms`)
	}
	return nil
}

// appendManyStart appends what parseManyStart and parsePlaces read.
func appendManyStart(dst []byte, s *Start) []byte {
	if s.Cursor != nil {
		dst = append(dst, `,"cursor":"`...)
		dst = append(s.Cursor.Append(dst), '"')
	}
	if s.Places != nil {
		dst = append(dst, `,"after":{`...)
		first := len(dst)
		for room, seq := range s.Places {
			if len(dst) > first {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, room), ':')
			dst = strconv.AppendUint(dst, seq, 10)
		}
		dst = append(dst, '}')
	}
	if s.Rest {
		dst = append(dst, `,"rest":"start"`...)
	}
	return dst
}

// OfMany is the encoding in which a member of a pattern is shown messages: on plain lines each says its
// room.
func OfMany(enc Encoding) Encoding {
	switch enc.(type) {
	case TextBare, TextNamed:
		return TextRooms{}
	}
	return enc
}

// TextRooms shows in which room something was said, and who said it: a plain client in a pattern.
type TextRooms struct{ textAnswers }

// Message appends "[room] name: body" with hidden characters escaped.
func (TextRooms) Message(dst []byte, m *parley.Message) []byte {
	dst = append(dst, '[')
	dst = append(dst, m.Room...)
	dst = append(dst, "] "...)
	return TextNamed{}.Message(dst, m)
}

// JoinedMany appends the answer to a join of a pattern; at may be nil.
func (JSONLines) JoinedMany(dst, ref []byte, pattern string, at parley.Position) []byte {
	dst = appendRoomSeq(open(dst, "joined", ref), pattern, 0)
	if at == nil {
		return dst
	}
	dst = append(dst[:len(dst)-2], `,"cursor":"`...) // goes on
	return append(at.Append(dst), '"', '}', '\n')
}

// Cursor appends where a member of a pattern is.
func (JSONLines) Cursor(dst []byte, pattern string, at parley.Position) []byte {
	dst = append(dst, `{"op":"cursor","room":`...)
	dst = appendString(dst, pattern)
	dst = append(dst, `,"cursor":"`...)
	return append(at.Append(dst), '"', '}', '\n')
}

// JoinedMany appends the answer to a join of a pattern.
func (e WS) JoinedMany(dst, ref []byte, pattern string, at parley.Position) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.JoinedMany(dst, ref, pattern, at) })
}

// Cursor appends where a member of a pattern is.
func (e WS) Cursor(dst []byte, pattern string, at parley.Position) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Cursor(dst, pattern, at) })
}

// Cursor appends an id without an event, which clients keep. The comment in front says whose it is: a stream of
// several rooms has ids of its own, as has its every message.
func (SSE) Cursor(dst []byte, pattern string, at parley.Position) []byte {
	dst = append(append(append(dst, ':'), pattern...), "\nid: "...)
	return append(at.Append(dst), "\n\n"...)
}

func (a textAnswers) JoinedMany(dst, ref []byte, pattern string, _ parley.Position) []byte {
	return a.Joined(dst, ref, pattern, 0)
}

// Places are for programs.
func (textAnswers) Cursor(dst []byte, _ string, _ parley.Position) []byte { return dst }
