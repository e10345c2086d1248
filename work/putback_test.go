package work_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"parley"
	"parley/internal/logtest"
	"parley/work"
)

// putBack puts a dead letter back.
func (b *bench) putBack(room string, letter uint64) (before bool, err error) {
	b.t.Helper()
	err = b.outcome(func(told work.Told) error {
		return b.work.PutBack(context.Background(), room, letter, func(r parley.Receipt, err error) {
			before = r.Duplicate
			told(r.Seq, err)
		})
	})
	return before, err
}

// again puts a letter back and says that it was not before.
func (b *bench) again(room string, letter uint64) {
	b.t.Helper()
	if before, err := b.putBack(room, letter); before || err != nil {
		b.t.Fatalf("letter %d: put back before: %t, %v", letter, before, err)
	}
}

// letters gives the seqs of a room's dead letters.
func (b *bench) letters(room string) (seqs []uint64) {
	b.t.Helper()
	for _, m := range b.messages(room + ".dead") {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

func TestADeadLetterGoesBackToItsGroupAlone(t *testing.T) {
	b := newBench(t, logtest.Options{})
	g, other := b.take("r", "g", 1), b.take("r", "other", 1)
	b.put(parley.Draft{Room: "r", Body: []byte(`{"a":"<&>","b":1.50}`), Type: parley.JSON, Key: "k", Priority: 3, Expires: time.Now().Add(time.Hour)})
	first := g.next()
	b.must(b.fail(first, "no"))
	b.must(b.done(other.next()))
	letter := b.letters("r")[0]
	b.again("r", letter)
	j := g.next()
	if j.Seq != first.Seq || j.ID != first.ID || j.From != first.From || !j.At.Equal(first.At) || j.Tries != 1 ||
		string(j.Body) != string(first.Body) || j.Type != parley.JSON || j.Key != "k" || j.Priority != 3 || !j.Expires.IsZero() {
		t.Errorf("put back is %+v, want %+v", j.Message, first.Message)
	}
	other.none()
	if n := len(b.messages("r")); n != 1 {
		t.Errorf("the room has %d messages", n)
	}
	b.must(b.done(j))
	if before, err := b.putBack("r", letter); !before || err != nil {
		t.Errorf("the same letter again: %t, %v", before, err)
	}
	b.refused(parley.NotFound, b.done(j))
	g.none()
}

func TestALetterIsPutBackOnceAcrossRestarts(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 3)
	w := b.take("r", "g", 3)
	for range 3 {
		b.must(b.fail(w.next(), "no"))
	}
	seqs := b.letters("r")
	for _, letter := range seqs {
		b.again("r", letter)
		b.restart() // nobody has taken it yet
		if before, err := b.putBack("r", letter); !before || err != nil {
			t.Fatalf("letter %d after a restart: %t, %v", letter, before, err)
		}
	}
	w = b.take("r", "g", 3)
	b.must(b.done(w.want("0")))
	b.must(b.retry(w.want("1"), 0, ""))
	held := w.want("2")
	b.restart()
	b.must(b.done(held)) // nobody else holds it
	w = b.take("r", "g", 3)
	if j := w.want("1"); j.Tries != 2 {
		t.Errorf("the tries are forgotten: %d", j.Tries)
	} else {
		b.must(b.done(j))
	}
	b.restart()
	b.say("r", 1)
	b.take("r", "g", 3).want("3")
}

func TestAJobThatFailsInEachLifeLeavesALetterForEach(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 1)
	w := b.take("r", "g", 1)
	for life := range 4 {
		b.must(b.fail(w.want("0"), fmt.Sprint("no ", life)))
		seqs := b.letters("r")
		if len(seqs) != life+1 {
			t.Fatalf("%d letters in life %d", len(seqs), life)
		}
		if life == 2 {
			b.restart()
			w = b.take("r", "g", 1)
		}
		b.again("r", seqs[life])
	}
	b.must(b.done(w.want("0")))
	b.restart()
	b.say("r", 1)
	b.take("r", "g", 1).want("1")
}

// Jobs go on behind one that was put back, snapshots are made of both, and the journals are read again:
// nothing comes twice, and nothing is lost.
func TestPutBackAmongManyJobs(t *testing.T) {
	const n, every = 6000, 50
	b := newBench(t, logtest.Options{})
	w := b.take("r", "g", 64)
	finished := make(map[string]int)
	work := func(until int) {
		t.Helper()
		for len(finished) < until {
			j := w.next()
			if j.Seq%every == 0 && finished[string(j.Body)] == 0 && b.work.Stats().Dead < n/every {
				b.must(b.fail(j, "no"))
				finished[string(j.Body)] = -1
				continue
			}
			finished[string(j.Body)]++
			b.must(b.done(j))
		}
	}
	b.say("r", n)
	work(n / 2)
	b.restart()
	w = b.take("r", "g", 64)
	for _, letter := range b.letters("r") {
		b.again("r", letter)
	}
	work(n)
	for _, letter := range b.letters("r") {
		if _, err := b.putBack("r", letter); err != nil {
			t.Fatal(err)
		}
	}
	b.restart()
	w = b.take("r", "g", 64)
	b.say("r", 1)
	for j := w.next(); string(j.Body) != fmt.Sprint(n); j = w.next() {
		finished[string(j.Body)]++
		b.must(b.done(j))
	}
	for i := range n {
		dead := (i+1)%every == 0
		if got := finished[fmt.Sprint(i)]; dead && got != 0 || !dead && got != 1 {
			t.Fatalf("job %d was done %d times", i, got)
		}
	}
}

