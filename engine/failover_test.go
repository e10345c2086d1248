package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"parley"
	"parley/engine"
)

// nodeConfig, where it is set, makes the test binary a child that is one node of a cluster until
// its stdin ends. It is the node's configuration as JSON.
const nodeConfig = "PARLEY_ENGINE_TEST_NODE"

// nodeSettings are what such a child is told.
type nodeSettings struct {
	Dir         string
	Cluster     *engine.Cluster
	SafetyCheck time.Duration
}

// node never returns.
func node(config string) {
	var s nodeSettings
	err := json.Unmarshal([]byte(config), &s)
	c := engine.Config{Dir: s.Dir, Cluster: s.Cluster, SafetyCheck: s.SafetyCheck, MinFree: -1}
	c.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	var e *engine.Engine
	if err == nil {
		e, err = engine.Open(context.Background(), c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = e.Close()
	os.Exit(0)
}

// process is a node in a process of its own.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.Closer
	ready chan struct{} // closed when it is open
}

func startNode(t testing.TB, c engine.Config) *process {
	t.Helper()
	config, err := json.Marshal(nodeSettings{c.Dir, c.Cluster, c.SafetyCheck})
	if err != nil {
		t.Fatal(err)
	}
	return startChild(t, nodeConfig+"="+string(config))
}

// startChild runs the test binary as what a variable makes of it, with its stdin open.
func startChild(t testing.TB, variable string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], "-test.run=^$"), ready: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), variable)
	p.cmd.Stderr = t.Output()
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		if bufio.NewScanner(out).Scan() {
			close(p.ready)
		}
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) untilOpen() {
	p.t.Helper()
	select {
	case <-p.ready:
	case <-time.After(time.Minute):
		p.t.Fatal("a node did not open")
	}
}

// senders append to five rooms until they are stopped, each sending again under the same id what
// was not acknowledged.
type senders struct {
	t    testing.TB
	at   []*engine.Engine
	stop atomic.Bool
	all  sync.WaitGroup

	mu      sync.Mutex
	acked   map[string]parley.Receipt // by room and id
	lastAck time.Time
	longest time.Duration // between two acks
}

func startSenders(t testing.TB, n int, at ...*engine.Engine) *senders {
	s := &senders{t: t, at: at, acked: make(map[string]parley.Receipt), lastAck: time.Now()}
	for i := range n {
		s.all.Go(func() { s.send(i) })
	}
	return s
}

func (s *senders) send(sender int) {
	for i := 0; !s.stop.Load(); i++ {
		d := parley.Draft{
			Room: fmt.Sprint("room", i%5), From: fmt.Sprint("sender", sender), ID: fmt.Sprint(sender, "-", i),
			Body: fmt.Appendf(nil, "%d of %d", i, sender), Retry: i%2 == 0,
		}
		for end := time.Now().Add(time.Minute); ; {
			done := make(chan error, 1)
			var r parley.Receipt
			err := s.at[(sender+i)%len(s.at)].Append(context.Background(), d, func(got parley.Receipt, err error) { r = got; done <- err })
			if err == nil {
				err = <-done
			}
			if err == nil {
				s.note(d.Room+" "+d.ID, r)
				break
			}
			if !d.Retry {
				break // it may be stored or not, and is not sent again
			}
			if time.Now().After(end) {
				s.t.Errorf("sender %d: no ack for a minute: %v", sender, err)
				return
			}
			tick()
		}
	}
}

func (s *senders) note(key string, r parley.Receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.longest = max(s.longest, now.Sub(s.lastAck))
	s.lastAck = now
	s.acked[key] = r
}

// gap is the longest time between two acks.
func (s *senders) gap() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.longest
}

func (s *senders) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked)
}

// until waits for so many more acks.
func (s *senders) until(more int) {
	s.t.Helper()
	want := s.count() + more
	for end := time.Now().Add(time.Minute); s.count() < want; tick() {
		if time.Now().After(end) {
			s.t.Fatalf("%d acks in a minute, want %d", s.count(), want)
		}
	}
}

// check stops the senders and checks that each node shows the same: all that was acked, at its
// seq, and nothing twice.
func (s *senders) check(nodes ...*engine.Engine) {
	s.t.Helper()
	s.stop.Store(true)
	s.all.Wait()
	for i, e := range nodes {
		ids := make(map[string]uint64)
		for r := range 5 {
			room := fmt.Sprint("room", r)
			for end := time.Now().Add(30 * time.Second); e.Told(room) < s.last(room) && time.Now().Before(end); {
				tick()
			}
			var prev uint64
			for _, m := range readAll(s.t, e, room) {
				if was, twice := ids[room+" "+m.ID]; twice {
					s.t.Errorf("node %d: %s is stored twice, at %d and %d", i, m.ID, was, m.Seq)
				}
				if m.Prev != prev {
					s.t.Errorf("node %d: prev of %d is %d, want %d", i, m.Seq, m.Prev, prev)
				}
				prev, ids[room+" "+m.ID] = m.Seq, m.Seq
			}
		}
		lost := 0
		for key, r := range s.acked {
			if ids[key] != r.Seq {
				lost++
			}
		}
		if lost > 0 {
			s.t.Errorf("node %d: %d of %d acked messages are not there at their seq", i, lost, len(s.acked))
		}
	}
}

