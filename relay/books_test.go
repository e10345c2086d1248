package relay_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/internal/logtest"
	"parley/work"
)

// groups waits until a room's groups are as wanted, at a node.
func (n *node) groups(t *testing.T, room string, want ...work.GroupInfo) {
	t.Helper()
	for end := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		got, err := n.Groups(t.Context(), room)
		if err == nil && (len(got)+len(want) == 0 || cmp.Equal(got, want)) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%v, %s", err, cmp.Diff(want, got))
		}
	}
}

// settled waits for what is told of a step.
func settled(t *testing.T, step func(told func(error)) error) error {
	t.Helper()
	c := make(chan error, 1)
	if err := step(func(err error) { c <- err }); err != nil {
		return err
	}
	select {
	case err := <-c:
		return err
	case <-time.After(patience):
		t.Fatal("nothing was told")
		return nil
	}
}

// All that can be said of a group can be said at any node.
func TestTheBooksOfAnotherNode(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	b.own(part("r"), "n1")
	b.say("r", 3)
	here, far := b.nodes["n2"], b.nodes["n3"]
	w := b.take(here, "r", 1, time.Minute)
	job := w.next()
	far.groups(t, "r", work.GroupInfo{Group: "g", Pending: 3, Taken: 1, Sessions: 1})
	if err := far.Remove(t.Context(), "r", "g"); err == nil || parley.AsError(err).Code != parley.Conflict {
		t.Errorf("a group that is taken from was removed: %v", err)
	}
	err := settled(t, func(told func(error)) error {
		return far.Release(t.Context(), "r", job.Job, func(_ uint64, err error) { told(err) })
	})
	if err != nil {
		t.Fatal(err)
	}
	again := w.next()
	if again.Seq != job.Seq || again.Tries != 1 {
		t.Errorf("job %d, try %d", again.Seq, again.Tries)
	}
	err = settled(t, func(told func(error)) error {
		return far.Fail(t.Context(), "r", again.Job, "no use", func(_ uint64, err error) { told(err) })
	})
	if err != nil {
		t.Fatal(err)
	}
	letters, err := b.log.Read(t.Context(), "r.dead", 0, 10)
	if err != nil || len(letters.Messages) != 1 {
		t.Fatalf("%d letters, %v", len(letters.Messages), err)
	}
	for _, before := range []bool{false, true} {
		var receipt parley.Receipt
		err = settled(t, func(told func(error)) error {
			return here.PutBack(t.Context(), "r", letters.Messages[0].Seq, func(r parley.Receipt, err error) { receipt = r; told(err) })
		})
		if err != nil || receipt.Seq != job.Seq || receipt.Duplicate != before {
			t.Errorf("%+v, %v", receipt, err)
		}
	}
	for i := range 3 {
		if err := far.done(t, w.next()); err != nil {
			t.Errorf("job %d of 3: %v", i, err)
		}
	}
	w.Leave()
	far.groups(t, "r", work.GroupInfo{Group: "g", Dead: 1})
	if err := far.Remove(t.Context(), "r", "g"); err != nil {
		t.Error(err)
	}
	here.groups(t, "r")
	if err := here.Remove(t.Context(), "r", "g"); err == nil || parley.AsError(err).Code != parley.NotFound {
		t.Errorf("a group that there is not was removed: %v", err)
	}
}