func TestAWriteWithoutAnOutcomePutsBackOnceOrNot(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 1)
	w := b.take("r", "g", 1)
	b.must(b.fail(w.want("0"), "no"))
	letter := b.letters("r")[0]
	release := b.log.Hold()
	told := make(chan error, 1)
	b.must(b.work.PutBack(context.Background(), "r", letter, func(_ parley.Receipt, err error) { told <- err }))
	b.log.Fail(errors.New("input/output error"))
	b.refused(parley.Unavailable, <-told)
	release()
}

func TestWhatCannotBePutBack(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 1)
	w := b.take("r", "g", 1)
	b.must(b.fail(w.want("0"), "no"))
	forged, err := json.Marshal(map[string]any{"room": "r", "group": "g", "seq": 1, "type": "text", "body": "1"})
	b.must(err)
	for _, d := range []parley.Draft{
		{Room: "r.dead", Body: []byte("nonsense")},
		{Room: "r.dead", Body: forged, Type: parley.JSON}, // by somebody else
	} {
		b.put(d)
	}
	real := b.letters("r")
	for _, seq := range []uint64{0, real[0] + 1, real[1], real[2], 1 << 40} {
		if seq != real[0] {
			_, err := b.putBack("r", seq)
			b.refused(parley.NotFound, err)
		}
	}
	_, err = b.putBack("nobody", real[0])
	b.refused(parley.NotFound, err)
}

func TestAJobThatIsGivenBackHasHadNoTry(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 2)
	w := b.takeWith(work.Taking{Room: "r", Group: "g", Prefetch: 2, Tries: 1, Deadline: time.Minute})
	j, second := w.want("0"), w.want("1")
	w.Stop()
	give := func(name string) error {
		return b.outcome(func(told work.Told) error { return b.work.Release(context.Background(), "r", name, told) })
	}
	b.must(give(j.Job))
	b.must(b.done(second))
	b.refused(parley.NotFound, give(second.Job))
	b.restart()
	b.must(give(j.Job)) // nobody holds it: it is free already
	other := b.takeWith(work.Taking{Room: "r", Group: "g", Prefetch: 1, Tries: 1, Deadline: time.Minute})
	again := other.want("0")
	if again.Tries != 1 {
		t.Errorf("it has had %d tries", again.Tries)
	}
	b.refused(parley.Conflict, give(j.Job))
	b.must(b.done(again))
	if n := len(b.letters("r")); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// A worker that dies has tried the jobs that it had begun, the first ones: the others have lost nothing.
func TestADeathCostsOnlyWhatWasBegunATry(t *testing.T) {
	silence := func(w *worker, jobs []*parley.Job) {
		for _, j := range jobs {
			if _, err := w.b.work.Busy(context.Background(), "r", j.Job, time.Millisecond); err != nil {
				t.Error(err)
			}
		}
	}
	for name, end := range map[string]func(*worker, []*parley.Job){
		"its connection ends":          func(w *worker, _ []*parley.Job) { w.Leave() },
		"its deadlines pass":           silence,
		"one deadline, then it leaves": func(w *worker, jobs []*parley.Job) { silence(w, jobs[:1]); w.Leave() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, logtest.Options{})
			b.say("r", 6)
			w := b.takeWith(work.Taking{Room: "r", Group: "g", Prefetch: 6, Parallel: 2, Tries: 5, Deadline: time.Minute})
			first := w.want("0")
			var held []*parley.Job
			for i := 1; i < 6; i++ {
				held = append(held, w.want(fmt.Sprint(i)))
			}
			w.Stop()
			b.must(b.done(first))
			end(w, held)
			next := b.take("r", "g", 6)
			for range held {
				j := next.next()
				want := 1
				if string(j.Body) < "3" {
					want = 2
				}
				if j.Tries != want {
					t.Errorf("job %s has had %d tries, want %d", j.Body, j.Tries, want)
				}
			}
		})
	}
}

// A job that is put back is pending again, once, in view and behind a restart; that it was a dead letter
// stays counted.
func TestWhatIsPutBackIsCountedOnce(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 3)
	w := b.take("r", "g", 1)
	b.must(b.fail(w.want("0"), "no"))
	w.Leave()
	stands := func(want work.GroupInfo) {
		t.Helper()
		want.Group = "g"
		b.groups("r", want)
		b.restart()
		b.groups("r", want)
	}
	stands(work.GroupInfo{Pending: 2, Dead: 1})
	b.again("r", b.letters("r")[0]) // nothing is in view yet
	stands(work.GroupInfo{Pending: 3, Dead: 1})
	b.say("r", 2) // behind the record that brought it back
	stands(work.GroupInfo{Pending: 5, Dead: 1})
	w = b.take("r", "g", 1)
	b.must(b.fail(w.want("0"), "no"))
	w.Leave()
	stands(work.GroupInfo{Pending: 4, Dead: 2})
	b.again("r", b.letters("r")[1])
	w = b.take("r", "g", 5)
	for range 5 {
		b.must(b.done(w.next()))
	}
	w.Leave()
	stands(work.GroupInfo{Dead: 2})
}
