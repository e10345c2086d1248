package relay

import (
	"context"
	"errors"
	"time"

	"parley"
	"parley/work"
)

// guest is a node in one of its lives, as an owner knows it; this node itself is one too. Guarded by
// the relay's mu.
type guest struct {
	name, life string
	seats      map[uint64]*seat
	served     map[uint64]*served
	order      []uint64 // of those that are answered, the oldest first
}

// served is a call that was taken, and its answer where there is one.
type served struct{ answer *note }

// seat is a worker's place in a group that is kept here. Guarded by the relay's mu.
type seat struct {
	seatName
	guest         *guest
	part          int
	since         time.Time
	taker         *work.Taker // nil until it has one
	stopped, left bool
}

// guest finds a node; r.mu is held. One of which no beat has come yet is known from now on, so that it is
// missed when it falls silent.
func (r *Relay) guest(name, life string) *guest {
	if r.peers[name] == nil && name != r.name {
		r.peers[name] = &peer{life: life, heard: time.Now()}
	}
	g := r.guests[name]
	if g == nil || g.life != life {
		if g != nil && !r.closed {
			gone := g
			r.running.Go(func() { r.dismiss(gone) })
		}
		g = &guest{name: name, life: life, seats: make(map[uint64]*seat), served: make(map[uint64]*served)}
		r.guests[name] = g
	}
	return g
}

// outdated says whether a note is of a life of its node that is over.
func (r *Relay) outdated(from, life string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[from]
	return p != nil && life < p.life
}

// serve takes what a node says or asks for.
func (r *Relay) serve(from string, n *note) {
	switch n.Kind {
	case noteLeave:
		r.leave(from, n)
	case noteHere:
		r.compare(from, n)
	case callTake, callChange, callStop, callDone, callRetry, callRelease, callFail, callBusy,
		callPutBack, callGroups, callRemove:
		select {
		case r.turns <- struct{}{}:
		default:
			return // it will be asked for again
		}
		if !r.spawn(func() {
			defer func() { <-r.turns }()
			r.serveCall(from, n)
		}) {
			<-r.turns
		}
	}
}

// serveCall does what a call asks for, once, and answers it each time that it comes.
func (r *Relay) serveCall(from string, n *note) {
	if from == r.name {
		n.Life = r.life
	}
	r.mu.Lock()
	g := r.guest(from, n.Life)
	if known := g.served[n.ID]; known != nil {
		again := known.answer
		r.mu.Unlock()
		if again != nil {
			r.reply(from, *again)
		}
		return
	}
	g.served[n.ID] = new(served)
	r.mu.Unlock()
	tell := func(a note) {
		a.Kind, a.ID = noteAnswer, n.ID
		r.remember(g, a)
		r.reply(from, a)
	}
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	switch n.Kind {
	case callTake:
		r.place(ctx, g, n, tell)
	case callChange, callStop:
		r.change(g, n)
		tell(note{})
	case callBusy:
		d, err := r.Work.Busy(ctx, n.Room, n.Job, n.Time)
		tell(outcome(note{Time: d}, err))
	case callPutBack:
		told := func(receipt parley.Receipt, err error) {
			tell(outcome(note{Seq: receipt.Seq, Before: receipt.Duplicate}, err))
		}
		if err := r.Work.PutBack(ctx, n.Room, n.Letter, told); err != nil {
			told(parley.Receipt{}, err)
		}
	case callGroups:
		list, err := r.Work.Groups(ctx, n.Room)
		tell(outcome(note{Groups: list}, err))
	case callRemove:
		a := outcome(note{}, r.Work.Remove(ctx, n.Room, n.Group))
		a.Unsure = a.Again // it goes on by itself
		tell(a)
	default:
		told := func(seq uint64, err error) { tell(outcome(note{Seq: seq}, err)) }
		if err := r.finish(ctx, n, told); err != nil {
			told(0, err)
		}
	}
}

// finish settles a job.
func (r *Relay) finish(ctx context.Context, n *note, told work.Told) error {
	switch n.Kind {
	case callRetry:
		return r.Work.Retry(ctx, n.Room, n.Job, n.Delay, n.Reason, told)
	case callRelease:
		return r.Work.Release(ctx, n.Room, n.Job, told)
	case callFail:
		return r.Work.Fail(ctx, n.Room, n.Job, n.Reason, told)
	}
	return r.Work.Done(ctx, n.Room, n.Job, told)
}

// outcome puts an error into an answer.
func outcome(a note, err error) note {
	if err == nil {
		return a
	}
	if a.Again, a.Unsure = work.Again(err); a.Again {
		return a
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		a.Again = true
		return a
	}
	e := parley.AsError(err)
	a.Code, a.Message = e.Code, e.Message
	return a
}

// remember keeps an answer for when it is asked for again. What is to be asked again is done anew, and so
// is a list, which changes nothing and may be long.
func (r *Relay) remember(g *guest, a note) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.Again || len(a.Groups) > 0 {
		delete(g.served, a.ID)
		return
	}
	if s := g.served[a.ID]; s != nil {
		s.answer = &a
	}
	if g.order = append(g.order, a.ID); len(g.order) > maxRemember {
		delete(g.served, g.order[0])
		g.order = g.order[1:]
	}
}

func (r *Relay) reply(to string, a note) {
	if to == r.name {
		r.answered(to, &a)
	} else {
		r.send(to, &a)
	}
}