// A worker says how many jobs it begins at once, and that is known to the next owner too.
func TestWhatADeadWorkerHadNotBegunWasNotTried(t *testing.T) {
	b := newBenchOf(t, kind{claims: unhurried}, "n1", "n2")
	b.own(part("r"), "n1")
	b.say("r", 4)
	w := &worker{b: b, at: b.nodes["n2"], jobs: make(chan *parley.Job, 10)}
	var err error
	w.Worker, err = w.at.Take(t.Context(), work.Taking{
		Room: "r", Group: "g", Prefetch: 4, Parallel: 1, Tries: 5, Deadline: time.Hour,
		Give: func(j *parley.Job) { w.jobs <- j },
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.next()
	}
	b.own(part("r"), "n2")
	for end := time.Now().Add(patience); !b.nodes["n2"].Keeps("r"); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the owner does not change")
		}
	}
	b.nodes["n1"].groups(t, "r", work.GroupInfo{Group: "g", Pending: 4, Taken: 4, Sessions: 1})
	w.Leave()
	other := b.take(b.nodes["n1"], "r", 4, time.Hour)
	tries := make(map[uint64]int)
	for range 4 {
		j := other.next()
		tries[j.Seq] = j.Tries
	}
	if want := map[uint64]int{1: 2, 2: 1, 3: 1, 4: 1}; !cmp.Equal(tries, want) {
		t.Error(cmp.Diff(want, tries))
	}
}

// untrimmed are journals of which nothing can be removed.
type untrimmed struct{ *logtest.Memory }

func (untrimmed) Trim(context.Context, string, uint64) error { return errors.New("not now") }

// A removal that one owner has begun the next one ends, and what comes to be under the name then stays.
func TestAGroupIsRemovedWhileItsOwnerMoves(t *testing.T) {
	b := newBenchOf(t, kind{journals: func(node string, log *logtest.Memory) parley.Journals {
		if node == "n1" {
			return untrimmed{log}
		}
		return log
	}}, "n1", "n2", "n3")
	b.own(part("r"), "n1")
	b.say("r", 3)
	w := b.take(b.nodes["n3"], "r", 1, time.Minute)
	if err := b.nodes["n3"].done(t, w.next()); err != nil {
		t.Fatal(err)
	}
	w.Leave()
	removed := make(chan error, 1)
	go func() { removed <- b.nodes["n3"].Remove(context.Background(), "r", "g") }()
	for end := time.Now().Add(patience); ; <-time.After(time.Millisecond) { // until n1 has begun
		if names, err := b.log.Journals(t.Context(), "gone"); err == nil && len(names) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing is being removed")
		}
	}
	b.own(part("r"), "n2")
	if err := <-removed; err != nil {
		t.Error(err)
	}
	b.nodes["n3"].groups(t, "r")
	w = b.take(b.nodes["n3"], "r", 1, time.Minute)
	if j := w.next(); j.Seq != 1 || j.Tries != 1 {
		t.Errorf("job %d, try %d", j.Seq, j.Tries)
	}
	w.Leave()
	b.own(part("r"), "n1")
	b.nodes["n3"].groups(t, "r", work.GroupInfo{Group: "g", Pending: 3})
}

// A reader that one node removes is at its beginning at all; who reads on at another makes it anew.
func TestAReaderIsRemovedAtAnotherNode(t *testing.T) {
	b := newBench(t, "n1", "n2")
	move := func(r *work.Reader, to uint64) {
		t.Helper()
		err := settled(t, func(told func(error)) error {
			return r.Done(t.Context(), to, func(_ uint64, err error) { told(err) })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(n *node, want uint64) *work.Reader {
		t.Helper()
		r, seq, _, err := n.Reader(t.Context(), "r", "billing")
		if err != nil || seq != want {
			t.Fatalf("at %d, want %d: %v", seq, want, err)
		}
		t.Cleanup(r.Close)
		return r
	}
	one, two := b.nodes["n1"], b.nodes["n2"]
	stays := at(one, 0)
	move(stays, 10)
	if list, more, err := two.Readers(t.Context(), "r", "", 10); err != nil || more || !cmp.Equal(list, []work.ReaderInfo{{Reader: "billing", Seq: 10}}) {
		t.Errorf("%v %v %v", list, more, err)
	}
	if err := two.RemoveReader(t.Context(), "r", "billing"); err != nil {
		t.Fatal(err)
	}
	at(two, 0)
	at(one, 0)
	move(stays, 4)
	at(two, 4)
}
