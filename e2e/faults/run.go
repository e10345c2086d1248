package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"parley/e2e/history"
)

// run is one run of the campaign.
type run struct {
	dir   string
	plan  []planned
	nodes []*node
	rec   *history.Recorder
	posts *http.Client

	publishers []*publisher
	readers    []*reader
	rooms      []string
	turns      atomic.Int64 // beginnings and ends of faults so far

	ended  chan struct{}   // closed when publishers make no more messages
	quiet  chan struct{}   // closed when the faults are over
	over   context.Context // ends when all clients go
	finish context.CancelFunc
}

// What is waited for, each for so long. No run that goes well waits for it.
const (
	patience      = 60 * time.Second // nodes that are ready, publishers that are done
	membersWithin = rightWithin      // nodes that agree who is there
)

func (r *run) going() bool  { return r.over.Err() == nil }
func (r *run) loaded() bool { return closed(r.ended) }
func (r *run) calm() bool   { return closed(r.quiet) }

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// rest waits, but not longer than the run.
func (r *run) rest(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.over.Done():
	}
}

func (r *run) trouble(format string, args ...any) {
	r.rec.Add(history.Event{Type: "info", Op: "trouble", Reason: fmt.Sprintf(format, args...)})
}

func (r *run) acked(id string, seq uint64, duplicate bool) {
	r.rec.Add(history.Event{Type: "ok", Op: "publish", ID: id, Seq: seq, Dup: duplicate})
}

// perform does a run in a directory of its own, where the history and the nodes' logs stay. course is what
// happens in it.
func perform(dir, program string, course func(*run) error, plan []planned) (list []history.Event, err error) {
	r := &run{dir: dir, plan: plan, ended: make(chan struct{}), quiet: make(chan struct{})}
	r.posts = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer r.posts.CloseIdleConnections()
	r.over, r.finish = context.WithCancel(context.Background())
	defer r.finish()
	if r.rec, err = history.Create(filepath.Join(dir, "history.jsonl")); err != nil {
		return nil, err
	}
	defer func() { _ = r.rec.Close() }()
	defer r.clear()
	if err := r.build(program); err != nil {
		return nil, err
	}
	if err := course(r); err != nil {
		return nil, err
	}
	return r.rec.Events()
}

