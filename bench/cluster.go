package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Cluster is the loads of a cluster: three nodes on this machine, each a process, with one partition,
// so that one node leads every room.
type Cluster struct {
	Sessions  int // that publish, spread over the nodes, one send in flight each
	Receivers int // of the fan-out
	Kills     int // of leaders
	Size      int // bytes of a body
	WarmUp    time.Duration
	For       time.Duration
}

func (c Cluster) check() error {
	if c.Kills < 0 {
		return errors.New("cluster needs a number of kills of 0 or more")
	}
	return errors.Join(c.publish().check(), c.fanout(0).check())
}

func (c Cluster) publish() Publish {
	return Publish{Sessions: c.Sessions, Inflight: 1, Rooms: 1, Size: c.Size, WarmUp: c.WarmUp, For: c.For}
}

// fanout is the load that a member's node is measured with. A rate of 0 is as much as 256 messages in
// flight let through.
func (c Cluster) fanout(rate int) Fanout {
	return Fanout{
		Receivers: c.Receivers, Senders: 10, Inflight: 256, Rate: rate, Size: c.Size, Encoding: "text",
		Samples: DefaultSamples, WarmUp: c.WarmUp, For: c.For,
	}
}

// memberRate is a rate at which a fan-out makes a write for each delivery.
const memberRate = 100

// Cluster starts three nodes, measures them, and prints a row for each load:
//
//   - durable acks with three replicas;
//   - a message that is sent at one node and delivered at another;
//   - the CPU time of a node whose members are in a room that another node leads, beside that of one
//     node alone with the same load;
//   - the time from kill -9 of the leader to the first ack of a message that was sent after it.
func (s *Setup) Cluster(ctx context.Context, c Cluster) error {
	if s.Addr != "" || len(s.Against) > 0 {
		return errors.New("cluster starts its servers, and has no peers")
	}
	if err := c.check(); err != nil {
		return err
	}
	n, err := s.startNodes(ctx)
	if err != nil {
		return err
	}
	err = n.measure(ctx, c)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return errors.Join(err, n.stop())
}

// nodes is a cluster under load.
type nodes struct {
	setup *Setup
	dir   string
	argv  [][]string
	procs []*process
}

const nodeCount = 3

// startNodes starts the nodes together: the first start of a cluster needs all of them.
func (s *Setup) startNodes(ctx context.Context) (_ *nodes, err error) {
	dir, err := os.MkdirTemp(s.Dir, "parley-bench-")
	if err != nil {
		return nil, err
	}
	n := &nodes{setup: s, dir: dir, procs: make([]*process, nodeCount)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.stop())
		}
	}()
	if n.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	ports, err := quietPorts(nodeCount)
	if err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	for i := range nodeCount {
		name := fmt.Sprint("n", i+1)
		n.argv = append(n.argv, []string{
			s.Executable, "serve", "--data", filepath.Join(n.dir, name), "--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0",
			"--node", name, "--partitions", "1", "--cluster-listen", ports[i], "--cluster-join", strings.Join(ports, ","),
		})
	}
	for i := range nodeCount {
		g.Go(func() error { return n.start(gctx, i) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	_, err = n.whole(ctx)
	return n, err
}

func (n *nodes) start(ctx context.Context, i int) (err error) {
	n.procs[i], err = startProcess(ctx, n.dir, true, n.argv[i]...)
	return err
}

// stop ends the nodes one after the other and removes their data.
func (n *nodes) stop() (err error) {
	for _, p := range n.procs {
		if p != nil {
			err = errors.Join(err, p.stop())
		}
	}
	return errors.Join(err, os.RemoveAll(n.dir))
}

// quietPorts gives loopback addresses that nodes can listen on more than once: none is among those
// that the system gives to outgoing connections.
func quietPorts(count int) (all []string, err error) {
	const first, last = 20000, 32000
	for range 100 * count {
		if len(all) == count {
			return all, nil
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first)))
		if l, e := net.Listen("tcp", addr); e == nil {
			defer func() { _ = l.Close() }() // all are held at once, so no two are the same
			all = append(all, addr)
		}
	}
	return nil, errors.New("no ports are free")
}

