package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley"
	"parley/internal/logtest"
	"parley/relay"
	"parley/room"
	"parley/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that is bound to happen.
const patience = 2 * time.Minute

// wire is what the nodes' buses hang on. It can lose what it carries.
type wire struct {
	mu   sync.Mutex
	subs map[string]map[*sub]bool // by topic
	lose float64                  // of all, by chance
	cut  map[string]bool          // nodes that nobody hears, nor they anybody
}

type sub struct {
	node    string
	deliver func(string, []byte)
	queue   chan func()
	done    chan struct{}
}

func (w *wire) publish(topic, from string, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs[topic] {
		if s.node == from || w.cut[from] || w.cut[s.node] || rand.Float64() < w.lose {
			continue
		}
		select {
		case s.queue <- func() { s.deliver(from, data) }:
		default: // too slow
		}
	}
}

func (w *wire) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// bus is a node's end of the wire.
type bus struct {
	wire *wire
	node string
}

func (b bus) Node() string { return b.node }

func (b bus) Publish(topic string, data []byte) {
	b.wire.publish(topic, b.node, append([]byte(nil), data...))
}

func (b bus) Subscribe(topic string, deliver func(string, []byte)) (func(), error) {
	s := &sub{node: b.node, deliver: deliver, queue: make(chan func(), 64<<10), done: make(chan struct{})}
	stop := make(chan struct{})
	go func() {
		defer close(s.done)
		for {
			select {
			case f := <-s.queue:
				f()
			case <-stop:
				return
			}
		}
	}()
	b.wire.set(func() {
		if b.wire.subs[topic] == nil {
			b.wire.subs[topic] = make(map[*sub]bool)
		}
		b.wire.subs[topic][s] = true
	})
	return func() {
		b.wire.set(func() { delete(b.wire.subs[topic], s) })
		close(stop)
		<-s.done
	}, nil
}

// bench is nodes on one log in memory, the ownership of whose parts is moved at will.
type bench struct {
	t     testing.TB
	log   *logtest.Memory
	hub   *room.Hub
	wire  *wire
	nodes map[string]*node

	kind kind

	mu    sync.Mutex
	leads map[int]map[string]bool // part → nodes that believe to lead it
}

type node struct {
	*relay.Relay
	name  string
	books *work.Manager
	stop  func()
}

func newBench(t testing.TB, names ...string) *bench { return newBenchOf(t, kind{}, names...) }

// kind is what nodes are like.
type kind struct {
	alike  bool          // no node leads anything
	claims time.Duration // how long new owners wait; 0 = as usual

	journals func(node string, log *logtest.Memory) parley.Journals // nil: the log
}

func newBenchOf(t testing.TB, k kind, names ...string) *bench {
	b := &bench{
		kind: k,
		t:    t, log: logtest.New(logtest.Options{}), nodes: make(map[string]*node), leads: make(map[int]map[string]bool),
		wire: &wire{subs: make(map[string]map[*sub]bool), cut: make(map[string]bool)},
	}
	b.hub = room.NewHub(b.log, room.Config{Logger: slog.New(slog.DiscardHandler)})
	stopHub := running(func(ctx context.Context) { _ = b.hub.Run(ctx) })
	t.Cleanup(stopHub)
	for _, name := range names {
		b.start(name)
	}
	return b
}

func running(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

// parts of the rooms.
const parts = 3

func part(room string) int {
	if room == "" {
		return 0
	}
	return int(room[len(room)-1]) % parts
}

// start begins a life of a node.
func (b *bench) start(name string) *node {
	b.t.Helper()
	logger := slog.New(slog.NewTextHandler(b.t.Output(), nil)).With("node", name)
	n := &node{name: name}
	var journals parley.Journals = b.log
	if b.kind.journals != nil {
		journals = b.kind.journals(name, b.log)
	}
	n.books = work.New(work.Config{Log: b.log, Journals: journals, Rooms: b.hub, Part: part, Claims: b.kind.claims, Logger: logger})
	leads := func(part int) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.leads[part][name]
	}
	if b.kind.alike {
		leads = nil
	}
	n.Relay = relay.New(relay.Config{
		Bus: bus{b.wire, name}, Work: n.books, Part: part, Parts: parts, Logger: logger, Leads: leads,
	})
	stopBooks := running(func(ctx context.Context) { _ = n.books.Run(ctx) })
	stopRelay := running(func(ctx context.Context) {
		if err := n.Run(ctx); err != nil {
			b.t.Error(err)
		}
	})
	n.stop = sync.OnceFunc(func() { stopRelay(); stopBooks() })
	b.t.Cleanup(n.stop)
	b.nodes[name] = n
	return n
}

