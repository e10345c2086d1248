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
//	jobs    version kind before after, then messages: seq prev at type priority expires key id from body
//	steps   version, then steps; a snapshot comes first where there is one
//	reader  version, position
const version = 1

// Kinds of records of jobs. In front of the messages stands how many of the room's were copied before, and
// up to which seq.
const (
	jobsNew  = 'n' // the room's next ones
	jobsBack = 'b' // they were dead letters, and are counted above already; the steps say what became of them
)

// Kinds of steps.
const (
	stepSnapshot = 's' // copied read seen dead count, then jobs: seq record tries due priority expires key
	stepFinished = 'f' // seq
	stepTried    = 't' // seq tries due
	stepBack     = 'b' // seq record tries due priority key, of a job that was a dead letter
	stepDead     = 'd' // seq; finished as a dead letter
	stepLetter   = 'l' // prev seq, of a letter that was put back
	stepLetters  = 'L' // forgotten count, then stretches: after length
	stepGone     = 'g' // record of jobs; the group is removed, with all up to there
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

// jobs is a record of jobs. The bodies are parts of it.
type jobs struct {
	kind     byte
	before   uint64 // how many of the room's messages are in the records before it
	after    uint64 // seq of the last of these
	messages []*parley.Message
}

// begin begins a record; the messages follow.
func (r *jobs) begin() []byte {
	b := binary.AppendUvarint([]byte{version, r.kind}, r.before)
	return binary.AppendUvarint(b, r.after)
}

// total is how many of the room's messages are in the journal up to this record.
func (r *jobs) total() uint64 {
	if r.kind == jobsBack {
		return r.before
	}
	return r.before + uint64(len(r.messages))
}

// copied is the seq of the last of these.
func (r *jobs) copied() uint64 {
	if r.kind == jobsBack || len(r.messages) == 0 {
		return r.after
	}
	return r.messages[len(r.messages)-1].Seq
}

// readJobs reads a record of jobs.
func readJobs(room string, record []byte) (jobs, error) {
	d := open(record)
	r := jobs{kind: d.byte(), before: d.uint(), after: d.uint()}
	if r.kind != jobsNew && r.kind != jobsBack {
		d.fail()
	}
	for d.more() {
		m := &parley.Message{Room: room, Seq: d.uint(), Prev: d.uint(), At: d.time()}
		m.Type, m.Priority = d.typ(), d.byte()
		m.Expires = d.time()
		m.Key, m.ID, m.From = string(d.bytes()), string(d.bytes()), string(d.bytes())
		m.Body = d.bytes()
		r.messages = append(r.messages, m)
	}
	return r, d.err()
}
