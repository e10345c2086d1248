package work_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley"
	"parley/internal/logtest"
	"parley/room"
	"parley/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that is bound to happen.
const patience = 2 * time.Minute

// bench is the books over a log in memory. The log outlives each life of the books.
type bench struct {
	t    testing.TB
	log  *logtest.Memory
	ids  int
	work *work.Manager
	stop func()

	journals parley.Journals // in place of the log's own
}

func newBench(t testing.TB, o logtest.Options) *bench {
	b := &bench{t: t, log: logtest.New(o)}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

// start begins a life of the books.
func (b *bench) start() {
	hub := room.NewHub(b.log, room.Config{Logger: slog.New(slog.DiscardHandler)})
	journals := b.journals
	if journals == nil {
		journals = b.log
	}
	b.work = work.New(work.Config{Log: b.log, Journals: journals, Rooms: hub, Logger: slog.New(slog.NewTextHandler(b.t.Output(), nil))})
	ctx, cancel := context.WithCancel(context.Background())
	var hubs, books sync.WaitGroup
	hubCtx, endHub := context.WithCancel(context.Background())
	hubs.Go(func() { _ = hub.Run(hubCtx) })
	books.Go(func() { _ = b.work.Run(ctx) })
	b.stop = sync.OnceFunc(func() {
		cancel()
		books.Wait()
		endHub()
		hubs.Wait()
	})
}

// restart ends one life and begins another: what is in memory is lost.
func (b *bench) restart() {
	b.stop()
	b.start()
}

// say puts n messages into a room; their bodies count from the number of those before.
func (b *bench) say(room string, n int) {
	b.t.Helper()
	for range n {
		b.put(parley.Draft{Room: room, Body: fmt.Append(nil, b.ids)})
	}
}

func (b *bench) put(d parley.Draft) {
	b.t.Helper()
	d.ID, d.From = fmt.Sprint("id-", b.ids), "ada"
	b.ids++
	done := make(chan error, 1)
	if err := b.log.Append(context.Background(), d, func(_ parley.Receipt, err error) { done <- err }); err != nil {
		b.t.Fatal(err)
	}
	if err := <-done; err != nil {
		b.t.Fatal(err)
	}
}

// worker takes jobs of a group and keeps them until they are asked for.
type worker struct {
	b    *bench
	room string
	*work.Taker
	jobs chan *parley.Job
}

func (b *bench) take(room, group string, prefetch int) *worker {
	b.t.Helper()
	return b.takeWith(work.Taking{Room: room, Group: group, Prefetch: prefetch, Tries: 3, Deadline: time.Minute})
}

func (b *bench) takeWith(t work.Taking) *worker {
	b.t.Helper()
	w := &worker{b: b, room: t.Room, jobs: make(chan *parley.Job, 4096)}
	t.Give = func(j *parley.Job) { w.jobs <- j }
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if w.Taker, err = b.work.Take(ctx, t); err != nil {
		b.t.Fatal(err)
	}
	return w
}

// next waits for a job.
func (w *worker) next() *parley.Job {
	w.b.t.Helper()
	select {
	case j := <-w.jobs:
		return j
	case <-time.After(patience):
		w.b.t.Fatal("no job came")
		return nil
	}
}

// want waits for a job with the body.
func (w *worker) want(body string) *parley.Job {
	w.b.t.Helper()
	j := w.next()
	if string(j.Body) != body {
		w.b.t.Fatalf("job %q, want %q", j.Body, body)
	}
	return j
}

// none checks that no job has come by now.
func (w *worker) none() {
	w.b.t.Helper()
	select {
	case j := <-w.jobs:
		w.b.t.Fatalf("job %q came", j.Body)
	default:
	}
}

// outcome waits for what was told of a step.
func (b *bench) outcome(step func(work.Told) error) error {
	b.t.Helper()
	c := make(chan error, 1)
	if err := step(func(_ uint64, err error) { c <- err }); err != nil {
		return err
	}
	select {
	case err := <-c:
		return err
	case <-time.After(patience):
		b.t.Fatal("nothing was told")
		return nil
	}
}

func (b *bench) done(j *parley.Job) error {
	b.t.Helper()
	return b.outcome(func(told work.Told) error { return b.work.Done(context.Background(), j.Room, j.Job, told) })
}

func (b *bench) retry(j *parley.Job, delay time.Duration, reason string) error {
	b.t.Helper()
	return b.outcome(func(told work.Told) error {
		return b.work.Retry(context.Background(), j.Room, j.Job, &delay, reason, told)
	})
}

func (b *bench) fail(j *parley.Job, reason string) error {
	b.t.Helper()
	return b.outcome(func(told work.Told) error {
		return b.work.Fail(context.Background(), j.Room, j.Job, reason, told)
	})
}

// must ends the test where a step was refused.
func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// refused wants an error of a code.
func (b *bench) refused(code parley.Code, err error) {
	b.t.Helper()
	if err == nil || parley.AsError(err).Code != code {
		b.t.Fatalf("%v, want %s", err, code)
	}
}

// messages reads a room.
func (b *bench) messages(room string) []*parley.Message {
	b.t.Helper()
	page, err := b.log.Read(context.Background(), room, 0, parley.MaxPage)
	b.must(err)
	return page.Messages
}
