package parley

import (
	"fmt"
	"time"
)

// Type says what a message's body is.
type Type uint8

// The types of a body.
const (
	Text   Type = iota // valid UTF-8
	JSON               // one JSON value, compact
	Binary             // any bytes; base64 on JSON encodings
)

var typeNames = [...]string{Text: "text", JSON: "json", Binary: "binary"}

// String gives the type's name on the wire: text, json or binary.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// ParseType reads a type's name on the wire. The empty name is Text.
func ParseType(s string) (Type, error) {
	switch s {
	case "", "text":
		return Text, nil
	case "json":
		return JSON, nil
	case "binary":
		return Binary, nil
	}
	return 0, Errorf(BadRequest, "no type %q: a type is text, json or binary", s)
}

// Message is one entry of a room's log. It is shared by everyone who reads it: never change one.
type Message struct {
	Room string
	Seq  uint64 // position: rises within the room, not contiguous
	Prev uint64 // seq of the message before it in the room; 0 for the first that is left
	ID   string // the sender's idempotency key
	From string // the sender, in the server's word
	At   time.Time
	Type Type
	Body []byte

	// Session is the session that sent it, so that this session can skip what it said itself
	// even when the tail is faster than the ack. It never crosses the wire.
	Session SessionID

	// Of interest to workers alone.
	Key      string    // jobs with the same key are done one at a time, in order; "" = none
	Priority uint8     // those with a higher one are given out first
	Expires  time.Time // not given out from then on; zero = never
}

// SessionID names one connection, on all nodes and for ever: 64 random bits.
type SessionID uint64

// String gives the id as 16 hexadecimal digits.
func (s SessionID) String() string { return fmt.Sprintf("%016x", uint64(s)) }

// Draft is a message before the log has given it a place.
type Draft struct {
	Room    string
	ID      string
	From    string
	Type    Type
	Body    []byte
	Session SessionID

	Key      string // as of a Message
	Priority uint8
	Expires  time.Time

	// Retry says that the sender chose the ID and may send it again: the log then stores the
	// first of (Room, From, ID) within its dedupe window and answers the others with its seq.
	Retry bool
}

// Receipt is the log's answer to a draft: it is durable, at Seq.
type Receipt struct {
	Seq       uint64
	Duplicate bool // the id was stored before, at Seq
}
