package ask_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/ask"
	"parley/internal/bustest"
)

// settled is how long what nodes know of each other takes to be right.
const settled = 5 * time.Second

// node is a desk of a cluster.
type node struct {
	*ask.Desk
	stop func()
}

// start runs a node's desk until stop, at the latest until the test ends.
func start(t *testing.T, w *bustest.Wires, name string) *node {
	n := &node{Desk: ask.NewAmong(w.Bus(name), slog.New(slog.DiscardHandler))}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	n.stop = func() {
		cancel()
		done.Wait()
	}
	t.Cleanup(n.stop)
	return n
}

// three runs a test with the desks of three nodes that know each other.
func three(t *testing.T, f func(t *testing.T, w *bustest.Wires, nodes []*node)) {
	synctest.Test(t, func(t *testing.T) {
		w := bustest.New()
		nodes := []*node{start(t, w, "n1"), start(t, w, "n2"), start(t, w, "n3")}
		pass(settled)
		f(t, w, nodes)
	})
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// asks asks, and fails the test where the answer is an error at once.
func asks(t *testing.T, n *node, most int) *asker {
	t.Helper()
	a := new(asker)
	must(t, a.ask(n.Desk, most, "?"))
	synctest.Wait()
	return a
}

// wantPut checks how many questions were put to somebody so far.
func wantPut(t *testing.T, questions int, all ...*responder) {
	t.Helper()
	for i, r := range all {
		if len(r.asked()) != questions {
			t.Errorf("responder %d was asked %d questions, want %d", i+1, len(r.asked()), questions)
		}
	}
}

// wantIdle checks that no node has a question open.
func wantIdle(t *testing.T, nodes []*node) {
	t.Helper()
	synctest.Wait()
	for i, n := range nodes {
		if s := n.Stats(); s.Questions != 0 {
			t.Errorf("%d questions are open at node %d", s.Questions, i+1)
		}
	}
}

func TestAnotherNodeAnswers(t *testing.T) {
	three(t, func(t *testing.T, _ *bustest.Wires, nodes []*node) {
		bob := serve(t, nodes[1].Desk)
		for range 2 { // before the others have been told, and after
			a := asks(t, nodes[0], 1)
			q := bob.asked()[len(bob.asked())-1]
			if q.From != "ada" || q.Room != "r" || string(q.Body) != "?" || q.Timeout > time.Second || q.Timeout < 900*time.Millisecond {
				t.Errorf("asked %+v", q)
			}
			must(t, answer(bob, len(bob.asked())-1, "yes"))
			wantIdle(t, nodes)
			a.want(t, "yes", "1")
			wantCode(t, parley.NotFound, answer(bob, 0, "again"))
			pass(settled)
		}
	})
}

func TestBodiesCrossNodesAsTheyAre(t *testing.T) {
	three(t, func(t *testing.T, _ *bustest.Wires, nodes []*node) {
		bob := serve(t, nodes[1].Desk)
		var got *parley.Answer
		must(t, nodes[0].Ask(ask.Asking{
			Question: parley.Question{Room: "r", From: "a\nb", Type: parley.Binary, Body: []byte("\n\x00\xff\n"), Timeout: time.Second},
			Most:     1, Got: func(a *parley.Answer) { got = a }, End: func(int, error) {},
		}))
		synctest.Wait()
		if q := bob.asked()[0]; q.From != "a\nb" || q.Type != parley.Binary || string(q.Body) != "\n\x00\xff\n" {
			t.Errorf("asked %+v", q)
		}
		must(t, bob.Answer(bob.asked()[0].ID, &parley.Answer{From: "bob", Type: parley.JSON, Body: []byte("{}")}))
		synctest.Wait()
		if got == nil || got.From != "bob" || got.Type != parley.JSON || string(got.Body) != "{}" {
			t.Errorf("answered %+v", got)
		}
	})
}

func TestNobodyServesAtAnyNode(t *testing.T) {
	three(t, func(t *testing.T, _ *bustest.Wires, nodes []*node) {
		begun := time.Now()
		asks(t, nodes[0], 1).want(t, "no_responders")
		asks(t, nodes[0], 10).want(t, "no_responders")
		bob := serve(t, nodes[1].Desk)
		pass(settled)
		bob.Stop() // and that is not known elsewhere when it is asked
		asks(t, nodes[0], 1).want(t, "no_responders")
		if took := time.Since(begun) - settled; took != 0 {
			t.Errorf("it took %v", took)
		}
		wantIdle(t, nodes)
	})
}

func TestThoseOfThisNodeAreAskedFirst(t *testing.T) {
	three(t, func(t *testing.T, _ *bustest.Wires, nodes []*node) {
		one, two, three := serve(t, nodes[0].Desk), serve(t, nodes[1].Desk), serve(t, nodes[2].Desk)
		pass(settled)
		a := asks(t, nodes[0], 1)
		must(t, answer(one, 0, "here"))
		a.want(t, "here", "1")
		wantPut(t, 0, two, three)

		a = asks(t, nodes[0], 1) // now it is silent for too long
		wantPut(t, 0, two, three)
		pass(300 * time.Millisecond)
		wantPut(t, 1, two, three)
		must(t, answer(three, 0, "there"))
		wantIdle(t, nodes) // nobody is waited for any more
		a.want(t, "there", "1")
		wantCode(t, parley.NotFound, answer(two, 0, "late"))

		a = asks(t, nodes[0], 1) // now it goes away
		one.Leave()
		synctest.Wait()
		if n := len(two.asked()) + len(three.asked()); n != 3 {
			t.Errorf("%d were asked elsewhere, want one more", n-2)
		}
		a.want(t)
	})
}

func TestNodesAreAskedInTurn(t *testing.T) {
	three(t, func(t *testing.T, _ *bustest.Wires, nodes []*node) {
		two, three := serve(t, nodes[1].Desk), serve(t, nodes[2].Desk)
		pass(settled)
		for range 10 {
			asks(t, nodes[0], 1)
		}
		wantPut(t, 5, two, three)
		pass(2 * time.Second)
		wantIdle(t, nodes)
	})
}

func TestAnswersAreGatheredFromAllNodes(t *testing.T) {
	three(t, func(t *testing.T, _ *bustest.Wires, nodes []*node) {
		all := []*responder{serve(t, nodes[0].Desk), serve(t, nodes[1].Desk), serve(t, nodes[1].Desk)}
		a := asks(t, nodes[0], 10) // before the others have been told
		wantPut(t, 1, all...)
		for i, r := range all {
			a.want(t, []string{"x", "x", "x"}[:i]...)
			must(t, answer(r, 0, "x"))
			synctest.Wait()
		}
		a.want(t, "x", "x", "x", "3") // all have answered
		a = asks(t, nodes[2], 2)
		must(t, answer(all[1], 1, "y"))
		must(t, answer(all[2], 1, "y"))
		wantIdle(t, nodes)
		a.want(t, "y", "y", "2")
		a = asks(t, nodes[2], 10)
		must(t, answer(all[2], 2, "z"))
		pass(999 * time.Millisecond)
		a.want(t, "z")
		pass(2 * time.Millisecond)
		a.want(t, "z", "1") // the time is over
		wantIdle(t, nodes)
	})
}

func TestANodeThatIsGoneAnswersNothing(t *testing.T) {
	three(t, func(t *testing.T, w *bustest.Wires, nodes []*node) {
		two, three := serve(t, nodes[1].Desk), serve(t, nodes[2].Desk)
		pass(settled)
		gather, asking := new(asker), func(a *asker, most int) {
			must(t, nodes[0].Ask(ask.Asking{
				Question: parley.Question{Room: "r", From: "ada", Body: []byte("?"), Timeout: 50 * time.Second}, Most: most,
				Got: func(one *parley.Answer) { a.note(string(one.Body)) },
				End: func(count int, err error) { a.note(fmt.Sprint(count, err)) },
			}))
		}
		asking(gather, 10)
		first := new(asker)
		asking(first, 1)
		synctest.Wait()
		must(t, answer(two, 0, "x"))
		must(t, answer(three, 0, "y"))
		gather = new(asker)
		asking(gather, 10)
		synctest.Wait()
		must(t, answer(two, len(two.asked())-1, "x"))
		w.Cut("n3", true) // as by kill -9
		pass(settled)
		gather.want(t, "x", "1 <nil>")
		if len(three.asked()) == 3 { // the one answer was wanted of it
			must(t, answer(two, len(two.asked())-1, "z"))
			synctest.Wait()
			first.want(t, "z", "1 <nil>")
		}
		wantIdle(t, nodes[2:]) // nor does it answer to nodes that it hears nothing of
	})
}

// The one answer is wanted of a node that dies: another is asked in its place.
func TestAQuestionGoesToAnotherNode(t *testing.T) {
	for name, end := range map[string]func(w *bustest.Wires, n *node, r *responder){
		"cut off": func(w *bustest.Wires, _ *node, _ *responder) { w.Cut("n2", true) },
		"stopped": func(_ *bustest.Wires, n *node, _ *responder) { n.stop() },
		"left":    func(_ *bustest.Wires, _ *node, r *responder) { r.Leave() },
	} {
		t.Run(name, func(t *testing.T) {
			three(t, func(t *testing.T, w *bustest.Wires, nodes []*node) {
				two := serve(t, nodes[1].Desk)
				pass(settled)
				a := new(asker)
				must(t, nodes[0].Ask(ask.Asking{
					Question: parley.Question{Room: "r", From: "ada", Body: []byte("?"), Timeout: 20 * time.Second}, Most: 1,
					Got: func(one *parley.Answer) { a.note(string(one.Body)) },
					End: func(count int, err error) { a.note(fmt.Sprint(count, err)) },
				}))
				synctest.Wait()
				wantPut(t, 1, two)
				three := serve(t, nodes[2].Desk)
				end(w, nodes[1], two)
				pass(4 * time.Second) // within what all others are asked after
				wantPut(t, 1, three)
				must(t, answer(three, 0, "yes"))
				synctest.Wait()
				a.want(t, "yes", "1 <nil>")
			})
		})
	}
}

func TestTooManyQuestionsAtAnotherNode(t *testing.T) {
	three(t, func(t *testing.T, _ *bustest.Wires, nodes []*node) {
		two := serve(t, nodes[1].Desk)
		pass(settled)
		for range 1024 {
			asks(t, nodes[0], 1)
		}
		asks(t, nodes[0], 1).want(t, "unavailable")
		three := serve(t, nodes[2].Desk)
		a := asks(t, nodes[0], 1) // of whom it is not known yet
		must(t, answer(three, 0, "I have time"))
		synctest.Wait()
		a.want(t, "I have time", "1")
		wantPut(t, 1024, two)
	})
}

// Whatever the bus loses, every question ends in its time, and leaves nothing behind.
func TestLostBusMessages(t *testing.T) {
	three(t, func(t *testing.T, w *bustest.Wires, nodes []*node) {
		n := 0
		w.Losing(func(_, _ string, data []byte) bool {
			if strings.Contains(string(data), `"kind":"beat"`) {
				return false // a node of which none comes is taken for gone
			}
			n++
			return n%3 == 0
		})
		var all []*responder
		for i := range 3 {
			var r *responder
			d := nodes[i].Desk
			r = &responder{}
			var err error
			r.Responder, err = d.Serve("r", func() {}, func(q *parley.Question) {
				go func() { _ = r.Answer(q.ID, &parley.Answer{From: "bob", Body: []byte("x")}) }()
			})
			must(t, err)
			all = append(all, r)
		}
		all[0].Stop() // so the first node has to ask others
		answered := 0
		for i := range 100 {
			a := asks(t, nodes[0], 1+i%3)
			pass(1001 * time.Millisecond)
			a.mu.Lock()
			last := a.told[len(a.told)-1]
			if last == "1" || last == "2" {
				answered++
			} else if last != "timeout" {
				t.Errorf("ended as %q", a.told)
			}
			a.mu.Unlock()
		}
		if answered < 50 {
			t.Errorf("%d of 100 were answered", answered)
		}
		w.Losing(nil)
		pass(settled)
		wantIdle(t, nodes)
		a := asks(t, nodes[0], 10)
		a.want(t, "x", "x", "2")
	})
}

// A node that has just begun waits a moment before it says that nobody is there.
func TestANodeThatHasJustBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bustest.New()
		asking := start(t, w, "n1")
		a := new(asker)
		must(t, a.ask(asking.Desk, 1, "?"))
		two := start(t, w, "n2")
		bob := serve(t, two.Desk)
		pass(300 * time.Millisecond)
		must(t, answer(bob, 0, "yes"))
		synctest.Wait()
		a.want(t, "yes", "1")
		two.stop()
		alone := new(asker)
		pass(settled)
		wantCode(t, parley.NoResponders, alone.ask(asking.Desk, 1, "?"))
		synctest.Wait()
		alone.want(t)
	})
}

// What comes over the bus breaks nothing.
func TestStrangeNotes(t *testing.T) {
	three(t, func(t *testing.T, w *bustest.Wires, nodes []*node) {
		bob := serve(t, nodes[1].Desk)
		var asked struct{ ID string }
		stop, err := w.Bus("n2").Subscribe("ask.n2", func(_ string, data []byte) {
			head, _, _ := strings.Cut(string(data), "\n")
			must(t, json.Unmarshal([]byte(head), &asked))
		})
		must(t, err)
		a := asks(t, nodes[0], 1)
		stop()
		strange := w.Bus("n1")
		for _, note := range []string{
			"", "\n", "{", `{"kind":"what"}`, `{"kind":"answer","id":"x"}`, `{"kind":"over","id":"x"}`, `{"kind":"enough","id":"x"}`,
		} {
			strange.Publish("ask.n2", []byte(note))
		}
		forged, err := json.Marshal(map[string]string{"kind": "answer", "id": asked.ID})
		must(t, err)
		w.Bus("n3").Publish("ask.n1", append(forged, "\nnot of who was asked"...))
		synctest.Wait()
		a.want(t)
		must(t, answer(bob, 0, "yes"))
		synctest.Wait()
		a.want(t, "yes", "1")
	})
}
