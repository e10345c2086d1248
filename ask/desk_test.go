package ask_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/ask"
)

// responder keeps the questions that are put to it.
type responder struct {
	*ask.Responder

	mu        sync.Mutex
	questions []*parley.Question
}

func (r *responder) put(q *parley.Question) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.questions = append(r.questions, q)
}

// asked gives the questions so far.
func (r *responder) asked() []*parley.Question {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.questions)
}

func serve(t *testing.T, d *ask.Desk) *responder {
	t.Helper()
	r := new(responder)
	var err error
	r.Responder, err = d.Serve("r", func() {}, r.put)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// asker notes what it is told, as "answer" and at last "count" or a code.
type asker struct {
	mu   sync.Mutex
	told []string
}

func (a *asker) note(s string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, s)
}

func (a *asker) ask(d *ask.Desk, most int, body string) error {
	return d.Ask(ask.Asking{
		Question: parley.Question{Room: "r", From: "ada", Body: []byte(body), Timeout: time.Second},
		Most:     most,
		Got:      func(one *parley.Answer) { a.note(string(one.Body)) },
		End: func(count int, err error) {
			if err != nil {
				a.note(string(parley.AsError(err).Code))
			} else {
				a.note(fmt.Sprint(count))
			}
		},
	})
}

func (a *asker) want(t *testing.T, told ...string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if strings.Join(a.told, " ") != strings.Join(told, " ") {
		t.Errorf("told %q, want %q", a.told, told)
	}
}

func answer(r *responder, n int, body string) error {
	return r.Answer(r.asked()[n].ID, &parley.Answer{From: "bob", Body: []byte(body)})
}

func wantCode(t *testing.T, code parley.Code, err error) {
	t.Helper()
	if err == nil || parley.AsError(err).Code != code {
		t.Errorf("%v, want %s", err, code)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheFirstAnswerCounts(t *testing.T) {
	d, a := ask.New(), new(asker)
	wantCode(t, parley.NoResponders, a.ask(d, 1, "?"))
	one, two := serve(t, d), serve(t, d)
	must(t, a.ask(d, 1, "?"))
	must(t, answer(two, 0, "yes"))
	wantCode(t, parley.NotFound, answer(one, 0, "no"))
	wantCode(t, parley.NotFound, answer(two, 0, "again"))
	a.want(t, "yes", "1")
	if s := d.Stats(); s.Questions != 0 || s.Responders != 2 {
		t.Errorf("%+v", s)
	}
}

func TestAnswersAreGathered(t *testing.T) {
	d, a := ask.New(), new(asker)
	one, two, three := serve(t, d), serve(t, d), serve(t, d)
	must(t, a.ask(d, 2, "?"))
	must(t, answer(one, 0, "a"))
	a.want(t, "a")
	must(t, answer(three, 0, "b"))
	a.want(t, "a", "b", "2")
	must(t, a.ask(d, 10, "?"))
	for _, r := range []*responder{one, two, three} {
		must(t, answer(r, 1, "c"))
	}
	a.want(t, "a", "b", "2", "c", "c", "c", "3") // all have answered
}

func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, a, b := ask.New(), new(asker), new(asker)
		one, _ := serve(t, d), serve(t, d)
		must(t, a.ask(d, 1, "?"))
		must(t, b.ask(d, 2, "?"))
		must(t, answer(one, 1, "x"))
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		a.want(t)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		a.want(t, "timeout")
		b.want(t, "x", "1")
		wantCode(t, parley.NotFound, answer(one, 0, "late"))
	})
}

func TestThoseWhoGoAreNotWaitedFor(t *testing.T) {
	d, a, b := ask.New(), new(asker), new(asker)
	one, two := serve(t, d), serve(t, d)
	must(t, a.ask(d, 2, "?"))
	must(t, b.ask(d, 2, "?"))
	one.Stop() // it may still answer
	must(t, answer(one, 0, "x"))
	one.Leave()
	one.Leave()
	b.want(t)
	two.Leave()
	a.want(t, "x", "1")
	b.want(t, "no_responders")
	wantCode(t, parley.NoResponders, a.ask(d, 1, "?"))
}

func TestBounds(t *testing.T) {
	d, a := ask.New(), new(asker)
	r := serve(t, d)
	must(t, a.ask(d, 1, strings.Repeat("x", 2<<20))) // the first may be of any size
	wantCode(t, parley.Unavailable, a.ask(d, 1, "?"))
	must(t, answer(r, 0, "x"))
	for range 1024 {
		must(t, a.ask(d, 1, "?"))
	}
	wantCode(t, parley.Unavailable, a.ask(d, 1, "?"))
	other := serve(t, d)
	must(t, a.ask(d, 2, "?"))
	must(t, answer(other, 0, strings.Repeat("x", 4<<20)))
	if a.told[len(a.told)-1] != "1" {
		t.Error("an ask goes on beyond its bytes")
	}
	for range 998 {
		serve(t, d)
	}
	_, err := d.Serve("r", func() {}, func(*parley.Question) {})
	wantCode(t, parley.Conflict, err)
}
