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
