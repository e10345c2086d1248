package work

import (
	"time"

	"parley"
)

// What the tests of this package see of its inside.

// LastOf gives the seq of the last message in a record of jobs; 0 where there is none.
func LastOf(room string, record []byte) uint64 {
	_, list, err := messages(room, record)
	if err != nil || len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Seq
}

// Messages writes and reads a record of jobs.
func Messages(list []*parley.Message) []byte {
	b := beginJobs(7)
	for _, m := range list {
		b = appendMessage(b, m)
	}
	return b
}

func ReadMessages(room string, record []byte) ([]*parley.Message, error) {
	_, list, err := messages(room, record)
	return list, err
}

// ApplySteps reads a record of steps and says how many jobs it leaves open.
func ApplySteps(record []byte) (open int, err error) {
	b := &replayed{books: books{past: make(map[uint64]past)}}
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
