package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"parley"
	"parley/engine"
	"parley/internal/logtest"
)

// natsConfig, where it is set, makes the test binary a child that is a plain nats-server until its stdin
// ends: of a cluster with nothing of Parley's in it. It is natsSettings as JSON.
const natsConfig = "PARLEY_ENGINE_TEST_NATS"

// natsSettings are what such a child is told.
type natsSettings struct {
	Name, Dir       string
	Client, Cluster string   // addresses
	Routes          []string // addresses of all
	Tenants         int      // accounts beside the first, each with a log of its own
}

// tenant names an account and its user; 0 is the first, of whom nobody need know.
func tenant(i int) string { return fmt.Sprint("parley", i) }

// natsServer never returns.
func natsServer(config string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var s natsSettings
	if err := json.Unmarshal([]byte(config), &s); err != nil {
		fail(err)
	}
	o := &server.Options{
		ServerName: s.Name, NoSigs: true, NoLog: true, JetStream: true, StoreDir: s.Dir, SyncAlways: true,
		MaxPayload: 4 << 20, Username: "parley", Password: "secret",
	}
	o.Cluster.Name = "nats"
	for addr, to := range map[string]struct {
		host *string
		port *int
	}{s.Client: {&o.Host, &o.Port}, s.Cluster: {&o.Cluster.Host, &o.Cluster.Port}} {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			fail(err)
		}
		if *to.port, err = strconv.Atoi(port); err != nil {
			fail(err)
		}
		*to.host = host
	}
	for _, a := range s.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: a})
	}
	if s.Tenants > 0 {
		o.Username, o.Password = "", ""
		o.Users = []*server.User{{Username: "parley", Password: "secret"}}
	}
	for i := range s.Tenants {
		a := server.NewAccount(tenant(i + 1))
		o.Accounts = append(o.Accounts, a)
		o.Users = append(o.Users, &server.User{Username: a.Name, Password: "secret", Account: a})
	}
	srv, err := server.NewServer(o)
	if err != nil {
		fail(err)
	}
	srv.Start()
	for i := range s.Tenants {
		a, err := srv.LookupAccount(tenant(i + 1))
		if err == nil {
			err = a.EnableJetStream(nil, nil)
		}
		if err != nil {
			fail(err)
		}
	}
	if !srv.ReadyForConnections(30 * time.Second) {
		fail(errors.New("a nats-server did not start"))
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	srv.Shutdown()
	srv.WaitForShutdown()
	os.Exit(0)
}

// natsCluster is three plain nats-servers with JetStream, each a process.
type natsCluster struct {
	t         *testing.T
	settings  []natsSettings
	processes []*process
	user      string // whose log it is
}

func newNATSCluster(t *testing.T, tenants ...int) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t, processes: make([]*process, 3), user: "parley"}
	addresses := freeAddresses(t, 6)
	for i := range 3 {
		c.settings = append(c.settings, natsSettings{
			Name: fmt.Sprint("nats", i), Dir: t.TempDir(), Client: addresses[3+i], Cluster: addresses[i], Routes: addresses[:3],
			Tenants: append(tenants, 0)[0],
		})
		c.start(i)
	}
	for _, p := range c.processes {
		p.untilOpen()
	}
	return c
}

// start begins a life of a server.
func (c *natsCluster) start(i int) {
	c.t.Helper()
	config, err := json.Marshal(c.settings[i])
	if err != nil {
		c.t.Fatal(err)
	}
	c.processes[i] = startChild(c.t, natsConfig+"="+string(config))
}

// server gives the number of the server that has a name.
func (c *natsCluster) server(name string) int {
	c.t.Helper()
	i, err := strconv.Atoi(strings.TrimPrefix(name, "nats"))
	if err != nil || i < 0 || i >= len(c.processes) {
		c.t.Fatalf("no server is called %q", name)
	}
	return i
}

// url is where clients find the servers.
func (c *natsCluster) url() string {
	var all []string
	for _, s := range c.settings {
		all = append(all, "nats://"+c.user+":secret@"+s.Client)
	}
	return strings.Join(all, ",")
}

// open opens engines on the cluster, configured as config says.
func (c *natsCluster) open(n int, config engine.Config) *cluster {
	cl := &cluster{t: c.t, nodes: make([]*engine.Engine, n)}
	var which []int
	for i := range n {
		config := config
		config.URL, config.Node, config.Dir = c.url(), fmt.Sprint("n", i+1), "none"
		config.Logger = slog.New(slog.NewTextHandler(c.t.Output(), nil)).With("node", config.Node)
		cl.configs, which = append(cl.configs, config), append(which, i)
	}
	c.t.Cleanup(func() { cl.close(which...) })
	cl.open(which...)
	return cl
}