// place gives a worker its place in a group.
func (r *Relay) place(ctx context.Context, g *guest, n *note, tell func(note)) {
	if n.After == nil {
		there, err := r.Work.Has(ctx, n.Room, n.Group)
		if err != nil || !there {
			tell(outcome(note{Begin: err == nil}, err))
			return
		}
	}
	s := &seat{seatName: seatName{n.Taker, n.Try}, guest: g, part: r.Part(n.Room), since: time.Now(), stopped: n.Stopped}
	r.mu.Lock()
	old := g.seats[n.Taker]
	if old != nil && old.Try >= n.Try { // an earlier call than the one that was served
		r.mu.Unlock()
		tell(note{Again: true})
		return
	}
	g.seats[n.Taker] = s
	s.left = r.guests[g.name] != g
	r.mu.Unlock()
	old.leave(r)
	taker, err := r.Work.Take(ctx, work.Taking{
		Room: n.Room, Group: n.Group, Prefetch: n.Prefetch, Parallel: n.Parallel, Tries: n.Tries,
		Deadline: n.Time, Holds: n.Holds,
		Begin: func(context.Context) (after uint64, err error) {
			if n.After != nil {
				after = *n.After
			}
			return after, nil
		},
		Taken: func() { tell(note{}) },
		Give:  func(j *parley.Job) { r.give(s, j) },
	})
	r.mu.Lock()
	if err != nil && g.seats[n.Taker] == s {
		delete(g.seats, n.Taker)
	}
	s.taker = taker
	stopped, left := s.stopped, s.left
	r.mu.Unlock()
	switch {
	case err != nil:
		tell(outcome(note{}, err))
	case left:
		taker.Leave()
	case stopped:
		taker.Stop()
	}
}

// give passes a job to the node of its worker. The group's mu is held.
func (r *Relay) give(s *seat, j *parley.Job) {
	n := &note{Kind: noteJob, Taker: s.Taker, Try: s.Try, Given: j}
	if s.guest.name == r.name {
		r.got(n)
	} else {
		r.send(s.guest.name, n)
	}
}

// change does what a worker says of its place.
func (r *Relay) change(g *guest, n *note) {
	r.mu.Lock()
	s := g.seats[n.Taker]
	if s == nil || s.Try != n.Try {
		r.mu.Unlock()
		return
	}
	s.stopped = s.stopped || n.Kind == callStop
	taker := s.taker
	r.mu.Unlock()
	switch {
	case taker == nil:
	case n.Kind == callStop:
		taker.Stop()
	default:
		taker.Change(work.Taking{Prefetch: n.Prefetch, Parallel: n.Parallel, Tries: n.Tries, Deadline: n.Time})
	}
}

// leave ends a worker's place.
func (r *Relay) leave(from string, n *note) {
	if from == r.name {
		n.Life = r.life
	}
	r.mu.Lock()
	var s *seat
	if g := r.guests[from]; g != nil && g.life == n.Life {
		if s = g.seats[n.Taker]; s != nil && s.Try == n.Try {
			delete(g.seats, n.Taker)
		} else {
			s = nil
		}
	}
	r.mu.Unlock()
	s.leave(r)
}

// leave gives what the worker holds to others.
func (s *seat) leave(r *Relay) {
	if s == nil {
		return
	}
	r.mu.Lock()
	s.left = true
	taker := s.taker
	r.mu.Unlock()
	if taker != nil {
		taker.Leave()
	}
}

// dismiss ends the places of all workers of a node that is gone. Those that had stopped hold what they
// hold until its deadline, as where their request is over.
func (r *Relay) dismiss(g *guest) {
	if g == nil {
		return
	}
	var takers []*work.Taker
	r.mu.Lock()
	for _, s := range g.seats {
		if s.left = s.left || !s.stopped; s.left && s.taker != nil {
			takers = append(takers, s.taker)
		}
	}
	r.mu.Unlock()
	for _, t := range takers {
		t.Leave()
	}
}

// compare holds the places that a node's workers have against those that it says they have.
func (r *Relay) compare(from string, n *note) {
	said := make(map[seatName]bool, len(n.Seats))
	for _, s := range n.Seats {
		said[s] = true
	}
	var gone []*seat
	now := time.Now()
	r.mu.Lock()
	g := r.guest(from, n.Life)
	for id, s := range g.seats {
		if said[s.seatName] {
			delete(said, s.seatName)
		} else if now.Sub(s.since) > silentFor {
			delete(g.seats, id)
			if !s.stopped { // else it holds what it holds until its deadline
				gone = append(gone, s)
			}
		}
	}
	r.mu.Unlock()
	for _, s := range gone {
		s.leave(r)
	}
	if len(said) == 0 {
		return
	}
	over := &note{Kind: noteOver}
	for s := range said {
		over.Seats = append(over.Seats, s)
	}
	r.send(from, over)
}

// closeSeats forgets the places in the groups of a part that is kept here no more, and says so.
func (r *Relay) closeSeats(part int) {
	over := make(map[string]*note)
	r.mu.Lock()
	for name, g := range r.guests {
		for id, s := range g.seats {
			if s.part != part {
				continue
			}
			delete(g.seats, id)
			if over[name] == nil {
				over[name] = &note{Kind: noteOver}
			}
			over[name].Seats = append(over[name].Seats, s.seatName)
		}
	}
	r.mu.Unlock()
	for name, n := range over {
		if name == r.name {
			r.over(n)
		} else {
			r.send(name, n)
		}
	}
}
