package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"parley/wire"
)

// Presence is who is in a room: users, each once however many connections it has there.
type Presence struct {
	Users []string // sorted; nil where the room has too many (200) to be told of by name
	Count int
}

// Signal is what another member has sent for now, without storing it.
type Signal struct {
	From string
	Body json.RawMessage
}

// OnPresence has f called with who is in the room, each time the room has been joined and each
// time that has changed, by the goroutine that iterates. It always gets the newest there is, and
// not each that was. For [Room.Messages].
func OnPresence(f func(Presence)) ReadOption { return func(r *reading) { r.presence = f } }

// OnSignal has f called with each signal of others in the room, by the goroutine that iterates.
// Some 64 are kept while that is busy; what comes beyond is lost. For [Room.Messages].
func OnSignal(f func(Signal)) ReadOption { return func(r *reading) { r.signal = f } }

// Signal passes v, as JSON of up to 4 KiB, to the other members of the room that can take it now;
// it is not stored. Only a member may: the client has to be iterating over the room's Messages.
//
// It waits until the server has seen it. It is never sent again; an error of the connection
// leaves open whether it was passed on.
func (r *Room) Signal(ctx context.Context, v any) error {
	if r.fault != nil {
		return r.fault
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a signal: %w", err)
	}
	s, err := r.client.session(ctx)
	if err != nil {
		return err
	}
	// A signal is answered only by an error. That comes before the answer to what is asked next.
	refused, passed := make(replyChan, 1), make(replyChan, 1)
	defer s.forget(s.ask(wire.Op{Kind: wire.Signal, Room: r.name, Body: body}, refused))
	ref := s.ask(wire.Op{Kind: wire.Ping}, passed)
	select {
	case f := <-passed:
		if f == nil {
			return errLost
		}
	case <-ctx.Done():
		s.forget(ref)
		return gaveUp(ctx, errUnanswered)
	}
	select {
	case f := <-refused:
		return f.Err()
	default:
		return nil
	}
}

// maxSignals bounds how many signals wait for a consumer.
const maxSignals = 64

// aside is what a subscription has for its consumer beside messages. Guarded by its mu.
type aside struct {
	users   map[string]bool // who is in the room; nil where they are not told by name
	count   int
	changed bool // since the consumer was told
	signals []Signal
}

// present takes the answer to a join, or a presence frame.
func (a *aside) present(f *wire.Frame) {
	a.count, a.changed = f.Count, true
	switch {
	case f.Members != nil:
		a.users = make(map[string]bool)
	case f.Joined == nil && f.Left == nil:
		a.users = nil
		return
	case a.users == nil:
		return
	}
	for _, m := range append(f.Members, f.Joined...) {
		a.users[m.User] = true
	}
	for _, m := range f.Left {
		delete(a.users, m.User)
	}
}

// take gives what the consumer is to be told.
func (a *aside) take() (p *Presence, signals []Signal) {
	if a.changed {
		p = &Presence{Count: a.count}
		if a.users != nil {
			p.Users = slices.Sorted(maps.Keys(a.users))
		}
	}
	signals = a.signals
	a.changed, a.signals = false, nil
	return p, signals
}

func (s *session) onPresence(f *wire.Frame) {
	s.aside(f, func(sub *subscription) {
		if sub.onPresence != nil {
			sub.aside.present(f)
			sub.notify()
		}
	})
}

func (s *session) onSignal(f *wire.Frame) {
	s.aside(f, func(sub *subscription) {
		if sub.onSignal != nil && len(sub.aside.signals) < maxSignals {
			sub.aside.signals = append(sub.aside.signals, Signal{From: f.From, Body: f.Body})
			sub.notify()
		}
	})
}

// aside finds the subscription that a frame is for and, if it is a member, calls take with its mu
// held.
func (s *session) aside(f *wire.Frame, take func(*subscription)) {
	sub := s.listener(f.Room)
	if sub == nil {
		return
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.state == member && sub.sess == s {
		take(sub)
	}
}
