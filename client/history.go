package client

import (
	"context"
	"errors"
	"iter"
	"time"

	"parley"
	"parley/wire"
)

// History reads a page of the room: the newest messages, or with [Before] or [After] those next
// to a position; [Limit] of them, or [parley.DefaultPage]. They ascend. More says whether there
// are more in that direction.
//
// Like all calls that only ask, it is asked again after a lost connection, and where the server
// cannot answer for now, until ctx ends.
func (r *Room) History(ctx context.Context, opts ...ReadOption) (parley.Page, error) {
	asked := newReading(opts)
	if r.fault != nil {
		return parley.Page{}, r.fault
	}
	if err := asked.page(); err != nil {
		return parley.Page{}, err
	}
	f, err := r.client.call(ctx, func(ref []byte) []byte {
		return wire.AppendOp(nil, wire.Op{
			Kind: wire.History, Ref: ref, Room: r.name,
			After: asked.after, Before: asked.before, Limit: asked.limit,
		})
	})
	if err != nil {
		return parley.Page{}, err
	}
	page := parley.Page{Messages: make([]*parley.Message, len(f.Messages)), More: f.More}
	for i := range f.Messages {
		e := &f.Messages[i]
		e.Room = r.name
		if page.Messages[i], err = e.Decode(); err != nil {
			return parley.Page{}, err
		}
	}
	return page, nil
}

// Rooms iterates over the rooms that hold messages, by name. An error is the last thing it yields.
func (c *Client) Rooms(ctx context.Context) iter.Seq2[wire.RoomEntry, error] {
	return func(yield func(wire.RoomEntry, error) bool) {
		after := ""
		for more := true; more; {
			f, err := c.call(ctx, func(ref []byte) []byte {
				return wire.AppendOp(nil, wire.Op{Kind: wire.ListRooms, Ref: ref, AfterRoom: after, Limit: parley.MaxPage})
			})
			if err != nil {
				yield(wire.RoomEntry{}, err)
				return
			}
			for _, room := range f.Rooms {
				if !yield(room, nil) {
					return
				}
				after = room.Room
			}
			more = f.More && len(f.Rooms) > 0
		}
	}
}

// Members says who is in the room now: how many users, and the names of some of them. To be told
// of changes, use [OnPresence].
func (r *Room) Members(ctx context.Context) (users []string, count int, err error) {
	if r.fault != nil {
		return nil, 0, r.fault
	}
	f, err := r.client.call(ctx, func(ref []byte) []byte {
		return wire.AppendOp(nil, wire.Op{Kind: wire.Members, Ref: ref, Room: r.name})
	})
	if err != nil {
		return nil, 0, err
	}
	return wire.Users(f.Members), f.Count, nil
}

// Ping asks the server for a sign of life and says how long it took.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	var begun time.Time
	_, err := c.call(ctx, func(ref []byte) []byte {
		begun = time.Now()
		return wire.AppendOp(nil, wire.Op{Kind: wire.Ping, Ref: ref})
	})
	return time.Since(begun), err
}

// Rename has the server call the client by another name, where names are free, from now on. It
// waits for messages that were sent under the old name, since the same id under another name
// would be another message.
func (c *Client) Rename(ctx context.Context, name string) error {
	name, err := parley.ParseName(name)
	if err != nil {
		return err
	}
	op := wire.Op{Kind: wire.Hello, Name: name}
	if c.opts.token != nil {
		if op.Token, err = c.opts.token(ctx); err != nil {
			return err
		}
	}
	c.out.hold(true)
	defer c.out.hold(false)
	for _, p := range c.out.snapshot(func(p *Pending) bool { return !p.firstSent.IsZero() }) {
		if _, err := p.Wait(ctx); ctx.Err() != nil {
			return gaveUp(ctx, err)
		}
	}
	f, err := c.call(ctx, func(ref []byte) []byte {
		op.Ref = ref
		return wire.AppendOp(nil, op)
	})
	if err != nil {
		return err
	}
	c.identity.addUser(f.User)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.status.User = name, f.User
	return nil
}

// call asks for an operation and waits for its answer; encode writes it with a ref. It asks again
// after a lost connection and a temporary refusal, until ctx ends.
func (c *Client) call(ctx context.Context, encode func(ref []byte) []byte) (*wire.Frame, error) {
	var wait backoff
	for {
		s, err := c.session(ctx)
		if err != nil {
			return nil, err
		}
		reply := make(replyChan, 1)
		ref := s.askWith(reply, encode)
		select {
		case f := <-reply:
			if f == nil {
				continue
			}
			if f.Op != "error" {
				return f, nil
			}
			refusal := f.Err()
			if !temporary(refusal) {
				return nil, refusal
			}
			if !sleep(ctx, wait.next(refusal)) {
				return nil, gaveUp(ctx, refusal)
			}
		case <-ctx.Done():
			s.forget(ref)
			return nil, gaveUp(ctx, errUnanswered)
		}
	}
}

var errUnanswered = errors.New("the server has not answered")

// replyChan, of one, takes one answer; nil when it is lost.
type replyChan chan *wire.Frame

func (r replyChan) answer(f *wire.Frame) { r <- f }
func (r replyChan) lost()                { r <- nil }
