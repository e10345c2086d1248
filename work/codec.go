package work

import (
	"encoding/binary"
	"errors"
	"time"

	"parley"
)

// Records of the journals. Numbers are varints, strings have their length in front; a record
// begins with its version.
//
//	jobs    versionJobs, how many messages were copied before, then messages: seq prev at type priority expires key id from body
//	steps   version, then steps; a snapshot comes first where there is one
//	reader  version, position
const (
	version     = 1
	versionJobs = 2 // version 1 does not say how many there were before
)

// Kinds of steps.
const (
	stepSnapshot = 's' // copied read seen count, then jobs: seq record tries due priority expires key
	stepFinished = 'f' // seq
	stepTried    = 't' // seq tries due
	stepDead     = 'd' // seq; finished as a dead letter
	stepDeadSum  = 'n' // how many dead letters there were; in a snapshot
)

var errRecord = errors.New("a record of a journal cannot be read")

// appendMessage adds a message to a record of jobs.
func appendMessage(b []byte, m *parley.Message) []byte {
	b = binary.AppendUvarint(b, m.Seq)
	b = binary.AppendUvarint(b, m.Prev)
	b = appendTime(b, m.At)
	b = append(b, byte(m.Type), m.Priority)
	b = appendTime(b, m.Expires)
	b = appendString(b, m.Key)
	b = appendString(b, m.ID)
	b = appendString(b, m.From)
	return appendString(b, m.Body)
}

func appendString[S string | []byte](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendTime adds a time in milliseconds; the zero time is 0.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixMilli())
}

// decoder reads a record. After a mistake it reads zeros, and bad is set.
type decoder struct {
	b   []byte
	bad bool
}

// open begins to read a record.
func open(record []byte) *decoder {
	d := &decoder{b: record}
	d.bad = d.byte() != version
	return d
}

func (d *decoder) more() bool { return len(d.b) > 0 && !d.bad }

func (d *decoder) err() error {
	if d.bad {
		return errRecord
	}
	return nil
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) time() time.Time {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return time.Time{}
	}
	if d.b = d.b[n:]; v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}

// typ reads the type of a body.
func (d *decoder) typ() parley.Type {
	t := parley.Type(d.byte())
	if t > parley.Binary {
		d.fail()
	}
	return t
}

// bytes gives a part of the record.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	s := d.b[:n:n]
	d.b = d.b[n:]
	return s
}

// beginJobs begins a record of jobs.
func beginJobs(before uint64) []byte {
	return binary.AppendUvarint([]byte{versionJobs}, before)
}

// messages reads a record of jobs. The bodies are parts of it.
func messages(room string, record []byte) (before uint64, out []*parley.Message, err error) {
	d := &decoder{b: record}
	switch d.byte() {
	case version:
	case versionJobs:
		before = d.uint()
	default:
		d.fail()
	}
	for d.more() {
		m := &parley.Message{Room: room, Seq: d.uint(), Prev: d.uint(), At: d.time()}
		m.Type, m.Priority = d.typ(), d.byte()
		m.Expires = d.time()
		m.Key, m.ID, m.From = string(d.bytes()), string(d.bytes()), string(d.bytes())
		m.Body = d.bytes()
		out = append(out, m)
	}
	return before, out, d.err()
}
