package work_test

import (
	"context"
	"errors"
	"testing"

	"parley"
	"parley/internal/logtest"
	"parley/work"
)

// reader opens a reader and wants it at a position; 0 and false where it has never been anywhere.
func (b *bench) reader(name string, position uint64, there bool) *work.Reader {
	b.t.Helper()
	r, at, ok, err := b.work.Reader(context.Background(), "r", name)
	b.must(err)
	if at != position || ok != there {
		b.t.Fatalf("reader %s is at %d (%v), want %d (%v)", name, at, ok, position, there)
	}
	return r
}

// moved moves a reader and gives where it is told to be.
func (b *bench) moved(r *work.Reader, position uint64) uint64 {
	b.t.Helper()
	var at uint64
	b.must(b.outcome(func(told work.Told) error {
		return r.Done(context.Background(), position, func(seq uint64, err error) { at = seq; told(seq, err) })
	}))
	return at
}

func TestAReaderIsRemembered(t *testing.T) {
	b := newBench(t, logtest.Options{})
	r := b.reader("billing", 0, false)
	if at := b.moved(r, 0); at != 0 {
		t.Errorf("at %d", at)
	}
	r.Close()
	b.restart()
	r = b.reader("billing", 0, true) // it was there, at the start
	if at := b.moved(r, 7); at != 7 {
		t.Errorf("at %d", at)
	}
	if at := b.moved(r, 3); at != 7 {
		t.Errorf("it went back to %d", at)
	}
	r.Close()
	r.Close()
	b.reader("other", 0, false).Close()
	b.restart()
	b.reader("billing", 7, true).Close()
}

func TestManyPositionsAtOnceAreWrittenTogether(t *testing.T) {
	b := newBench(t, logtest.Options{})
	r := b.reader("billing", 0, false)
	release := b.log.Hold()
	const n = 2000
	told := make(chan uint64, n)
	for i := range uint64(n) {
		b.must(r.Done(context.Background(), i+1, func(seq uint64, err error) {
			if err != nil || seq < i+1 {
				t.Errorf("position %d: told %d, %v", i+1, seq, err)
			}
			told <- seq
		}))
	}
	select {
	case <-told:
		t.Error("told before it is durable")
	default:
	}
	r.Close() // its user need not wait
	release()
	for range n {
		<-told
	}
	records, _, err := b.log.Records(context.Background(), "reader\x00r\x00billing", 0, 100)
	if err != nil || len(records) != 2 {
		t.Errorf("%d records, %v", len(records), err)
	}
	b.reader("billing", n, true).Close()
}

func TestAReadersJournalIsTrimmed(t *testing.T) {
	b := newBench(t, logtest.Options{})
	r := b.reader("billing", 0, false)
	defer r.Close()
	for i := range uint64(600) {
		b.moved(r, i+1)
	}
	b.stop() // which waits for the trim
	records, _, err := b.log.Records(context.Background(), "reader\x00r\x00billing", 0, 1000)
	if err != nil || len(records) > 300 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

func TestAReaderOnADiskThatFails(t *testing.T) {
	b := newBench(t, logtest.Options{})
	r := b.reader("billing", 0, false)
	defer r.Close()
	b.moved(r, 1)
	release := b.log.Hold()
	c := make(chan error, 2)
	b.must(r.Done(context.Background(), 2, func(_ uint64, err error) { c <- err }))
	b.must(r.Done(context.Background(), 3, func(_ uint64, err error) { c <- err }))
	b.log.Fail(errors.New("input/output error"))
	b.refused(parley.Unavailable, <-c)
	b.refused(parley.Unavailable, <-c)
	release()
}

// However many readers clients have, the server's own are remembered.
func TestOwnReadersAreNotCounted(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.work.Fill()
	own, others := b.reader(work.OwnReader+"hook.x", 0, false), b.reader("billing", 0, false)
	defer own.Close()
	defer others.Close()
	if at := b.moved(own, 7); at != 7 {
		t.Errorf("at %d", at)
	}
	b.refused(parley.Conflict, b.outcome(func(told work.Told) error { return others.Done(context.Background(), 7, told) }))
}
