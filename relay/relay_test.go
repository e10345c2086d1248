package relay_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley"
	"parley/work"
)

// crowd has workers at all nodes finish n jobs of a room while trouble is made.
func crowd(t *testing.T, b *bench, room string, n int, deadline time.Duration, trouble func()) {
	t.Helper()
	a, stop := newTally(n), make(chan struct{})
	var again atomic.Int64
	var all sync.WaitGroup
	for _, at := range b.nodes {
		for range 2 {
			w := b.take(at, room, 8, deadline)
			all.Go(func() { w.toil(a, stop, &again) })
		}
	}
	all.Go(func() { b.say(room, n) })
	if trouble != nil {
		trouble()
	}
	a.wait(t)
	close(stop)
	all.Wait()
	a.once(t)
	t.Logf("%d jobs, %d tries were not the first", n, again.Load())
}

func TestWorkersOfAllNodes(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	b.own(part("r"), "n2")
	crowd(t, b, "r", 2000, time.Minute, nil)
}

// The owner changes again and again in the middle.
func TestTheOwnerMoves(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	b.own(part("r"), "n1")
	crowd(t, b, "r", 5000, 5*time.Second, func() {
		for _, name := range []string{"n2", "n3", "n1", "n2"} {
			<-time.After(400 * time.Millisecond)
			b.own(part("r"), name)
		}
	})
}

// Two nodes believe to own the same groups, and no worker is told twice that it has finished a job.
func TestTwoOwners(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	b.own(part("r"), "n1", "n2")
	crowd(t, b, "r", 1000, 3*time.Second, func() {
		<-time.After(3 * time.Second)
		b.own(part("r"), "n2")
	})
}

// An owner is cut off and replaced, does not know it, and is there again.
func TestAnOwnerThatIsCutOffAndComesBack(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	b.own(part("r"), "n1")
	crowd(t, b, "r", 3000, 4*time.Second, func() {
		<-time.After(200 * time.Millisecond)
		b.wire.set(func() { b.wire.cut["n1"] = true })
		b.own(part("r"), "n1", "n2")
		<-time.After(5 * time.Second)
		b.wire.set(func() { delete(b.wire.cut, "n1") })
		<-time.After(time.Second)
		b.own(part("r"), "n2")
	})
}

func TestMessagesAreLost(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	b.own(part("r"), "n3")
	b.wire.set(func() { b.wire.lose = 0.05 })
	crowd(t, b, "r", 1000, 3*time.Second, nil)
}

// unhurried is how long a new owner waits where it is seen that every claim is heard.
const unhurried = 4 * time.Second

// What a worker holds when the owner changes stays its own: nobody else is given it, and the new owner
// takes its word that it is done.
func TestHeldJobsAreTakenOver(t *testing.T) {
	b := newBenchOf(t, kind{claims: unhurried}, "n1", "n2", "n3")
	b.own(part("r"), "n1")
	b.say("r", 3)
	here, there := b.take(b.nodes["n2"], "r", 1, time.Minute), b.take(b.nodes["n3"], "r", 1, time.Minute)
	first, second := here.next(), there.next()
	b.own(part("r"), "n2")
	spare := b.take(b.nodes["n1"], "r", 3, time.Minute)
	third := spare.next()
	if string(first.Body) != "0" || string(second.Body) != "1" || string(third.Body) != "2" {
		t.Fatalf("jobs %s, %s and %s", first.Body, second.Body, third.Body)
	}
	if err := b.nodes["n2"].done(t, first); err != nil {
		t.Error(err)
	}
	if err := b.nodes["n1"].done(t, second); err != nil { // any node may be told
		t.Error(err)
	}
	if d, err := b.nodes["n3"].Busy(t.Context(), "r", third.Job, time.Hour); err != nil || d != time.Hour {
		t.Error(d, err)
	}
	if err := b.nodes["n2"].done(t, first); err == nil || parley.AsError(err).Code != parley.NotFound {
		t.Errorf("a job that is done: %v", err)
	}
	select {
	case j := <-spare.jobs:
		t.Errorf("job %s was given to another", j.Body)
	default:
	}
}

// The death of a node gives what its workers hold to others, long before the deadline.
func TestANodeDies(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	b.own(part("r"), "n1")
	b.say("r", 1)
	dead := b.take(b.nodes["n3"], "r", 1, time.Hour)
	job := dead.next()
	other := b.take(b.nodes["n2"], "r", 1, time.Hour)
	b.wire.set(func() { b.wire.cut["n3"] = true })
	if j := other.next(); j.Seq != job.Seq || j.Tries != 2 {
		t.Errorf("job %d, try %d", j.Seq, j.Tries)
	}
}

// A worker that leaves gives its jobs back at once, at whichever node.
func TestAWorkerLeaves(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.own(part("r"), "n1")
	b.say("r", 2)
	first := b.take(b.nodes["n2"], "r", 2, time.Hour)
	first.next()
	first.next()
	first.Leave()
	for _, at := range b.nodes {
		b.take(at, "r", 1, time.Hour).next()
	}
}

