package engine_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/engine"
)

// wires are the ways between three nodes, one for each pair and direction of dialling. A cut one
// keeps its connections and lets nothing through, as a network does that loses everything.
type wires struct {
	t   testing.TB
	cut [3]atomic.Bool // this node is cut off

	running sync.WaitGroup
	over    context.Context
}

// newWires puts wires between the nodes of a cluster that is not open yet.
func newWires(t testing.TB, cl *cluster) *wires {
	t.Helper()
	over, end := context.WithCancel(context.Background())
	w := &wires{t: t, over: over}
	t.Cleanup(func() { end(); w.running.Wait() })
	for i := range cl.configs {
		c := *cl.configs[i].Cluster
		c.Join = slices.Clone(c.Join)
		for j := range cl.configs {
			if i != j {
				c.Join[j] = w.lay(i, j, cl.configs[j].Cluster.Listen)
			}
		}
		cl.configs[i].Cluster = &c
	}
	return w
}

// lay makes the way by which node i reaches node j, and gives its address.
func (w *wires) lay(i, j int, to string) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.running.Go(func() {
		<-w.over.Done()
		_ = l.Close()
	})
	w.running.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			w.running.Go(func() { w.join(i, j, from.(*net.TCPConn), to) })
		}
	})
	return l.Addr().String()
}

func (w *wires) join(i, j int, from *net.TCPConn, to string) {
	defer from.Close()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(w.over, func() { _ = from.Close(); _ = conn.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { w.pass(i, j, from, conn.(*net.TCPConn)) })
	both.Go(func() { w.pass(i, j, conn.(*net.TCPConn), from) })
	both.Wait()
}

// pass moves bytes one way for as long as neither end is cut off.
func (w *wires) pass(i, j int, from, to *net.TCPConn) {
	_ = from.SetReadBuffer(64 << 10) // a cut way fills soon
	buf := make([]byte, 32<<10)
	for {
		for w.cut[i].Load() || w.cut[j].Load() {
			if w.over.Err() != nil {
				return
			}
			tick()
		}
		_ = from.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // to look again
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		var late net.Error
		if err != nil && (!errors.As(err, &late) || !late.Timeout()) {
			if errors.Is(err, io.EOF) {
				_ = to.CloseWrite()
			}
			return
		}
	}
}

// stuffed gives a cluster whose first node is cut off, with its ways to the others full: what it
// writes to them waits in a system call.
func stuffed(t *testing.T, c engine.Config) (*cluster, *wires) {
	t.Helper()
	cl := configureCluster(t, c)
	w := newWires(t, cl)
	cl.open(0, 1, 2)
	for _, e := range cl.nodes[1:] {
		if _, err := e.Bus().Subscribe("load", func(string, []byte) {}); err != nil {
			t.Fatal(err)
		}
	}
	came := make(chan struct{}, 1)
	stop, err := cl.nodes[1].Bus().Subscribe("probe", func(string, []byte) {
		select {
		case came <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for heard := false; !heard; { // then the way is there, for the load too
		cl.nodes[0].Bus().Publish("probe", nil)
		select {
		case <-came:
			heard = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	w.cut[0].Store(true)
	load := make([]byte, 512<<10)
	for range 64 {
		cl.nodes[0].Bus().Publish("load", load)
	}
	return cl, w
}

// A node that is cut off from the others, and owes them more than the network takes, once took a
// minute to stop: JetStream's last words to them waited for it.
func TestANodeThatIsCutOffStops(t *testing.T) {
	cl, _ := stuffed(t, engine.Config{})
	began := time.Now()
	if err := cl.nodes[0].Close(); err != nil {
		t.Error(err)
	}
	took := time.Since(began)
	t.Logf("closed after %v", took.Round(time.Millisecond))
	if took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Past its bound a close leaves the store to itself and says so; the directory stays locked, since the
// store still has it.
func TestAStoreThatDoesNotCloseIsLeft(t *testing.T) {
	cl, w := stuffed(t, engine.Config{}.ClosingWithin(time.Millisecond))
	if err := cl.nodes[0].Close(); !errors.Is(err, engine.ErrLeft) {
		t.Errorf("closed with %v, want ErrLeft", err)
	}
	if err := cl.nodes[0].Close(); !errors.Is(err, engine.ErrLeft) {
		t.Errorf("closed again with %v, want ErrLeft", err)
	}
	if e, err := engine.Open(t.Context(), cl.configs[0]); !errors.Is(err, engine.ErrInUse) {
		t.Errorf("opened with %v, want ErrInUse", err)
		if e != nil {
			_ = e.Close()
		}
	}
	w.cut[0].Store(false) // what was left comes to its end before the test's goroutines are counted
}
