package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley"
	"parley/engine"
	"parley/internal/logtest"
)

// cluster is three engines of one process that hold a log together.
type cluster struct {
	t       testing.TB
	configs []engine.Config
	nodes   []*engine.Engine
}

// freeAddresses gives loopback addresses that nobody listened on a moment ago.
func freeAddresses(t testing.TB, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}

// newCluster opens three nodes; each is configured as c says.
func newCluster(t testing.TB, c engine.Config) *cluster {
	t.Helper()
	cl := configureCluster(t, c)
	cl.open(0, 1, 2)
	return cl
}

// configureCluster is newCluster with nothing opened yet.
func configureCluster(t testing.TB, c engine.Config) *cluster {
	t.Helper()
	cl := &cluster{t: t, nodes: make([]*engine.Engine, 3)}
	addresses := freeAddresses(t, 3)
	for i, a := range addresses {
		c := c
		c.Dir = t.TempDir()
		c.MinFree = -1
		node := engine.Cluster{Node: fmt.Sprint("n", i+1), Listen: a, Join: addresses}
		if c.Cluster != nil {
			node.Secret = c.Cluster.Secret
		}
		c.Cluster = &node
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", node.Node)
		cl.configs = append(cl.configs, c)
	}
	t.Cleanup(func() { cl.close(0, 1, 2) })
	return cl
}

// open opens these nodes at the same time.
func (cl *cluster) open(which ...int) {
	cl.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for _, i := range which {
		all.Go(func() {
			e, err := engine.Open(ctx, cl.configs[i])
			if err != nil {
				cl.t.Errorf("open node %d: %v", i, err)
				return
			}
			cl.nodes[i] = e
		})
	}
	all.Wait()
	if cl.t.Failed() {
		cl.t.FailNow()
	}
}

func (cl *cluster) close(which ...int) {
	var all sync.WaitGroup
	for _, i := range which {
		all.Go(func() {
			if e := cl.nodes[i]; e != nil {
				_ = e.Close()
			}
		})
	}
	all.Wait()
}

// anywhere is the log as clients see it that each use another node: appends at one, tails at
// another, reads at the third. What one node has acknowledged, another shows a moment later; so an
// outcome is passed on when all know of it, and a read waits for what a tail has shown.
type anywhere struct {
	*cluster
	first int

	mu    sync.Mutex
	shown map[string]uint64 // by room
}

func newAnywhere(cl *cluster, first int) *anywhere {
	return &anywhere{cluster: cl, first: first, shown: make(map[string]uint64)}
}

// show notes what a tail brings.
func (a *anywhere) show(ms []*parley.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range ms {
		a.shown[m.Room] = m.Seq
	}
}

// reader is a node that knows of all that tails have shown.
func (a *anywhere) reader() *engine.Engine {
	a.mu.Lock()
	shown := maps.Clone(a.shown)
	a.mu.Unlock()
	e := a.node(2)
	for room, seq := range shown {
		for end := time.Now().Add(20 * time.Second); e.Told(room) < seq && time.Now().Before(end); {
			tick()
		}
	}
	return e
}

func (a *anywhere) node(i int) *engine.Engine { return a.nodes[(a.first+i)%len(a.nodes)] }

func (a *anywhere) Append(ctx context.Context, d parley.Draft, done func(parley.Receipt, error)) error {
	room := d.Room
	return a.node(0).Append(ctx, d, func(r parley.Receipt, err error) {
		go func() {
			for end := time.Now().Add(20 * time.Second); err == nil && a.behind(room, r.Seq) && time.Now().Before(end); {
				tick()
			}
			done(r, err)
		}()
	})
}

func (a *anywhere) behind(room string, seq uint64) bool {
	for _, e := range a.nodes {
		if e.Told(room) < seq {
			return true
		}
	}
	return false
}

func (a *anywhere) Follow(ctx context.Context, room string, deliver func([]*parley.Message)) (uint64, func(), error) {
	return a.node(1).Follow(ctx, room, func(ms []*parley.Message) {
		a.show(ms)
		deliver(ms)
	})
}

func (a *anywhere) Read(ctx context.Context, room string, after uint64, limit int) (parley.Page, error) {
	return a.reader().Read(ctx, room, after, limit)
}

