package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley"
	"parley/client"
)

// freeAddresses gives loopback addresses that servers can listen on more than once: none is among
// those that the system gives to outgoing connections.
func freeAddresses(t *testing.T, n int) (all []string) {
	t.Helper()
	for range 100 * n {
		if len(all) == n {
			return all
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			defer func() { _ = l.Close() }() // all are held at once, so no two are the same
			all = append(all, addr)
		}
	}
	t.Fatal("no ports are free")
	return nil
}

// threeNodes starts the nodes of a cluster, each with addresses of its own that stay.
func threeNodes(t *testing.T) (nodes []*server, tcp []string) {
	t.Helper()
	nodes, tcp = planNodes(t)
	startAll(t, nodes...)
	return nodes, tcp
}

// planNodes is threeNodes with none started yet; all are given these flags, too.
func planNodes(t *testing.T, flags ...string) (nodes []*server, tcp []string) {
	t.Helper()
	all := freeAddresses(t, 6)
	join, tcp := strings.Join(all[:3], ","), all[3:]
	for i := range 3 {
		nodes = append(nodes, newServer(t, append([]string{
			"--tcp", tcp[i], "--node", fmt.Sprint("n", i+1), "--cluster-listen", all[i], "--cluster-join", join,
		}, flags...)))
	}
	return nodes, tcp
}

// startAll starts servers at the same time: the first start of a cluster takes all of them.
func startAll(t *testing.T, servers ...*server) {
	t.Helper()
	var starting sync.WaitGroup
	failed := make([]error, len(servers))
	for i, s := range servers {
		starting.Go(func() { failed[i] = s.tryStart() })
	}
	starting.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
}

// whole says whether a node sees all nodes alive and every replica up to date.
func whole(t *testing.T, s *server) bool {
	found, err := s.process.stderr.wait(httpLine, s.process.done, patience)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+found[1]+"/cluster", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var status struct {
		Ready bool
		Nodes []struct{ Alive bool }

		Partitions []struct {
			Leader   string
			Replicas []struct{ Alive, Current bool }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	ok := status.Ready && len(status.Nodes) == 3
	for _, n := range status.Nodes {
		ok = ok && n.Alive
	}
	for _, p := range status.Partitions {
		ok = ok && p.Leader != "" && len(p.Replicas) == 2
		for _, r := range p.Replicas {
			ok = ok && r.Alive && r.Current
		}
	}
	return ok
}

// talkers are clients that send one message after the other, each from the node it began at, and
// listeners that read all of them.
type talkers struct {
	t    *testing.T
	ctx  context.Context
	stop atomic.Bool
	sent atomic.Int64

	sending, reading sync.WaitGroup
	mu               sync.Mutex
	took             []time.Duration
	acked            map[string]uint64 // seq by body
}

// send sends until stop; what it says is "name-number".
func (l *talkers) send(c *client.Client, name string) {
	for i := 0; !l.stop.Load(); i++ {
		body, begun := fmt.Sprintf("%s-%d", name, i), time.Now()
		r, err := c.Room("lobby").Publish(l.ctx, []byte(body))
		if err != nil {
			l.t.Errorf("%s: %v", body, err)
			return
		}
		l.mu.Lock()
		l.took, l.acked[body] = append(l.took, time.Since(begun)), r.Seq
		l.mu.Unlock()
		l.sent.Add(1)
	}
}

// listen reads from the beginning until the end mark, and holds what it reads against what was
// acknowledged.
func (l *talkers) listen(c *client.Client, name string) {
	shown, last := map[string]uint64{}, uint64(0)
	for m, err := range c.Room("lobby").Messages(l.ctx, client.After(0)) {
		if err != nil {
			l.t.Errorf("%s: %v", name, err)
			return
		}
		body := string(m.Body)
		if m.Seq <= last || m.Prev != last {
			l.t.Errorf("%s: %s has seq %d and prev %d, behind %d", name, body, m.Seq, m.Prev, last)
		}
		last = m.Seq
		if strings.HasPrefix(body, endMark) {
			break
		}
		if first, twice := shown[body]; twice {
			l.t.Errorf("%s: %s at %d and at %d", name, body, first, m.Seq)
		}
		shown[body] = m.Seq
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(shown) != len(l.acked) {
		l.t.Errorf("%s was shown %d messages, %d were acknowledged", name, len(shown), len(l.acked))
	}
	for body, seq := range l.acked {
		if shown[body] != seq {
			l.t.Errorf("%s: %s was acknowledged at %d and shown at %d", name, body, seq, shown[body])
		}
	}
}

// Three nodes under load are restarted one after the other, by TERM: every send comes to its ack,
// every reader sees every message once, in one order, with no gap.
func TestRollingRestart(t *testing.T) {
	nodes, tcp := threeNodes(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	l := &talkers{t: t, ctx: ctx, acked: map[string]uint64{}}
	var clients []*client.Client
	connect := func(addrs, name string) *client.Client {
		c, err := client.Connect(ctx, addrs, client.WithName(name))
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
		return c
	}
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	for i := range 12 {
		name := fmt.Sprint("p", i)
		c := connect(tcp[i%3], name) // where else it can go it learns
		l.sending.Go(func() { l.send(c, name) })
	}
	for i := range 3 {
		name := fmt.Sprint("m", i)
		c := connect(tcp[i], name)
		l.reading.Go(func() { l.listen(c, name) })
	}
	more := func() {
		at := l.sent.Load()
		eventually(t, "sends go on", func() bool { return l.sent.Load() > at+200 || ctx.Err() != nil || t.Failed() })
	}
	more()
	for i, s := range nodes {
		began := time.Now()
		if code := s.terminate(); code != 0 {
			t.Errorf("n%d: exit code %d", i+1, code)
		}
		ended := time.Since(began)
		more() // with two of three
		s.start()
		eventually(t, "it is one of three again", func() bool { return whole(t, s) })
		more()
		t.Logf("n%d ended after %v", i+1, ended.Round(time.Millisecond))
	}
	l.stop.Store(true)
	l.sending.Wait()
	if _, err := connect(strings.Join(tcp, ","), "end").Room("lobby").Publish(ctx, []byte(endMark+"lobby")); err != nil {
		t.Error(err)
		cancel() // or the readers wait for it
	}
	l.reading.Wait()
	slices.Sort(l.took)
	if n := len(l.took); n > 0 {
		t.Logf("%d sends of 12 clients with one in flight each: p50 %v, p99 %v, longest %v",
			n, l.took[n/2].Round(time.Microsecond), l.took[n*99/100].Round(time.Microsecond), l.took[n-1].Round(time.Millisecond))
	}
	var refused *parley.Error
	for _, c := range clients {
		if st := c.Status(); errors.As(st.Err, &refused) && st.State == client.Closed {
			t.Errorf("a client has ended: %v", st.Err)
		}
	}
}
