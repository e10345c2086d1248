package work_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/internal/logtest"
)

// A burst of a thousand times what the room keeps: each message becomes a job of each group, also where
// the books are closed and opened again in the middle.
func TestABurstBeyondRetentionMissesNoGroup(t *testing.T) {
	for _, keep := range []int{1, 10} {
		t.Run(fmt.Sprint("of ", keep), func(t *testing.T) {
			const n, senders = 10_000, 8
			b := newBench(t, logtest.Options{RetainMessages: keep})
			b.take("r", "g", 1).Leave()
			b.take("r", "h", 1).Leave()
			var stored sync.Map // bodies
			burst := func(from, to int) {
				var sent sync.WaitGroup
				for s := range senders {
					sent.Go(func() {
						for i := from + s; i < to; i += senders {
							body := fmt.Sprint(i)
							d := parley.Draft{Room: "r", ID: body, From: "ada", Body: []byte(body)}
							sent.Add(1)
							err := b.work.Gate().Append(context.Background(), d, func(_ parley.Receipt, err error) {
								if err == nil {
									stored.Store(body, true)
								}
								sent.Done()
							})
							if err != nil { // the books are closed
								sent.Done()
							}
						}
					})
				}
				sent.Wait()
			}
			burst(0, n/2)
			b.restart()
			burst(n/2, n)
			for _, group := range []string{"g", "h"} {
				w := b.take("r", group, 256)
				for range n {
					j := w.next()
					if _, ok := stored.Load(string(j.Body)); !ok {
						t.Fatalf("job %s was not stored", j.Body)
					}
					b.must(b.work.Done(context.Background(), "r", j.Job, nil))
				}
			}
			// The one message of a room that keeps no more cannot show that none was in front of it, where the
			// start comes before its copies.
			most := uint64(0)
			if keep == 1 {
				most = 2
			}
			if m := b.work.Stats().Missed; m > most {
				t.Errorf("%d gaps", m)
			}
			if left := len(b.messages("r")); left != keep {
				t.Errorf("the room keeps %d messages", left)
			}
		})
	}
}

// Where a group cannot copy, messages wait, but not for ever. What is in memory the group still gets.
func TestAGroupThatCannotCopyHoldsItsRoomUpForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{RetainMessages: 4})
		b.say("r", 1)
		b.take("r", "g", 1).Leave()
		synctest.Wait()
		b.stop()
		stuck := stuckJournals{Memory: b.log, stuck: make(chan struct{})}
		stuck.on.Store(true)
		b.journals = &stuck
		b.start()
		synctest.Wait()
		began := time.Now()
		b.say("r", 10)
		if waited := time.Since(began); waited < 10*time.Second || waited > time.Minute {
			t.Errorf("10 messages have waited for %v", waited)
		}
		if n := b.work.Stats().Waited; n == 0 {
			t.Error("no message is counted that has waited")
		}
		stuck.on.Store(false)
		close(stuck.stuck)
		w := b.take("r", "g", 20)
		for i := range 11 {
			b.must(b.done(w.want(fmt.Sprint(i))))
		}
		began = time.Now()
		b.say("r", 10)
		if waited := time.Since(began); waited > 0 {
			t.Errorf("later messages have waited for %v", waited)
		}
		w.Leave()
		b.stop()
	})
}

// What the room has removed while the books were closed is told of, once, and that is nothing to put back.
func TestAGroupIsToldOfItsGap(t *testing.T) {
	b := newBench(t, logtest.Options{RetainMessages: 4})
	b.say("r", 1)
	w := b.take("r", "g", 1)
	b.must(b.done(w.want("0")))
	b.stop()
	for i := range 10 { // past the gate
		stored := make(chan error, 1)
		b.must(b.log.Append(context.Background(), parley.Draft{Room: "r", ID: fmt.Sprint(i), From: "ada", Body: fmt.Append(nil, i+1)},
			func(_ parley.Receipt, err error) { stored <- err }))
		b.must(<-stored)
	}
	b.start()
	w = b.take("r", "g", 20)
	for _, body := range []string{"7", "8", "9", "10"} {
		b.must(b.done(w.want(body)))
	}
	b.restart()
	b.say("r", 1)
	b.take("r", "g", 1).next()
	dead := b.messages("r.dead")
	if len(dead) != 1 || !strings.Contains(string(dead[0].Body), `"room":"r","group":"g","after":`) {
		t.Fatalf("the gap is told in %d letters", len(dead))
	}
	if _, err := b.putBack("r", dead[0].Seq); parley.AsError(err).Code != parley.NotFound {
		t.Errorf("a gap is put back: %v", err)
	}
}

// stuckJournals are journals whose writes of jobs wait, for as long as they are stuck.
type stuckJournals struct {
	*logtest.Memory
	on    atomic.Bool
	stuck chan struct{}
}

func (s *stuckJournals) WriteNext(ctx context.Context, journal string, last uint64, record []byte, done func(uint64, error)) error {
	if !s.on.Load() || !strings.HasPrefix(journal, "jobs\x00") {
		return s.Memory.WriteNext(ctx, journal, last, record, done)
	}
	go func() {
		<-s.stuck
		if err := s.Memory.WriteNext(context.Background(), journal, last, record, done); err != nil {
			done(0, err)
		}
	}()
	return nil
}

func TestAMessageWaitsForTheGroupsUntilItsSenderGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{RetainMessages: 3})
		b.take("r", "g", 1).Leave()
		release := b.log.Hold()
		ctx, cancel := context.WithCancel(context.Background())
		var failed atomic.Int64
		var sending sync.WaitGroup
		for i := range 5 {
			sending.Go(func() {
				err := b.work.Gate().Append(ctx, parley.Draft{Room: "r", ID: fmt.Sprint(i), From: "ada", Body: []byte("x")}, func(parley.Receipt, error) {})
				if err != nil && parley.AsError(err).Code == parley.Unavailable {
					failed.Add(1)
				}
			})
		}
		synctest.Wait()
		b.must(b.work.Gate().Append(ctx, parley.Draft{Room: "other", ID: "1", From: "ada", Body: []byte("x")}, func(parley.Receipt, error) {}))
		cancel()
		sending.Wait()
		if failed.Load() != 3 {
			t.Errorf("%d of 5 messages were refused, for a room that keeps 3", failed.Load())
		}
		release()
		synctest.Wait()
		b.must(b.done(b.take("r", "g", 1).next()))
		b.stop()
	})
}

var _ parley.Journals = (*stuckJournals)(nil)