func (a *anywhere) Back(ctx context.Context, room string, before uint64, n int) (uint64, error) {
	return a.node(1).Back(ctx, room, before, n)
}

func (a *anywhere) Since(ctx context.Context, room string, t time.Time) (uint64, error) {
	return a.node(0).Since(ctx, room, t)
}

func (a *anywhere) Part(room string) int { return a.node(0).Part(room) }

func (a *anywhere) FollowMany(ctx context.Context, match func(string) bool, deliver parley.DeliverMany) (parley.Position, func(), error) {
	return a.node(1).FollowMany(ctx, match, func(part int, upTo uint64, ms []*parley.Message) {
		a.show(ms)
		deliver(part, upTo, ms)
	})
}

func (a *anywhere) ReadMany(ctx context.Context, match func(string) bool, after parley.Position, limit int) (parley.ManyPage, error) {
	return a.reader().ReadMany(ctx, match, after, limit)
}

func (a *anywhere) SinceMany(ctx context.Context, t time.Time) (parley.Position, error) {
	return a.node(2).SinceMany(ctx, t)
}

func (a *anywhere) Write(ctx context.Context, journal string, record []byte, done func(uint64, error)) error {
	return a.node(0).Write(ctx, journal, record, done)
}

func (a *anywhere) WriteNext(ctx context.Context, journal string, last uint64, record []byte, done func(uint64, error)) error {
	return a.node(0).WriteNext(ctx, journal, last, record, done)
}

func (a *anywhere) Records(ctx context.Context, journal string, after uint64, limit int) ([]parley.Record, bool, error) {
	return a.node(1).Records(ctx, journal, after, limit)
}

func (a *anywhere) Newest(ctx context.Context, journal string) (parley.Record, error) {
	return a.node(2).Newest(ctx, journal)
}

func (a *anywhere) Trim(ctx context.Context, journal string, seq uint64) error {
	return a.node(1).Trim(ctx, journal, seq)
}

func (a *anywhere) Journals(ctx context.Context, prefix string) ([]string, error) {
	return a.node(2).Journals(ctx, prefix)
}

func (a *anywhere) Rooms(ctx context.Context) ([]parley.RoomInfo, error) { return a.node(2).Rooms(ctx) }

func (a *anywhere) Ready() error {
	for _, e := range a.nodes {
		if err := e.Ready(); err != nil {
			return err
		}
	}
	return nil
}

func TestConformanceOfACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("each of the suite's tests starts a cluster")
	}
	logtest.Run(t, clusterHarness())
}

// Journals are read at other nodes than write them.
func TestJournalsOfACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("each of the suite's tests starts a cluster")
	}
	all := newAnywhere(newCluster(t, engine.Config{RetainMessages: 10}), 0)
	logtest.RunJournals(t, func(t *testing.T, _ logtest.Settings) logtest.Harness {
		names, err := all.Journals(t.Context(), "") // those of the test before
		for _, name := range names {
			err = errors.Join(err, all.Trim(t.Context(), name, math.MaxInt64))
		}
		if err != nil {
			t.Fatal(err)
		}
		// No Hold: a majority's disks have what the store says it has taken.
		return logtest.Harness{Log: all, Tick: tick, Many: true}
	})
}

// clusterHarness gives a cluster to each test of a suite, seen from another node each time.
func clusterHarness() func(*testing.T, logtest.Settings) logtest.Harness {
	var first atomic.Int64
	return func(t *testing.T, s logtest.Settings) logtest.Harness {
		t.Parallel() // most of a cluster's start is waiting
		disk := newFaultySync()
		cl := newCluster(t, engine.Config{
			RetainMessages: s.RetainMessages,
			MaxInflight:    s.MaxInflight,
			Sync:           disk.sync,
		})
		t.Cleanup(func() {
			disk.fail(errors.New("the test is over"))
			for _, e := range cl.nodes {
				if s := e.Stats(); s.Unreadable+s.Broke > 0 {
					t.Errorf("something was amiss: %+v", s)
				}
			}
		})
		return logtest.Harness{Log: newAnywhere(cl, int(first.Add(1))), Tick: tick, Hold: disk.hold, Fail: func(err error) {
			disk.fail(err)
			for _, e := range cl.nodes {
				for e.Ready() == nil {
					tick()
				}
			}
		}}
	}
}
