package relay

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"parley/work"
)

// stopWithin is how long Stop waits for the owner: after that jobs that still come are dropped, and
// given to others when their deadline is over.
const stopWithin = time.Second

// taker is a session's place in a group, wherever that is kept.
type taker struct {
	relay  *Relay
	id     uint64
	part   int
	taking work.Taking

	turn sync.Mutex // held while Give is called; may be taken with a group's mu held, and before the relay's

	// Guarded by the relay's mu.
	at      string // the owner it has its place with; "" = none
	try     uint64
	asking  bool // for a place
	again   time.Time
	after   *uint64 // behind which message the group begins, once somebody had to know
	stopped bool
	silent  bool // Stop has returned: no more jobs come
	left    bool
	holds   map[string]hold // jobs, by their names
	turns   uint64          // jobs that it was given ever
}

// hold is a job that a worker has: until when, and the how many-th that it was given it is.
type hold struct {
	until time.Time
	turn  uint64
}

// Take implements work.Books.
func (r *Relay) Take(ctx context.Context, taking work.Taking) (work.Worker, error) {
	t := &taker{
		relay: r, part: r.Part(taking.Room), taking: taking,
		holds: make(map[string]hold),
	}
	r.mu.Lock()
	t.id = r.nextID()
	r.takers[t.id] = t
	t.asking = true
	r.mu.Unlock()
	placed := make(chan error, 1)
	t.seek(ctx, func(err error) { placed <- err })
	select {
	case err := <-placed:
		if err == nil {
			return t, nil
		}
		t.Leave()
		return nil, err
	case <-ctx.Done():
		t.Leave()
		return nil, ctx.Err()
	}
}

// seek asks the owner for a place. first, where not nil, is told what came of it: the session waits.
// The caller has set asking.
func (t *taker) seek(ctx context.Context, first func(error)) {
	r := t.relay
	r.mu.Lock()
	t.try++
	try := t.try
	n := &note{
		Kind: callTake, Taker: t.id, Try: try, Room: t.taking.Room, Group: t.taking.Group, Stopped: t.stopped,
		Prefetch: t.taking.Prefetch, Parallel: t.taking.Parallel, Tries: t.taking.Tries, Time: t.taking.Deadline, After: t.after,
		Holds: slices.SortedFunc(maps.Keys(t.holds), func(a, b string) int {
			return cmp.Compare(t.holds[a].turn, t.holds[b].turn)
		}),
	}
	r.mu.Unlock()
	r.ask(t.part, n, func(a answer) {
		if a.begin {
			if !r.spawn(func() { t.begin(ctx, first) }) && first != nil {
				first(errEnding)
			}
			return
		}
		r.mu.Lock()
		t.asking = false
		left := t.left
		var missed []*note // what was said in the meantime
		if a.err == nil {
			t.at = a.from
			if now := t.changing(); now.Prefetch != n.Prefetch || now.Parallel != n.Parallel || now.Tries != n.Tries || now.Time != n.Time {
				missed = append(missed, now)
			}
			if t.stopped && !n.Stopped {
				missed = append(missed, &note{Kind: callStop, Taker: t.id, Try: try})
			}
		} else {
			t.again = time.Now().Add(askAgain)
		}
		r.mu.Unlock()
		if left && a.err == nil {
			r.tellLeft(a.from, t.id, try)
			missed = nil
		}
		for _, m := range missed {
			r.spawn(func() { r.ask(t.part, m, func(answer) {}) })
		}
		if first != nil {
			if a.err == nil && t.taking.Taken != nil {
				t.taking.Taken()
			}
			first(a.err)
		}
	})
}

// begin finds out where a group begins that is not there, and seeks again.
func (t *taker) begin(ctx context.Context, first func(error)) {
	var after uint64
	var err error
	if t.taking.Begin != nil {
		ctx, cancel := context.WithTimeout(ctx, patience)
		after, err = t.taking.Begin(ctx)
		cancel()
	}
	r := t.relay
	if err == nil {
		r.mu.Lock()
		t.after = &after
		r.mu.Unlock()
		t.seek(ctx, first)
		return
	}
	r.mu.Lock()
	t.asking, t.again = false, time.Now().Add(askAgain)
	r.mu.Unlock()
	if first != nil {
		first(err)
	}
}

// Change implements work.Worker.
func (t *taker) Change(to work.Taking) {
	r := t.relay
	r.mu.Lock()
	t.taking.Prefetch, t.taking.Parallel, t.taking.Tries, t.taking.Deadline = to.Prefetch, to.Parallel, to.Tries, to.Deadline
	n := t.changing()
	r.mu.Unlock()
	r.ask(t.part, n, func(answer) {})
}

