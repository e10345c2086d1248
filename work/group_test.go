package work_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/internal/logtest"
	"parley/work"
)

func TestEachMessageIsAJobForOneOfTheWorkers(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 3)
	one, two := b.take("r", "g", 2), b.take("r", "g", 2)
	b.say("r", 1)
	seen := make(map[string]bool)
	for range 4 {
		var j *parley.Job
		select {
		case j = <-one.jobs:
		case j = <-two.jobs:
		case <-time.After(patience):
			t.Fatal("no job came")
		}
		if seen[string(j.Body)] || j.Tries != 1 || j.Group != "g" || j.Room != "r" || j.From != "ada" {
			t.Errorf("job %+v of message %+v", j, j.Message)
		}
		seen[string(j.Body)] = true
		b.must(b.done(j))
		b.refused(parley.NotFound, b.done(j))
	}
	if len(seen) != 4 {
		t.Errorf("jobs %v", seen)
	}
}

func TestGroupsAreIndependent(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 2)
	for _, group := range []string{"g", "h", "g.1"} {
		w := b.take("r", group, 2)
		b.must(b.done(w.want("0")))
		b.must(b.done(w.want("1")))
	}
}

func TestAGroupBeginsWhereItsFirstTakeSays(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 3)
	last := b.messages("r")[1].Seq
	begin := func(context.Context) (uint64, error) { return last, nil }
	w := b.takeWith(work.Taking{Room: "r", Group: "g", Prefetch: 5, Tries: 3, Deadline: time.Minute, Begin: begin})
	w.want("2")
	w.Leave()
	b.take("r", "g", 5).want("2") // it is there by now: where this one would begin does not matter
}

func TestPrefetchBoundsWhatAWorkerHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{})
		defer b.stop()
		b.say("r", 5)
		w := b.take("r", "g", 2)
		first := w.want("0")
		w.want("1")
		synctest.Wait()
		w.none()
		b.must(b.done(first))
		w.want("2")
		w.Change(work.Taking{Prefetch: 3, Tries: 3, Deadline: time.Minute})
		w.want("3")
		synctest.Wait()
		w.none()
		w.Stop()
		b.say("r", 1)
		synctest.Wait()
		w.none()
	})
}

func TestBodiesBoundWhatAWorkerHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{})
		defer b.stop()
		w := b.take("r", "g", 100)
		for range 20 {
			b.put(parley.Draft{Room: "r", Body: make([]byte, 100<<10)})
		}
		synctest.Wait()
		if n := len(w.jobs); n != 10 {
			t.Errorf("%d jobs of 100 KiB are held, want 10", n)
		}
		for range 20 {
			b.must(b.done(w.next()))
		}
	})
}

func TestWhatAWorkerHeldGoesToAnotherAtOnceWhenItIsGone(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 3)
	gone, other := b.take("r", "g", 3), b.take("r", "h", 1)
	other.want("0")
	j := gone.want("0")
	gone.want("1")
	gone.want("2")
	w := b.take("r", "g", 3)
	gone.Leave()
	for i := range 3 {
		again := w.want(fmt.Sprint(i))
		if again.Tries != 2 || again.Job == j.Job {
			t.Errorf("given again as %+v", again)
		}
	}
	b.refused(parley.Conflict, b.done(j))
}

func TestAWorkerThatIsTooLateLosesItsJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{})
		defer b.stop()
		b.say("r", 1)
		slow := b.takeWith(work.Taking{Room: "r", Group: "g", Prefetch: 1, Tries: 3, Deadline: 10 * time.Second})
		j := slow.want("0")
		slow.Stop()
		w := b.take("r", "g", 1)
		time.Sleep(9 * time.Second)
		if _, err := b.work.Busy(context.Background(), "r", j.Job, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		w.none() // it has said that it is busy
		time.Sleep(2 * time.Second)
		synctest.Wait()
		again := w.want("0")
		b.refused(parley.Conflict, b.done(j))
		if _, err := b.work.Busy(context.Background(), "r", j.Job, 0); err == nil {
			t.Error("busy with another's job")
		}
		b.must(b.done(again))
	})
}

