package work

import (
	"time"

	"parley"
)

// What the tests of this package see of its inside.

// LastOf gives the seq of the last message in a record of jobs; 0 where there is none.
func LastOf(room string, record []byte) uint64 {
	r, err := readJobs(room, record)
	if err != nil || len(r.messages) == 0 {
		return 0
	}
	return r.messages[len(r.messages)-1].Seq
}

// Messages writes and reads a record of jobs.
func Messages(list []*parley.Message) []byte {
	b := (&jobs{kind: jobsNew, before: 7}).begin()
	for _, m := range list {
		b = appendMessage(b, m)
	}
	return b
}

func ReadMessages(room string, record []byte) ([]*parley.Message, error) {
	r, err := readJobs(room, record)
	return r.messages, err
}

// ApplySteps reads a record of steps and says how many jobs it leaves open.
func ApplySteps(record []byte) (open int, err error) {
	b := &replayed{books: books{past: make(map[uint64]past)}, returned: make(map[uint64]*job)}
	err = b.apply(record)
	b.settle()
	return len(b.restored), err
}

func Later(d parley.Draft, at time.Time) []byte {
	return appendLater([]byte{version, laterMessage}, &d, at)
}

func ReadLater(record []byte) (d parley.Draft, at time.Time, gone []uint64, err error) {
	return readLater(record)
}

// Fill has the books remember as many readers as they may.
func (m *Manager) Fill() { m.known.Store(maxReaders) }

// Letters is what a group remembers of the dead letters that were put back.
type Letters struct{ l letters }

func (l *Letters) Add(prev, seq uint64)         { l.l.add(prev, seq) }
func (l *Letters) Has(seq uint64) (bool, error) { return l.l.has(seq) }
func (l *Letters) Stretches() int               { return len(l.l.list) }

// Again writes and reads them.
func (l *Letters) Again() (Letters, error) {
	record := l.l.appendTo([]byte{version})
	b := &replayed{books: books{past: make(map[uint64]past)}, returned: make(map[uint64]*job)}
	err := b.apply(record)
	return Letters{b.back}, err
}

// Inbox is what the tail has brought.
type Inbox struct{ in inbox }

func (in *Inbox) Begin(last uint64)           { in.in.begin(last) }
func (in *Inbox) Add(batch []*parley.Message) { in.in.add(batch) }
func (in *Inbox) Behind(seq uint64) ([]*parley.Message, bool) {
	return in.in.behind(seq)
}
func (in *Inbox) Bytes() int { return in.in.bytes }