// changing tells an owner what the worker wants by now. The relay's mu is held.
func (t *taker) changing() *note {
	return &note{
		Kind: callChange, Taker: t.id, Try: t.try,
		Prefetch: t.taking.Prefetch, Parallel: t.taking.Parallel, Tries: t.taking.Tries, Time: t.taking.Deadline,
	}
}

// Holds implements work.Worker.
func (t *taker) Holds() int {
	t.relay.mu.Lock()
	defer t.relay.mu.Unlock()
	return len(t.holds)
}

// Stop implements work.Worker. Jobs that are on their way come before it returns.
func (t *taker) Stop() {
	r := t.relay
	r.mu.Lock()
	again := t.stopped
	t.stopped = true
	n := &note{Kind: callStop, Taker: t.id, Try: t.try}
	r.mu.Unlock()
	if again {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	r.await(ctx, t.part, n)
	t.turn.Lock()
	defer t.turn.Unlock()
	t.taking.Give = nil
	r.mu.Lock()
	t.silent = true
	r.mu.Unlock()
}

// Leave implements work.Worker.
func (t *taker) Leave() {
	r := t.relay
	t.turn.Lock()
	t.taking.Give = nil
	t.turn.Unlock()
	r.mu.Lock()
	again := t.left
	t.left, t.stopped = true, true
	at, try := t.at, t.try
	r.dropTaker(t)
	r.mu.Unlock()
	if !again && at != "" {
		r.tellLeft(at, t.id, try)
	}
}

// tellLeft tells an owner that a worker is gone. Where that is lost, it shows when this node next says
// which workers it has.
func (r *Relay) tellLeft(at string, id, try uint64) {
	n := &note{Kind: noteLeave, Taker: id, Try: try}
	if at == r.name {
		r.serve(r.name, n)
	} else {
		r.send(at, n)
	}
}

// dropTaker forgets a worker. r.mu is held.
func (r *Relay) dropTaker(t *taker) {
	delete(r.takers, t.id)
	for name := range t.holds {
		delete(r.held, name)
	}
	clear(t.holds)
}

// got passes a job to its worker.
func (r *Relay) got(n *note) {
	r.mu.Lock()
	t := r.takers[n.Taker]
	if t == nil || n.Try != t.try || t.left {
		r.mu.Unlock()
		return // it was given by an owner that is none any more
	}
	r.mu.Unlock()
	t.turn.Lock()
	defer t.turn.Unlock()
	if t.taking.Give == nil {
		return
	}
	r.mu.Lock()
	if n.Try != t.try {
		r.mu.Unlock()
		return
	}
	t.turns++
	t.holds[n.Given.Job] = hold{time.Now().Add(n.Given.Deadline), t.turns}
	r.held[n.Given.Job] = t
	r.mu.Unlock()
	t.taking.Give(n.Given)
}

// letGo notes that a job is held no more.
func (r *Relay) letGo(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.held[name]; t != nil {
		delete(r.held, name)
		delete(t.holds, name)
	}
}

// extend notes that a job is held for so long from now on.
func (r *Relay) extend(name string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.held[name]; t != nil {
		t.holds[name] = hold{time.Now().Add(d), t.holds[name].turn}
	}
}

// over takes places that an owner does not know: the workers seek others.
func (r *Relay) over(n *note) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range n.Seats {
		if t := r.takers[s.Taker]; t != nil && t.try == s.Try {
			t.at = ""
		}
	}
}

// lookAfterTakers has workers whose owner has changed seek their place, and tells owners who is here.
func (r *Relay) lookAfterTakers(now time.Time) {
	var seek []*taker
	here := make(map[string][]seatName)
	r.mu.Lock()
	tell := now.Sub(r.here) >= 2*beatEvery
	for _, t := range r.takers {
		for name, h := range t.holds {
			if now.After(h.until) {
				delete(t.holds, name)
				delete(r.held, name)
			}
		}
		owner := r.routes[t.part]
		if t.at != "" && t.at != owner && owner != "" {
			t.at = ""
		}
		switch {
		case t.asking || t.left:
		case t.silent && len(t.holds) == 0:
			r.dropTaker(t)
			if g := r.guests[r.name]; g != nil {
				delete(g.seats, t.id) // other owners see that it is gone by what this node says it has
			}
		case t.at == "" && owner != "" && now.After(t.again):
			t.asking = true
			seek = append(seek, t)
		case tell && t.at != "" && t.at != r.name:
			here[t.at] = append(here[t.at], seatName{t.id, t.try})
		}
	}
	if tell {
		r.here = now
		for name := range r.peers { // those too with which nobody has a place
			if here[name] == nil {
				here[name] = []seatName{}
			}
		}
	}
	r.mu.Unlock()
	for _, t := range seek {
		r.spawn(func() { t.seek(r.ctx, nil) })
	}
	if !tell {
		return
	}
	for node, seats := range here {
		r.send(node, &note{Kind: noteHere, Seats: seats})
	}
}