// What a worker says that was too late does not count against what the next one has said, though nobody holds the
// job by then.
func TestOnlyTheLastHolderSettlesAJobThatWaits(t *testing.T) {
	b := newBench(t, logtest.Options{})
	defer b.stop()
	b.say("r", 1)
	gone := b.take("r", "g", 1)
	late := gone.next()
	gone.Leave()
	last := b.take("r", "g", 1).next()
	b.must(b.retry(last, time.Hour, "not now"))
	b.refused(parley.Conflict, b.fail(late, "too late"))
	b.refused(parley.Conflict, b.retry(late, 0, "too late"))
	b.refused(parley.Conflict, b.done(late))
	b.must(b.done(last))
	b.refused(parley.NotFound, b.done(last))
}

func TestRetryWaitsForItsDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{})
		defer b.stop()
		b.say("r", 2)
		w := b.take("r", "g", 1)
		b.must(b.retry(w.want("0"), time.Minute, ""))
		b.must(b.done(w.want("1")))
		time.Sleep(59 * time.Second)
		synctest.Wait()
		w.none()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if j := w.want("0"); j.Tries != 2 {
			t.Errorf("try %d", j.Tries)
		}
	})
}

func TestRetryWithoutADelayBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{})
		defer b.stop()
		b.say("r", 1)
		w := b.takeWith(work.Taking{Room: "r", Group: "g", Prefetch: 1, Tries: 100, Deadline: time.Minute})
		j := w.next()
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			began := time.Now()
			b.must(b.outcome(func(told work.Told) error { return b.work.Retry(context.Background(), "r", j.Job, nil, "", told) }))
			j = w.next()
			if took := time.Since(began); took != want*time.Second {
				t.Errorf("try %d came after %v, want %v s", i+2, took, want)
			}
		}
	})
}

func TestAJobThatFailsIsADeadLetter(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.put(parley.Draft{Room: "r", Body: []byte("twelve")})
	b.put(parley.Draft{Room: "r", Type: parley.JSON, Body: []byte(`{"n":12}`)})
	b.put(parley.Draft{Room: "r", Type: parley.Binary, Body: []byte{0, 255}})
	w := b.take("r", "g", 1)
	for _, want := range []string{`"twelve"`, `{"n":12}`, `"AP8="`} {
		j := w.next()
		b.must(b.fail(j, "no \"number\""))
		list := b.messages("r.dead")
		m := list[len(list)-1]
		var letter struct {
			Room, Group, ID, From, Reason, Type string
			Seq                                 uint64
			Tries                               int
			Body                                json.RawMessage
		}
		if err := json.Unmarshal(m.Body, &letter); err != nil || m.Type != parley.JSON || m.From != parley.Server {
			t.Fatalf("%s: %v", m.Body, err)
		}
		if letter.Room != "r" || letter.Group != "g" || letter.Seq != j.Seq || letter.Tries != 1 ||
			letter.Reason != `no "number"` || string(letter.Body) != want || letter.ID != j.ID {
			t.Errorf("%s, want the body %s", m.Body, want)
		}
		b.refused(parley.NotFound, b.done(j))
	}
}

func TestTheLastTryMakesADeadLetter(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 2)
	w := b.take("r", "g", 1) // 3 tries
	b.must(b.retry(w.want("0"), 0, "first"))
	b.must(b.retry(w.want("0"), 0, "second"))
	b.must(b.retry(w.want("0"), 0, "third"))
	if list := b.messages("r.dead"); len(list) != 1 || !strings.Contains(string(list[0].Body), `"reason":"third"`) {
		t.Fatalf("dead letters: %v", list)
	}
	w.want("1")
	w.Leave()
	w = b.take("r", "g", 1)
	w.want("1")
	w.Leave()
	w = b.take("r", "g", 1)
	if j := w.want("1"); j.Tries != 3 {
		t.Errorf("try %d", j.Tries)
	}
	w.Leave()
	deadline := time.Now().Add(patience)
	for len(b.messages("r.dead")) < 2 {
		if time.Now().After(deadline) {
			t.Fatal("no dead letter of a job whose workers died")
		}
		<-time.After(time.Millisecond)
	}
}

func TestJobsOfOneKeyAreDoneInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{})
		defer b.stop()
		for _, key := range []string{"a", "a", "b", "", "a"} {
			b.put(parley.Draft{Room: "r", Key: key, Body: fmt.Append(nil, key, b.ids)})
		}
		w := b.take("r", "g", 10)
		first := w.want("a0")
		w.want("b2")
		w.want("3")
		synctest.Wait()
		w.none()
		b.must(b.retry(first, time.Second, ""))
		synctest.Wait()
		w.none() // a retry keeps its place
		time.Sleep(2 * time.Second)
		b.must(b.done(w.want("a0")))
		b.must(b.fail(w.want("a1"), ""))
		b.must(b.done(w.want("a4")))
	})
}

func TestPriority(t *testing.T) {
	b := newBench(t, logtest.Options{})
	idle := b.take("r", "g", 1)
	idle.Stop()
	for i, p := range []uint8{0, 5, 9, 5} {
		b.put(parley.Draft{Room: "r", Priority: p, Body: fmt.Append(nil, i)})
	}
	copied(t, b, 4)
	w := b.take("r", "g", 1)
	for _, want := range []string{"2", "1", "3", "0"} {
		b.must(b.done(w.want(want)))
	}
}

func TestExpiredJobsAreNotGivenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{})
		defer b.stop()
		b.put(parley.Draft{Room: "r", Expires: time.Now().Add(time.Minute), Body: []byte("soon")})
		b.put(parley.Draft{Room: "r", Expires: time.Now().Add(time.Hour), Body: []byte("later")})
		time.Sleep(2 * time.Minute)
		b.take("r", "g", 2).want("later")
	})
}

func TestAfterARestartUnfinishedJobsAreThere(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 6)
	w := b.take("r", "g", 4)
	b.must(b.done(w.want("0")))
	held := w.want("1")
	b.must(b.done(w.want("2")))
	b.must(b.retry(w.want("3"), 0, ""))
	b.restart()
	b.must(b.done(held)) // nobody else holds it
	b.refused(parley.NotFound, b.done(held))
	w = b.take("r", "g", 10)
	for _, want := range []string{"3", "4", "5"} {
		j := w.want(want)
		if want == "3" && j.Tries != 2 {
			t.Errorf("the tries are forgotten: %d", j.Tries)
		}
		b.must(b.done(j))
	}
	b.say("r", 1)
	w.want("6")
}

func TestARetentionDoesNotEatJobs(t *testing.T) {
	b := newBench(t, logtest.Options{RetainMessages: 10})
	b.take("r", "g", 1).Leave()
	for range 20 {
		b.say("r", 5)
		copied(t, b, uint64(b.ids))
	}
	b.restart()
	w := b.take("r", "g", 8)
	for i := range 100 {
		b.must(b.done(w.want(fmt.Sprint(i))))
	}
	if n := len(b.messages("r")); n != 10 {
		t.Errorf("the room keeps %d messages", n)
	}
}

// copied waits until so many messages have become jobs.
func copied(t testing.TB, b *bench, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(patience); b.work.Stats().Copied < n; <-time.After(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d messages were copied", b.work.Stats().Copied, n)
		}
	}
}

// A backlog far beyond the window, several snapshots, and a restart in the middle.
func TestABigBacklog(t *testing.T) {
	const n = 50_000
	b := newBench(t, logtest.Options{})
	last := make(chan error, 1)
	for i := range n {
		d := parley.Draft{Room: "r", ID: fmt.Sprint(i), From: "ada", Body: fmt.Append(nil, i)}
		b.must(b.log.Append(context.Background(), d, func(_ parley.Receipt, err error) {
			if i == n-1 {
				last <- err
			}
		}))
	}
	b.must(<-last)
	finished := make(map[string]int)
	for round := range 2 {
		w := b.take("r", "g", 256)
		told := make(chan error, 256)
		for range n / 2 {
			j := w.next()
			finished[string(j.Body)]++
			b.must(b.work.Done(context.Background(), "r", j.Job, func(_ uint64, err error) { told <- err }))
			b.must(<-told)
		}
		if round == 0 {
			b.restart()
		}
	}
	for i := range n {
		if finished[fmt.Sprint(i)] != 1 {
			t.Fatalf("job %d was done %d times", i, finished[fmt.Sprint(i)])
		}
	}
	records, _, err := b.log.Records(context.Background(), "jobs\x00r\x00g", 0, parley.MaxPage)
	b.must(err)
	if len(records) > n/256/3 {
		t.Errorf("the journal of jobs was not trimmed: %d records", len(records))
	}
}