// whole waits until every node is there and up to date, and gives the one that leads.
func (n *nodes) whole(ctx context.Context) (leader int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, fmt.Errorf("the cluster is not whole within %v", readyWithin))
	defer cancel()
	for {
		leads := n.leader(ctx)
		if leads >= 0 {
			return leads, nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// roomsStream is the one partition of the rooms; beside it there is one of journals.
const roomsStream = "rooms_0"

// leader is the node that leads the rooms, if all say that all is well and that it does; -1 = not yet.
func (n *nodes) leader(ctx context.Context) int {
	leader := ""
	for _, p := range n.procs {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.at.http+"/cluster", nil)
		if err != nil {
			return -1
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return -1
		}
		var said struct {
			Ready      bool
			Partitions []struct {
				Stream, Leader string
				Replicas       []struct{ Alive, Current bool }
			}
		}
		err = errors.Join(json.NewDecoder(resp.Body).Decode(&said), resp.Body.Close())
		if err != nil || !said.Ready {
			return -1
		}
		for _, part := range said.Partitions {
			if part.Leader == "" || len(part.Replicas) != nodeCount-1 {
				return -1
			}
			for _, r := range part.Replicas {
				if !r.Alive || !r.Current {
					return -1
				}
			}
			if part.Stream != roomsStream {
				continue
			}
			if leader != "" && leader != part.Leader {
				return -1
			}
			leader = part.Leader
		}
	}
	i, err := strconv.Atoi(strings.TrimPrefix(leader, "n"))
	if err != nil || i < 1 || i > nodeCount {
		return -1
	}
	return i - 1
}

// target is the cluster as loads see it: members at one node, senders elsewhere.
func (n *nodes) target(members int, senders ...int) *target {
	t := &target{setup: n.setup, name: "3 nodes", proc: n.procs[members], addr: n.procs[members].at.tcp, pid: n.procs[members].cmd.Process.Pid}
	for _, i := range senders {
		t.senders = append(t.senders, n.procs[i].at.tcp)
	}
	return t
}

func (n *nodes) measure(ctx context.Context, c Cluster) error {
	leader, err := n.whole(ctx)
	if err != nil {
		return err
	}
	member, other := (leader+1)%nodeCount, (leader+2)%nodeCount
	all := n.target(leader, leader, member, other)
	all.others = []int{n.procs[member].cmd.Process.Pid, n.procs[other].cmd.Process.Pid}
	if err := n.row(ctx, "cluster publish", c.publish(), all); err != nil {
		return err
	}
	lone := c.fanout(memberRate)
	lone.Receivers, lone.Senders, lone.Samples = 1, 1, 1
	if err := n.row(ctx, "cluster, sent at one node and delivered at another", lone, n.target(member, other)); err != nil {
		return err
	}
	for _, rate := range []int{memberRate, 0} {
		if err := n.beside(ctx, c.fanout(rate), member, other); err != nil {
			return err
		}
	}
	return n.kills(ctx, c)
}

func (n *nodes) row(ctx context.Context, load string, l Load, t *target) error {
	row, err := l.run(ctx, t)
	if err != nil {
		return fmt.Errorf("%s: %w", load, t.proc.explain(err))
	}
	row.Load, row.Peer = load, t.name
	return n.setup.print([]Row{row})
}

// beside runs a fan-out on the member's node, and then on one node alone.
func (n *nodes) beside(ctx context.Context, f Fanout, member, other int) error {
	here, err := f.run(ctx, n.target(member, other))
	if err != nil {
		return fmt.Errorf("cluster fanout: %w", n.procs[member].explain(err))
	}
	alone := *n.setup
	rows, err := alone.rows(ctx, f)
	if err != nil {
		return fmt.Errorf("one node alone: %w", err)
	}
	here.Load, here.Peer, rows[0].Peer = "cluster fanout", "a member's node of 3", "one node alone"
	both := append([]Row{here}, rows...)
	return n.setup.print(append(both, ratios(both)...))
}