// last is the highest seq of a room that was acked.
func (s *senders) last(room string) (seq uint64) {
	for key, r := range s.acked {
		if strings.HasPrefix(key, room+" ") {
			seq = max(seq, r.Seq)
		}
	}
	return seq
}

// wantTails checks that each tail has brought all of its room, in order, once.
func wantTails(t *testing.T, e *engine.Engine, tails map[string]*tail) {
	t.Helper()
	for room, tl := range tails {
		var want []uint64
		for _, m := range readAll(t, e, room) {
			if m.Seq > tl.last {
				want = append(want, m.Seq)
			}
		}
		tl.want(want)
	}
}

func followRooms(t *testing.T, e *engine.Engine) map[string]*tail {
	tails := make(map[string]*tail)
	for r := range 5 {
		tails[fmt.Sprint("room", r)] = follow(t, e, fmt.Sprint("room", r))
	}
	return tails
}

// mixedCluster has its first nodes in this process and the others in processes of their own.
func mixedCluster(t *testing.T, here int) (*cluster, []*process) {
	cl := configureCluster(t, engine.Config{SafetyCheck: time.Second})
	var others []*process
	for _, c := range cl.configs[here:] {
		others = append(others, startNode(t, c))
	}
	cl.open([]int{0, 1, 2}[:here]...)
	for _, p := range others {
		p.untilOpen()
	}
	return cl, others
}

func TestAKilledNodeLosesNothingAndTheOthersGoOn(t *testing.T) {
	cl, others := mixedCluster(t, 2)
	tails := []map[string]*tail{followRooms(t, cl.nodes[0]), followRooms(t, cl.nodes[1])}
	for end := time.Now().Add(30 * time.Second); !leads(cl.nodes[0], "n3"); tick() {
		if time.Now().After(end) {
			t.Fatal("the third node leads nothing, though leaders are spread")
		}
	}
	s := startSenders(t, 32, cl.nodes[0], cl.nodes[1])
	s.until(2000)
	others[0].kill()
	s.until(4000)
	t.Logf("longest time between two acks: %v", s.gap())
	s.check(cl.nodes[0], cl.nodes[1])
	for i, tl := range tails {
		wantTails(t, cl.nodes[i], tl)
	}
	cl.open(2) // the same directory, and it catches up by itself
	s.check(cl.nodes...)
}

// leads says whether the node leads any partition of the five rooms.
func leads(e *engine.Engine, node string) bool {
	for r := range 5 {
		if e.Leader(fmt.Sprint("room", r)) == node {
			return true
		}
	}
	return false
}

func TestAMinorityRefusesAndSaysSo(t *testing.T) {
	cl, others := mixedCluster(t, 1)
	e := cl.nodes[0]
	s := startSenders(t, 8, e)
	s.until(200)
	for _, p := range others {
		p.signal(syscall.SIGSTOP)
	}
	for end := time.Now().Add(20 * time.Second); e.Ready() == nil; tick() {
		if time.Now().After(end) {
			t.Fatal("a node without the others says that it is ready")
		}
	}
	for end := time.Now().Add(20 * time.Second); ; tick() {
		status := e.Status()
		alive := 0
		for _, n := range status.Nodes {
			if n.Alive {
				alive++
			}
		}
		if !status.Majority && len(status.Nodes) == 3 && alive == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("without the others it says %+v", status)
		}
	}
	s.mu.Lock()
	before := len(s.acked)
	s.mu.Unlock()
	began := time.Now()
	done := make(chan error, 1)
	err := e.Append(t.Context(), parley.Draft{Room: "room0", ID: "alone", From: "ada", Body: []byte("x")},
		func(_ parley.Receipt, err error) { done <- err })
	if err == nil {
		err = <-done
	}
	if parley.AsError(err).Code != parley.Unavailable {
		t.Errorf("an append without a majority: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to be refused", took)
	}
	if s.count() != before {
		t.Errorf("%d appends were acked without a majority", s.count()-before)
	}
	for _, p := range others {
		p.signal(syscall.SIGCONT)
	}
	s.until(500)
	s.check(e)
	if err := e.Ready(); err != nil {
		t.Errorf("healed: %v", err)
	}
}

func TestANodeThatStopsHandsItsLeadersOver(t *testing.T) {
	cl := newCluster(t, engine.Config{})
	s := startSenders(t, 16, cl.nodes[0], cl.nodes[1])
	s.until(1000)
	cl.close(2)
	s.until(1000)
	t.Logf("longest time between two acks: %v", s.gap())
	s.check(cl.nodes[0], cl.nodes[1])
}

func TestAnEmptyNodeTakesALostOnesPlace(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, engine.Config{SafetyCheck: time.Second})
	s := startSenders(t, 16, cl.nodes[0], cl.nodes[1])
	s.until(1000)
	cl.close(2)
	cl.configs[2].Dir = t.TempDir()
	s.until(500)
	cl.open(2)
	s.until(500)
	s.check(cl.nodes...)
}
