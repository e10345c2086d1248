package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// fault is what is done to a node, or to all, and how it heals.
type fault struct {
	pair  bool // it is between two nodes
	all   bool // it is done to all nodes
	begin func(r *run, p planned) error
	end   func(r *run, p planned) error
}

// faults by their names. Those that overlap may undo each other early; in the end everything heals.
var faults map[string]fault

func init() { // plan.go draws from it, and the functions below lead there
	faults = map[string]fault{
		"kill-9":        {begin: onNode((*node).kill), end: startAgain},
		"kill-9-all":    {all: true, begin: onAll((*node).kill), end: startAll},
		"restart":       {begin: onNode((*node).terminate), end: startAgain},
		"pause":         {begin: onNode((*node).pause), end: onNode((*node).resume)},
		"cut":           {pair: true, begin: cutBoth, end: healNetwork},
		"cut-one-way":   {pair: true, begin: cutOne, end: healNetwork},
		"isolated":      {begin: isolate, end: healNetwork},
		"isolated-pair": {pair: true, begin: isolatePair, end: healNetwork},
		"loss":          {begin: lose, end: healNetwork},
		"power-cut":     {begin: cutPower, end: startAgain},
		"power-cut-all": {all: true, begin: cutPowerAll, end: startAll},
		"dead-disk":     {begin: breakDisk, end: mendDisk},
		"dead-disk-all": {all: true, begin: breakDisks, end: mendDisks},
		"full-disk":     {begin: fillDisk, end: drainDisk},
	}
}

func (r *run) node(i int) *node { return r.nodes[i-1] }

func onNode(what func(*node)) func(*run, planned) error {
	return func(r *run, p planned) error { what(r.node(p.node)); return nil }
}

func onAll(what func(*node)) func(*run, planned) error {
	return func(r *run, _ planned) error { each(r.nodes, what); return nil }
}

func startAgain(r *run, p planned) error { return r.node(p.node).startIfDown() }

func startAll(r *run, _ planned) error {
	for _, n := range r.nodes {
		if err := n.startIfDown(); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) startIfDown() error {
	if n.died(); n.process != nil || n.disk.dead {
		return nil
	}
	return n.start()
}

func (n *node) pause() {
	n.signal(syscall.SIGSTOP)
	n.paused = true
}

func (n *node) resume() {
	n.signal(syscall.SIGCONT)
	n.paused = false
}

// drop has a host lose packets from another, all or some of them.
func drop(at, from int, how string) error {
	return on(at, fmt.Sprintf("iptables-legacy -A INPUT -s %s %s -j DROP", address(from), how))
}

func cutBoth(_ *run, p planned) error {
	return errors.Join(drop(p.node, p.other, ""), drop(p.other, p.node, ""))
}

func cutOne(_ *run, p planned) error { return drop(p.node, p.other, "") }

// isolate cuts a node off from the others; clients reach it.
func isolate(_ *run, p planned) error {
	for other := 1; other <= nodes; other++ {
		if other == p.node {
			continue
		}
		if err := errors.Join(drop(p.node, other, ""), drop(other, p.node, "")); err != nil {
			return err
		}
	}
	return nil
}

func isolatePair(_ *run, p planned) error {
	return errors.Join(isolatePort(p.node, "on"), isolatePort(p.other, "on"))
}

func isolatePort(host int, state string) error {
	return do(fmt.Sprintf("bridge link set dev pv%d isolated %s", host, state))
}

func lose(_ *run, p planned) error {
	for other := 1; other <= nodes; other++ {
		if other == p.node {
			continue
		}
		if err := drop(p.node, other, "-m statistic --mode random --probability 0.3"); err != nil {
			return err
		}
	}
	return nil
}

func healNetwork(_ *run, _ planned) error {
	var g errgroup.Group
	for host := 1; host <= nodes; host++ {
		g.Go(func() error {
			return errors.Join(on(host, "iptables-legacy -F INPUT"), isolatePort(host, "off"))
		})
	}
	return g.Wait()
}

// cutPower stops the node before its disk, so that nothing is done or heard after the cut.
func cutPower(r *run, p planned) error {
	n := r.node(p.node)
	n.pause()
	return errors.Join(n.disk.cut(), n.mend())
}

func cutPowerAll(r *run, _ planned) error {
	for _, n := range r.nodes {
		n.pause()
	}
	for _, n := range r.nodes {
		if err := n.disk.cut(); err != nil {
			return err
		}
	}
	return mendAll(r.nodes)
}

// breakDisk lets the node go on without its disk. A sync that is under way at the cut may be told
// that all went well, which no disk would say: so the node first stands still.
func breakDisk(r *run, p planned) error {
	n := r.node(p.node)
	if n.died(); n.process == nil || n.paused {
		return n.disk.cut()
	}
	n.asked = true // it may end of that
	n.pause()
	r.within(stillWithin, n.still)
	err := n.disk.cut()
	n.resume()
	return err
}

const stillWithin = 10 * time.Second

func breakDisks(r *run, _ planned) error {
	for _, n := range r.nodes {
		if err := breakDisk(r, planned{node: n.number}); err != nil {
			return err
		}
	}
	return nil
}

func mendDisk(r *run, p planned) error {
	n := r.node(p.node)
	return errors.Join(n.mend(), n.startIfDown())
}

func mendDisks(r *run, p planned) error {
	return errors.Join(mendAll(r.nodes), startAll(r, p))
}

func mendAll(all []*node) error {
	var g errgroup.Group
	for _, n := range all {
		g.Go(n.mend)
	}
	return g.Wait()
}

// mend ends the node where its disk is dead, and brings the disk up to what was synced.
func (n *node) mend() error {
	if !n.disk.dead {
		return nil
	}
	n.kill()
	if err := n.disk.unmount(); err != nil {
		return fmt.Errorf("unmount the disk of %s: %w", n.name(), err)
	}
	return n.disk.mount()
}

func fillDisk(r *run, p planned) error {
	err := r.node(p.node).disk.fill()
	if errors.Is(err, syscall.ENOSPC) || r.node(p.node).disk.dead { // the node was quicker, or it is worse
		return nil
	}
	return err
}

func drainDisk(r *run, p planned) error {
	if err := r.node(p.node).disk.drain(); err != nil && !errors.Is(err, os.ErrNotExist) && !r.node(p.node).disk.dead {
		return err
	}
	return nil
}

// heal undoes every fault there may be.
func (r *run) heal() error {
	if err := healNetwork(r, planned{}); err != nil {
		return err
	}
	if err := mendAll(r.nodes); err != nil {
		return err
	}
	for _, n := range r.nodes {
		n.resume()
		if err := drainDisk(r, planned{node: n.number}); err != nil {
			return err
		}
	}
	return startAll(r, planned{})
}