// own has these nodes believe to lead a part, and no others.
func (b *bench) own(part int, names ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leads[part] = make(map[string]bool)
	for _, name := range names {
		b.leads[part][name] = true
	}
}

// say puts n messages into a room: "0", "1", ...
func (b *bench) say(room string, n int) {
	b.t.Helper()
	for i := range n {
		done := make(chan error, 1)
		err := b.log.Append(b.t.Context(), parley.Draft{Room: room, ID: fmt.Sprint(i), From: "ada", Body: fmt.Append(nil, i)},
			func(_ parley.Receipt, err error) { done <- err })
		if err == nil {
			err = <-done
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// worker takes jobs at a node.
type worker struct {
	work.Worker
	b    *bench
	at   *node
	jobs chan *parley.Job
}

func (b *bench) take(at *node, room string, prefetch int, deadline time.Duration) *worker {
	b.t.Helper()
	w := &worker{b: b, at: at, jobs: make(chan *parley.Job, 64<<10)}
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	for {
		var err error
		w.Worker, err = at.Take(ctx, work.Taking{
			Room: room, Group: "g", Prefetch: prefetch, Tries: 1000, Deadline: deadline,
			Give: func(j *parley.Job) { w.jobs <- j },
		})
		if err == nil {
			return w
		}
		if ctx.Err() != nil || parley.AsError(err).Code != parley.Unavailable {
			b.t.Fatal(err)
		}
	}
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

// done finishes a job and waits for the answer.
func (n *node) done(t testing.TB, j *parley.Job) error {
	t.Helper()
	c := make(chan error, 1)
	if err := n.Done(context.Background(), j.Room, j.Job, func(_ uint64, err error) { c <- err }); err != nil {
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

// tally counts which jobs were done, by what was acknowledged. One whose done has no known outcome is
// done, or comes again.
type tally struct {
	mu     sync.Mutex
	acked  map[uint64]int
	unsure map[uint64]bool
	why    map[string]int
	whole  chan struct{} // closed when all are done, as far as is known
	want   int
}

func newTally(want int) *tally {
	return &tally{acked: make(map[uint64]int), unsure: make(map[uint64]bool), why: make(map[string]int), whole: make(chan struct{}), want: want}
}

// told notes what came of a done.
func (a *tally) told(seq uint64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.acked[seq]++
		delete(a.unsure, seq)
	case parley.AsError(err).Code == parley.Unavailable && a.acked[seq] == 0:
		a.unsure[seq] = true
		a.why[err.Error()]++
	}
	if len(a.acked)+len(a.unsure) == a.want {
		select {
		case <-a.whole:
		default:
			close(a.whole)
		}
	}
}

// toil has a worker finish jobs until stop is closed. What comes of each is counted.
func (w *worker) toil(a *tally, stop <-chan struct{}, again *atomic.Int64) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case j := <-w.jobs:
			if j.Tries > 1 {
				again.Add(1)
			}
			all.Add(1)
			err := w.at.Done(context.Background(), j.Room, j.Job, func(_ uint64, err error) {
				defer all.Done()
				a.told(j.Seq, err)
			})
			if err != nil {
				all.Done()
			}
		case <-stop:
			return
		}
	}
}

// wait checks that each job is done, and acknowledged once.
func (a *tally) wait(t *testing.T) {
	t.Helper()
	select {
	case <-a.whole:
	case <-time.After(patience):
		a.mu.Lock()
		defer a.mu.Unlock()
		t.Fatalf("%d of %d jobs were done, of %d it is not known", len(a.acked), a.want, len(a.unsure))
	}
}

func (a *tally) once(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.unsure) > a.want/2 {
		t.Errorf("%d of %d outcomes are unknown", len(a.unsure), a.want)
	}
	for seq, n := range a.acked {
		if n > 1 {
			t.Errorf("job %d was acknowledged %d times", seq, n)
		}
	}
}
