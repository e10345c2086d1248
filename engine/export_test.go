package engine

import (
	"time"

	"github.com/nats-io/nats.go"

	"parley"
)

// What the tests of this package see of its inside.

func (c Config) LosingCopies(which func(seq uint64) bool) Config {
	c.losesCopy = which
	return c
}

// Held counts the live copies that wait for the watermark.
func (e *Engine) Held() (n int) {
	for _, p := range e.parts {
		p.mu.Lock()
		n += len(p.live)
		p.mu.Unlock()
	}
	return n
}

func (c Config) ClosingWithin(d time.Duration) Config {
	c.closeWithin = d
	return c
}

func (e *Engine) Break(reason string) { e.storeBroke(reason) }

func AppendRecord(b []byte, d parley.Draft) []byte { return appendRecord(b, &d) }

func DecodeRecord(b []byte) (parley.Message, error) {
	var m parley.Message
	err := decodeRecord(b, &m)
	return m, err
}

func Decode(m *nats.Msg, room string) (*parley.Message, error) { return decode(m, room) }

func ParseAck(b []byte) (seq uint64, duplicate bool, err error) {
	a, err := parseAck(b)
	return a.seq, a.duplicate, err
}

func ParsePlainAck(b []byte) (seq uint64, duplicate, ok bool) {
	a, ok := parsePlainAck(b)
	return a.seq, a.duplicate, ok
}

func MessageID(room, from, id string) string { return messageID(room, from, id) }

func Subject(e *Engine, room string) string { return e.place(room).subject }

func RoomOf(subject string) (string, error) { return roomOf(subject) }

const (
	MaxPendingMessages = maxPendingMessages
	MaxKnown           = maxKnown
)

// Told says up to which seq the room's partition has been shown by this node.
func (e *Engine) Told(room string) uint64 { return e.place(room).part.told.Load() }

// Leader gives the name of the node that leads the room's partition, as last seen.
func (e *Engine) Leader(room string) string {
	e.watched.mu.Lock()
	defer e.watched.mu.Unlock()
	return e.watched.by[e.place(room).part.index].leader
}

var TimesAsMade = asMade

// Password is what a node says to others.
func (c *Cluster) Password() string {
	password, err := c.password()
	if err != nil {
		panic(err)
	}
	return password
}

const SpreadAfter = spreadAfter

// Grouped is an entry of what a node hands to a partition's leader.
type Grouped struct {
	Subject, ID string
	Behind      *uint64
	Record      string
}

// AppendGroup and ParseGroup are what a node hands to a partition's leader.
func AppendGroup(list []Grouped) []byte {
	var entries []entry
	for _, one := range list {
		entries = append(entries, entry{subject: one.Subject, msgID: one.ID, behind: one.Behind, record: []byte(one.Record)})
	}
	return appendGroup(nil, entries)
}

func ParseGroup(b []byte, prefix string) (list []Grouped, err error) {
	entries, err := parseGroup(b, prefix)
	for _, one := range entries {
		list = append(list, Grouped{one.subject, one.msgID, one.behind, string(one.record)})
	}
	return list, err
}