// A worker that stops keeps what it holds and gets no more, and so it stays under a new owner.
func TestAWorkerStops(t *testing.T) {
	b := newBenchOf(t, kind{claims: unhurried}, "n1", "n2")
	b.own(part("r"), "n1")
	b.say("r", 3)
	w := b.take(b.nodes["n2"], "r", 1, time.Minute)
	job := w.next()
	w.Stop()
	b.own(part("r"), "n2")
	other := b.take(b.nodes["n1"], "r", 10, time.Minute)
	other.next()
	other.next()
	if n := w.Holds(); n != 1 {
		t.Errorf("%d jobs are held", n)
	}
	if err := b.nodes["n1"].done(t, job); err != nil {
		t.Error(err)
	}
	if len(w.jobs)+len(other.jobs) > 0 {
		t.Error("more jobs came")
	}
}

// Without an owner what is asked for waits, and then fails.
func TestNobodyOwns(t *testing.T) {
	b := newBench(t, "n1", "n2")
	_, err := b.nodes["n1"].Take(t.Context(), work.Taking{Room: "r", Group: "g", Prefetch: 1, Tries: 1, Deadline: time.Minute})
	if err == nil || parley.AsError(err).Code != parley.Unavailable {
		t.Error(err)
	}
	done := make(chan error, 1)
	go func() { done <- b.nodes["n1"].done(t, &parley.Job{Message: &parley.Message{Room: "r"}, Job: "g.1.1"}) }()
	b.own(part("r"), "n2")
	if err := <-done; err == nil || parley.AsError(err).Code != parley.NotFound { // there is an owner now, and no group
		t.Error(err)
	}
}

// A reader goes on at another node, and its place never goes back.
func TestReadersHaveNoOwner(t *testing.T) {
	b := newBench(t, "n1", "n2")
	read := func(at string) (*work.Reader, uint64) {
		t.Helper()
		r, position, _, err := b.nodes[at].Reader(t.Context(), "r", "billing")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r, position
	}
	move := func(r *work.Reader, to uint64) (at uint64) {
		t.Helper()
		c := make(chan error, 1)
		if err := r.Done(t.Context(), to, func(seq uint64, err error) { at = seq; c <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-c; err != nil {
			t.Fatal(err)
		}
		return at
	}
	one, _ := read("n1")
	two, _ := read("n2")
	move(one, 10)
	if at := move(two, 7); at != 10 {
		t.Errorf("at %d", at)
	}
	move(two, 20)
	if at := move(one, 15); at != 20 {
		t.Errorf("at %d", at)
	}
	move(one, 30)
	if _, at := read("n2"); at != 30 {
		t.Errorf("at %d", at)
	}
}

// What is due later is sent once, whoever was asked, and whoever owns it then.
func TestLater(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	for p := range parts {
		b.own(p, "n1")
	}
	const n = 60
	due := time.Now().Add(1500 * time.Millisecond)
	i := 0
	for i < n {
		for _, at := range b.nodes {
			c := make(chan error, 1)
			d := parley.Draft{Room: "r", ID: string(rune('a' + i)), From: "ada", Body: []byte("x"), Retry: true}
			if err := at.Later(t.Context(), d, due, func(_ parley.Receipt, err error) { c <- err }); err != nil {
				t.Fatal(err)
			}
			if err := <-c; err != nil {
				t.Fatal(err)
			}
			i++
		}
	}
	for p := range parts { // both send
		b.own(p, "n1", "n2")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		page, err := b.log.Read(ctx, "r", 0, parley.MaxPage)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Messages) >= i {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	for p := range parts {
		b.own(p, "n3")
	}
	<-time.After(2 * time.Second) // the third looks at it too
	page, err := b.log.Read(ctx, "r", 0, parley.MaxPage)
	if err != nil || len(page.Messages) != i {
		t.Errorf("%d messages, %v, want %d", len(page.Messages), err, i)
	}
}

// Where no node leads anything they share the parts, each kept by one, and a node's parts go to others
// when it goes.
func TestNodesThatLeadNothing(t *testing.T) {
	b := newBenchOf(t, kind{alike: true}, "n1", "n2", "n3")
	keepers := func() (of [parts]string) {
		for name, n := range b.nodes {
			for _, room := range []string{"a", "b", "c"} {
				if n.Keeps(room) {
					of[part(room)] += name
				}
			}
		}
		return of
	}
	settled := func(gone string) (of [parts]string) {
		t.Helper()
		for end := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
			of = keepers()
			if ok := len(of[0]) == 2 && len(of[1]) == 2 && len(of[2]) == 2 &&
				of[0] != gone && of[1] != gone && of[2] != gone; ok {
				return of
			}
			if time.Now().After(end) {
				t.Fatalf("the parts are kept by %q", of)
			}
		}
	}
	crowd(t, b, "a", 500, 5*time.Second, nil)
	first := settled("")[part("a")]
	b.nodes[first].stop()
	delete(b.nodes, first)
	settled(first)
	crowd(t, b, "b", 500, 5*time.Second, nil)
}
