package relay

import (
	"context"
	"time"

	"parley"
	"parley/work"
)

// call is something that a part's owner is asked for. Guarded by the relay's mu.
type call struct {
	id     uint64
	part   int
	note   *note
	due    time.Time // when it fails
	to     string    // who was asked last; "" = nobody, or in vain
	sent   time.Time
	unsure bool // an owner that is none any more may have done it
	done   func(answer)
}

// answer is what came of a call.
type answer struct {
	seq    uint64
	time   time.Duration
	from   string
	begin  bool
	before bool // it was done already when it was asked for
	groups []work.GroupInfo
	err    error
}

// ask has a part's owner asked until it answers, or patience ends. done is called once, and must not
// block.
func (r *Relay) ask(part int, n *note, done func(answer)) {
	now := time.Now()
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		done(answer{err: errEnding})
		return
	}
	c := &call{id: r.nextID(), part: part, note: n, due: now.Add(patience), done: done}
	n.ID = c.id
	r.calls[c.id] = c
	send := r.aim(c, now)
	r.mu.Unlock()
	send()
}

// await is ask for who can wait.
func (r *Relay) await(ctx context.Context, part int, n *note) answer {
	c := make(chan answer, 1)
	r.ask(part, n, func(a answer) { c <- a })
	select {
	case a := <-c:
		return a
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	}
}

// aim has a call go to the owner, by the function that it returns. r.mu is held.
func (r *Relay) aim(c *call, now time.Time) (send func()) {
	owner := r.routes[c.part]
	if c.to, c.sent = owner, now; owner == "" {
		return func() {}
	}
	n := *c.note
	if owner == r.name {
		return func() { r.serveCall(r.name, &n) }
	}
	return func() { r.send(owner, &n) }
}

// lookAfterCalls asks again where that is of use, and ends what took too long.
func (r *Relay) lookAfterCalls(now time.Time) {
	var sends []func()
	var over []*call
	r.mu.Lock()
	for id, c := range r.calls {
		owner := r.routes[c.part]
		switch {
		case now.After(c.due):
			delete(r.calls, id)
			over = append(over, c)
			continue
		case owner == "" || now.Sub(c.sent) < lookEvery:
			continue
		case c.to != "" && c.to != owner:
			if r.peers[c.to] != nil && now.Sub(c.sent) < askAgain {
				continue // who was replaced knows best what it has done
			}
			c.unsure = true
		case c.to == owner && now.Sub(c.sent) < askAgain:
			continue
		}
		if send := r.aim(c, now); owner == r.name {
			r.running.Go(send)
		} else {
			sends = append(sends, send)
		}
	}
	r.mu.Unlock()
	for _, send := range sends {
		send()
	}
	for _, c := range over {
		c.done(answer{err: c.tooLate()})
	}
}

// tooLate says why a call has no answer.
func (c *call) tooLate() error {
	if c.unsure || c.to != "" {
		return errLost
	}
	return errNobody
}

// answered takes an answer.
func (r *Relay) answered(from string, n *note) {
	r.mu.Lock()
	c := r.calls[n.ID]
	switch {
	case c == nil || n.Again && from != c.to:
		r.mu.Unlock()
		return
	case n.Again:
		c.unsure = c.unsure || n.Unsure
		c.to, c.sent = "", time.Now()
		r.mu.Unlock()
		return
	}
	delete(r.calls, n.ID)
	unsure := c.unsure
	r.mu.Unlock()
	a := answer{seq: n.Seq, time: n.Time, from: from, begin: n.Begin, before: n.Before, groups: n.Groups}
	if n.Code != "" {
		a.err = parley.Errorf(n.Code, "%s", n.Message)
		if unsure && n.Code == parley.NotFound { // it may be this call that has finished it
			if a.err = errLost; c.note.Kind == callRemove {
				a.err = nil // whoever has done it
			}
		}
	}
	c.done(a)
}

// Done implements work.Books.
func (r *Relay) Done(_ context.Context, room, name string, told work.Told) error {
	return r.settle(&note{Kind: callDone, Room: room, Job: name}, told)
}

// Retry implements work.Books.
func (r *Relay) Retry(_ context.Context, room, name string, delay *time.Duration, reason string, told work.Told) error {
	return r.settle(&note{Kind: callRetry, Room: room, Job: name, Delay: delay, Reason: reason}, told)
}

// Release implements work.Books.
func (r *Relay) Release(_ context.Context, room, name string, told work.Told) error {
	return r.settle(&note{Kind: callRelease, Room: room, Job: name}, told)
}

// Fail implements work.Books.
func (r *Relay) Fail(_ context.Context, room, name, reason string, told work.Told) error {
	return r.settle(&note{Kind: callFail, Room: room, Job: name, Reason: reason}, told)
}

func (r *Relay) settle(n *note, told work.Told) error {
	r.ask(r.Part(n.Room), n, func(a answer) {
		if a.err == nil || parley.AsError(a.err).Code != parley.Unavailable {
			r.letGo(n.Job)
		}
		if told != nil {
			told(a.seq, a.err)
		}
	})
	return nil
}

// Busy implements work.Books.
func (r *Relay) Busy(ctx context.Context, room, name string, d time.Duration) (time.Duration, error) {
	a := r.await(ctx, r.Part(room), &note{Kind: callBusy, Room: room, Job: name, Time: d})
	if a.err == nil {
		r.extend(name, a.time)
	}
	return a.time, a.err
}

// PutBack implements work.Books.
func (r *Relay) PutBack(_ context.Context, room string, letter uint64, told func(parley.Receipt, error)) error {
	r.ask(r.Part(room), &note{Kind: callPutBack, Room: room, Letter: letter}, func(a answer) {
		told(parley.Receipt{Seq: a.seq, Duplicate: a.before}, a.err)
	})
	return nil
}

// Groups implements work.Books.
func (r *Relay) Groups(ctx context.Context, room string) ([]work.GroupInfo, error) {
	a := r.await(ctx, r.Part(room), &note{Kind: callGroups, Room: room})
	return a.groups, a.err
}

// Remove implements work.Books.
func (r *Relay) Remove(ctx context.Context, room, name string) error {
	return r.await(ctx, r.Part(room), &note{Kind: callRemove, Room: room, Group: name}).err
}