// empty deletes what an account has: each stream keeps three servers busy.
func (c *natsCluster) empty(t *testing.T) {
	nc, err := nats.Connect(c.url())
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if err := js.DeleteStream(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if err := names.Err(); err != nil {
		t.Error(err)
	}
}

func TestConformanceOnAnExternalCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long")
	}
	const tenants = 64
	servers := newNATSCluster(t, tenants)
	first := 0
	logtest.Run(t, func(t *testing.T, s logtest.Settings) logtest.Harness {
		if first++; first > tenants {
			t.Fatal("the suite has more tests than there are accounts")
		}
		disk := newFaultySync()
		own := *servers
		own.t, own.user = t, tenant(first)
		t.Cleanup(func() { own.empty(t) })
		cl := own.open(3, engine.Config{
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
		return logtest.Harness{Log: newAnywhere(cl, first), Tick: tick, Hold: disk.hold, Fail: func(err error) {
			disk.fail(err)
			for _, e := range cl.nodes {
				for e.Ready() == nil {
					tick()
				}
			}
		}}
	})
}

func TestAnExternalClusterHoldsTheLog(t *testing.T) {
	nats := newNATSCluster(t)
	cl := nats.open(2, engine.Config{SafetyCheck: time.Second})
	tails := followRooms(t, cl.nodes[1])
	s := startSenders(t, 16, cl.nodes[0])
	s.until(1000)
	s.check(cl.nodes...)
	wantTails(t, cl.nodes[1], tails)
	if got := cl.nodes[0].Status(); len(got.Nodes) != 3 {
		t.Errorf("status: %+v", got)
	}
	if err := cl.nodes[0].Ready(); err != nil {
		t.Error(err)
	}
}

func TestAnExternalServerIsKilledAndNothingIsLost(t *testing.T) {
	nats := newNATSCluster(t)
	cl := nats.open(2, engine.Config{SafetyCheck: time.Second})
	tails := []map[string]*tail{followRooms(t, cl.nodes[0]), followRooms(t, cl.nodes[1])}
	s := startSenders(t, 32, cl.nodes...)
	s.until(1000)
	for round := range 2 {
		killed := nats.server(cl.nodes[0].Leader("room0"))
		nats.processes[killed].kill()
		s.until(1000)
		nats.start(killed) // on what it has
		nats.processes[killed].untilOpen()
		s.until(1000)
		for end := time.Now().Add(time.Minute); !current(cl.nodes[0]); tick() {
			if time.Now().After(end) {
				t.Fatalf("round %d: the server that was killed does not catch up: %+v", round, cl.nodes[0].Status())
			}
		}
	}
	t.Logf("longest time between two acks: %v", s.gap())
	s.check(cl.nodes...)
	for i, tl := range tails {
		wantTails(t, cl.nodes[i], tl)
	}
}

// current says whether every partition has a leader and every replica is up to date.
func current(e *engine.Engine) bool {
	for _, p := range e.Status().Partitions {
		if p.Leader == "" || len(p.Replicas) != 2 {
			return false
		}
		for _, r := range p.Replicas {
			if !r.Alive || !r.Current {
				return false
			}
		}
	}
	return true
}

func TestAMinorityOfAnExternalClusterRefuses(t *testing.T) {
	nats := newNATSCluster(t)
	e := nats.open(1, engine.Config{SafetyCheck: time.Second}).nodes[0]
	s := startSenders(t, 8, e)
	s.until(200)
	for _, p := range nats.processes[1:] {
		p.signal(syscall.SIGSTOP)
	}
	for end := time.Now().Add(20 * time.Second); e.Ready() == nil; tick() {
		if time.Now().After(end) {
			t.Fatal("it says that it is ready where too few servers are there")
		}
	}
	before := s.count()
	done := make(chan error, 1)
	began := time.Now()
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
	for _, p := range nats.processes[1:] {
		p.signal(syscall.SIGCONT)
	}
	s.until(500)
	s.check(e)
	if err := e.Ready(); err != nil {
		t.Errorf("healed: %v", err)
	}
}

// A backup of one node's log goes into an external cluster, and that cluster's into one node's again.
func TestBackupsMoveToAnExternalClusterAndBack(t *testing.T) {
	e := open(t, engine.Config{})
	want, records := fillRooms(t, e, 20), allRecords(t, e)
	nats := newNATSCluster(t)
	at := engine.Config{URL: nats.url()}
	restore(t, at, backUp(t, e))
	cl := nats.open(2, engine.Config{SafetyCheck: time.Second})
	wantRestored(t, want, records, cl.nodes...)
	for _, replace := range []bool{true, false} {
		_, err := engine.Restore(t.Context(), at, strings.NewReader(string(backUp(t, e))), engine.Restoring{Replace: replace})
		if err == nil || !replace && !errors.Is(err, engine.ErrNotEmpty) {
			t.Errorf("restored over messages, replace %t: %v", replace, err)
		}
	}
	want, records = allRooms(t, cl.nodes[0]), allRecords(t, cl.nodes[0])
	dir := t.TempDir()
	restore(t, engine.Config{Dir: dir}, backUp(t, cl.nodes[1]))
	wantRestored(t, want, records, open(t, engine.Config{Dir: dir}))
}
