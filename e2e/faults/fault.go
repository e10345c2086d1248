package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

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
		"power-cut":     {begin: cutPower, end: powerOn},
		"power-cut-all": {all: true, begin: cutPowerAll, end: powerOnAll},
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
	if n.died(); n.process != nil {
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

func cutPower(r *run, p planned) error {
	n := r.node(p.node)
	if err := n.disk.cut(); err != nil {
		return err
	}
	n.kill()
	return remount(n)
}

// remount brings the disk up to what was synced.
func remount(n *node) error {
	if err := n.disk.unmount(); err != nil {
		return fmt.Errorf("unmount the disk of %s: %w", n.name(), err)
	}
	return n.disk.mount()
}

func powerOn(r *run, p planned) error { return startAgain(r, p) }

func cutPowerAll(r *run, _ planned) error {
	for _, n := range r.nodes {
		if err := n.disk.cut(); err != nil {
			return err
		}
	}
	each(r.nodes, (*node).kill)
	var g errgroup.Group
	for _, n := range r.nodes {
		g.Go(func() error { return remount(n) })
	}
	return g.Wait()
}

func powerOnAll(r *run, p planned) error { return startAll(r, p) }

func fillDisk(r *run, p planned) error {
	err := r.node(p.node).disk.fill()
	if errors.Is(err, syscall.ENOSPC) { // the node was quicker: it is full all the same
		return nil
	}
	return err
}

func drainDisk(r *run, p planned) error {
	if err := r.node(p.node).disk.drain(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// heal undoes every fault there may be.
func (r *run) heal() error {
	if err := healNetwork(r, planned{}); err != nil {
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