func TestADiskThatFailsLosesNothingAcknowledged(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 3)
	w := b.take("r", "g", 3)
	b.must(b.done(w.want("0")))
	release := b.log.Hold()
	j := w.want("1")
	c := make(chan error, 1)
	b.must(b.work.Done(context.Background(), "r", j.Job, func(_ uint64, err error) { c <- err }))
	b.log.Fail(errors.New("input/output error"))
	b.refused(parley.Unavailable, <-c)
	release()
}

func TestWhatIsNoJobIsRefused(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 1)
	j := b.take("r", "g", 1).want("0")
	for _, name := range []string{
		"", ".", "..", "g", "g.", "g.1", "g.1.", "g.x.1", "nope.1.1", "g.-1.1", "g.99.1", "a b.1.1",
		fmt.Sprintf("g.%d.!", j.Seq), strings.Repeat("g", 500) + ".1.1",
	} {
		b.refused(parley.NotFound, b.outcome(func(told work.Told) error {
			return b.work.Done(context.Background(), "r", name, told)
		}))
	}
	b.refused(parley.Conflict, b.outcome(func(told work.Told) error {
		return b.work.Done(context.Background(), "r", fmt.Sprintf("g.%d.zz", j.Seq), told)
	}))
	b.must(b.done(j))
}

func TestNamesTooLongForADeadLetterRoom(t *testing.T) {
	b := newBench(t, logtest.Options{})
	_, err := b.work.Take(context.Background(), work.Taking{Room: strings.Repeat("r", 124), Group: "g", Prefetch: 1})
	b.refused(parley.BadRequest, err)
}

// Workers die, are late, retry and fail, and the server is restarted, all drawn from a seed. No
// job is lost, and none is given out again whose done was acknowledged.
func TestNoJobIsLostWhateverWorkersDo(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			b := newBench(t, logtest.Options{RetainMessages: 50})
			const n = 300
			acked := make(map[string]bool)
			settled := 0
			var workers []*worker
			said := 0
			for settled < n {
				if said < n && random.IntN(3) == 0 {
					k := min(random.IntN(20), n-said)
					said += k
					if b.work.Stats().Groups == 0 {
						b.take("r", "g", 1).Leave()
					}
					b.say("r", k)
					settle(t, b, "r", "g")
				}
				if len(workers) == 0 || random.IntN(10) == 0 {
					workers = append(workers, b.takeWith(work.Taking{
						Room: "r", Group: "g", Prefetch: 1 + random.IntN(8), Tries: 1000, Deadline: time.Minute,
					}))
				}
				i := random.IntN(len(workers))
				w := workers[i]
				switch random.IntN(40) {
				case 0:
					w.Leave()
					workers = append(workers[:i], workers[i+1:]...)
					continue
				case 1:
					b.restart()
					workers = nil
					continue
				}
				var j *parley.Job
				select {
				case j = <-w.jobs:
				case <-time.After(time.Millisecond):
					continue
				}
				if acked[string(j.Body)] {
					t.Fatalf("job %s was given again", j.Body)
				}
				switch random.IntN(6) {
				case 0:
					b.must(b.retry(j, 0, ""))
				case 1:
					b.must(b.fail(j, ""))
					acked[string(j.Body)] = true
					settled++
				default:
					b.must(b.done(j))
					acked[string(j.Body)] = true
					settled++
				}
			}
		})
	}
}

// settle waits until a group has copied all of its room.
func settle(t testing.TB, b *bench, room, group string) {
	t.Helper()
	list := b.messages(room)
	if len(list) == 0 {
		return
	}
	last := list[len(list)-1].Seq
	for deadline := time.Now().Add(patience); ; <-time.After(100 * time.Microsecond) {
		newest, err := b.log.Newest(context.Background(), "jobs\x00"+room+"\x00"+group)
		b.must(err)
		if work.LastOf(room, newest.Data) >= last {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the group does not copy its room")
		}
	}
}