// build makes the nodes and starts them.
func (r *run) build(program string) error {
	secret := filepath.Join(r.dir, "secret")
	if err := os.WriteFile(secret, []byte("known to these three alone\n"), 0o600); err != nil {
		return err
	}
	for i := 1; i <= nodes; i++ {
		n := &node{number: i, program: program, secret: secret, rec: r.rec}
		var err error
		if n.disk, err = newDisk(filepath.Join(r.dir, fmt.Sprint("disk", i))); err != nil {
			return err
		}
		r.nodes = append(r.nodes, n)
		if n.log, err = os.OpenFile(filepath.Join(r.dir, n.name()+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		if err := n.start(); err != nil {
			return err
		}
	}
	return r.allReady()
}

// clear takes the nodes and their disks away.
func (r *run) clear() {
	_ = healNetwork(r, planned{}) // in the next run the network is whole
	for _, n := range r.nodes {
		n.kill()
		_ = n.disk.remove()
		if n.log != nil {
			_ = n.log.Close()
		}
	}
}

// allReady waits until every node stores messages.
func (r *run) allReady() error {
	late := time.Now().Add(patience)
	for _, n := range r.nodes {
		for !n.ready() {
			if n.died() {
				return fmt.Errorf("%s has ended", n.name())
			}
			if time.Now().After(late) {
				return fmt.Errorf("%s was not ready within %v", n.name(), patience)
			}
			r.rest(20 * time.Millisecond)
		}
	}
	return nil
}

// course is the run itself. What a node fails to do is in the history; an error is the machine's.
func (r *run) course() error {
	var sending, reading sync.WaitGroup
	r.clients()
	for _, p := range r.publishers {
		sending.Go(p.publish)
	}
	for _, c := range r.readers {
		reading.Go(c.read)
	}
	reading.Go(func() { r.passBy("a") })
	defer func() { r.finish(); sending.Wait(); reading.Wait() }()
	if err := r.faults(); err != nil {
		return err
	}
	if err := r.allReady(); err != nil {
		r.trouble("with all faults healed: %v", err)
		return nil
	}
	r.event("recovered", 0)
	close(r.quiet)
	r.rest(time.Second) // the load goes on for a moment
	close(r.ended)
	if !r.within(patience, func() bool { return r.unsent() == 0 }) {
		r.trouble("with all faults healed, %d messages were not taken within %v", r.unsent(), patience)
		return nil
	}
	sending.Wait()
	r.settle()
	r.everybodyStays()
	r.presence()
	r.finish()
	reading.Wait()
	each(r.nodes, (*node).terminate)
	each(r.nodes, (*node).checkLog)
	return nil
}

// clients makes the publishers and readers.
func (r *run) clients() {
	quiet := []string{"q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"}
	r.rooms = append([]string{"a", "b"}, quiet...)
	publish := func(transport string, rooms ...string) {
		name := fmt.Sprintf("p%d", len(r.publishers))
		r.publishers = append(r.publishers, &publisher{run: r, name: name, transport: transport, rooms: rooms})
	}
	read := func(room string, transports ...string) {
		for _, t := range transports {
			r.readers = append(r.readers, &reader{run: r, name: fmt.Sprintf("r%d", len(r.readers)), transport: t, room: room})
		}
	}
	publish("tcp", "a")
	publish("tcp", "a", "b")
	publish("ws", "a")
	publish("ws", "b")
	publish("http", "a", "b")
	publish("plain", "a")
	publish("tcp", quiet...)
	publish("ws", quiet...)
	for _, p := range r.publishers[len(r.publishers)-2:] {
		p.fading = true
	}
	read("a", "tcp", "ws", "sse", "plain")
	read("b", "tcp", "ws", "sse", "plain")
	busy := len(r.readers)
	for i, room := range quiet {
		read(room, []string{"tcp", "ws", "sse"}[i%3], "tcp")
	}
	for _, c := range r.readers[busy:] {
		c.steady = true
	}
}

// faults brings the plan about, and heals.
func (r *run) faults() error {
	type step struct {
		at time.Duration
		do func() error
	}
	var steps []step
	for _, p := range r.plan {
		steps = append(steps, step{p.at, func() error {
			r.event(p.kind, p.node)
			defer r.turns.Add(1)
			return faults[p.kind].begin(r, p)
		}}, step{p.at + p.lasts, func() error {
			r.turns.Add(1) // who was cut off has not heard the last messages of another room
			r.event("end of "+p.kind, p.node)
			return faults[p.kind].end(r, p)
		}})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.at - b.at) })
	began := time.Now()
	for _, s := range steps {
		r.rest(s.at - time.Since(began))
		if err := s.do(); err != nil {
			return err
		}
		for _, n := range r.nodes {
			n.died()
		}
	}
	r.rest(500 * time.Millisecond)
	r.event("heal", 0)
	return r.heal()
}

// event writes down a fault, or what ends it.
func (r *run) event(name string, host int) {
	e := history.Event{Type: "info", Op: "fault", Name: name}
	if host > 0 {
		e.Node = r.node(host).name()
	}
	r.rec.Add(e)
}

// within asks again and again until ok holds; false when it has not.
func (r *run) within(d time.Duration, ok func() bool) bool {
	for late := time.Now().Add(d); !ok(); r.rest(20 * time.Millisecond) {
		if time.Now().After(late) {
			return false
		}
	}
	return true
}

func (r *run) unsent() (n int64) {
	for _, p := range r.publishers {
		n += p.left.Load()
	}
	return n
}

// caughtUp says whether every reader has its room's last message. A plain one that came later than
// that has nothing to read.
func (r *run) caughtUp(held map[string][]history.Item) bool {
	for _, c := range r.readers {
		if !c.stays.Load() {
			return false
		}
		items, seen := held[c.room], c.seen.Load()
		if len(items) == 0 || (seen == nil && c.transport == "plain") {
			continue
		}
		if seen == nil || *seen != items[len(items)-1].Msg {
			return false
		}
	}
	return true
}
