package client

import (
	"context"
	"iter"
	"time"

	"parley"
)

// ReadOption says what part of a room to read.
type ReadOption func(*reading)

// reading is what [Room.Messages] or [Room.History] was asked for.
type reading struct {
	after  *uint64
	before *uint64
	last   int
	since  time.Time
	limit  int
	noEcho bool
	reader string
	joined func(seq uint64)

	cursor   string
	onCursor func(cursor string)

	presence func(Presence)
	signal   func(Signal)
}

func newReading(opts []ReadOption) *reading {
	r := new(reading)
	for _, set := range opts {
		set(r)
	}
	return r
}

// After reads what is behind the message with this seq; After(0) reads from the oldest on.
func After(seq uint64) ReadOption { return func(r *reading) { r.after = &seq } }

// Last begins with the newest n messages. For [Room.Messages].
func Last(n int) ReadOption { return func(r *reading) { r.last = n } }

// Since begins with the messages that are not older than t. For [Room.Messages].
func Since(t time.Time) ReadOption { return func(r *reading) { r.since = t } }

// Ago begins with the messages that are not older than d, by this machine's clock. For
// [Room.Messages].
func Ago(d time.Duration) ReadOption {
	return func(r *reading) { r.since = time.Now().Add(-d) }
}

// NoEcho leaves out the messages that this client has sent itself. For [Room.Messages].
func NoEcho() ReadOption { return func(r *reading) { r.noEcho = true } }

// AsReader goes on where the durable reader of that name is, which the server remembers: see
// [Room.Done]. One that has never been anywhere begins where the other options say, or with what is
// sent from now on. For [Room.Messages].
func AsReader(name string) ReadOption { return func(r *reading) { r.reader = name } }

// OnJoined has f called each time the room has been joined, with the seq of its newest message
// then, by the goroutine that iterates. What is sent to the room from the first call on is not
// missed. For [Room.Messages].
func OnJoined(f func(seq uint64)) ReadOption { return func(r *reading) { r.joined = f } }

// Before reads what is in front of the message with this seq. For [Room.History].
func Before(seq uint64) ReadOption { return func(r *reading) { r.before = &seq } }

// Limit bounds a page: 1 to [parley.MaxPage] messages. For [Room.History].
func Limit(n int) ReadOption { return func(r *reading) { r.limit = n } }

// stream checks what Messages was asked for.
func (r *reading) stream() error {
	starts := 0
	for _, given := range []bool{r.after != nil, r.last != 0, !r.since.IsZero(), r.cursor != ""} {
		if given {
			starts++
		}
	}
	switch {
	case starts > 1:
		return parley.Errorf(parley.BadRequest, "at most one of After, Last, Since and Behind")
	case r.last < 0:
		return parley.Errorf(parley.BadRequest, "Last is a number of messages")
	case r.before != nil || r.limit != 0:
		return parley.Errorf(parley.BadRequest, "Before and Limit are for History")
	}
	return nil
}

// page checks what History was asked for.
func (r *reading) page() error {
	switch {
	case r.after != nil && r.before != nil:
		return parley.Errorf(parley.BadRequest, "either Before or After")
	case r.last != 0 || !r.since.IsZero() || r.noEcho || r.reader != "" || r.joined != nil || r.presence != nil || r.signal != nil:
		return parley.Errorf(parley.BadRequest, "History takes Before, After and Limit")
	case r.limit < 0 || r.limit > parley.MaxPage:
		return parley.Errorf(parley.BadRequest, "Limit is from 1 to %d", parley.MaxPage)
	}
	return nil
}

// Messages iterates over the room's messages, as they come and in order, each once: from where
// [After], [Last] or [Since] says, or else those sent from now on. Ranging over it joins the room
// and ending the loop leaves it. It may be ranged over more than once; each time begins anew.
//
// It goes on until ctx ends or the client is closed, through lost connections and servers that
// cannot serve it for now, and resumes behind the last message. A *[Gap] among the errors ends
// nothing: the iteration goes on behind it. Any other error is the last thing it yields: that of
// ctx, [ErrClosed], or a *[parley.Error] where the server refuses the room for good.
//
// A consumer that is slower than the room slows nobody: some 1,000 messages are kept for it, and
// the rest is read again from the server's log as it catches up.
//
// A connection can be in a room once, or in one pattern that covers it, and in a limited number of rooms. An
// iterator beyond that gets a connection of its own, for as long as it lasts.
func (r *Room) Messages(ctx context.Context, opts ...ReadOption) iter.Seq2[*parley.Message, error] {
	return func(yield func(*parley.Message, error) bool) {
		asked := newReading(opts)
		err := r.fault
		if err == nil {
			err = asked.stream()
		}
		if err == nil {
			err = asked.cursors(r.name)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		sub, release, err := r.client.subscribe(r.name, asked)
		if err != nil {
			yield(nil, err)
			return
		}
		defer release()
		for {
			ev, err := sub.next(ctx)
			switch {
			case err != nil:
				yield(nil, err)
				return
			case ev.gap != nil:
				if !yield(nil, ev.gap) {
					return
				}
			case ev.cursor != "":
				sub.onCursor(ev.cursor)
			case !yield(ev.message, nil):
				return
			}
		}
	}
}

// subscribe makes a subscription on c's connection, or on one of its own where c is in the room
// already or in as many rooms as it may be.
func (c *Client) subscribe(room string, asked *reading) (sub *subscription, release func(), err error) {
	sub = newSubscription(c, room, asked)
	if c.claim(sub) {
		return sub, func() {
			sub.stop()
			c.unclaim(sub)
		}, nil
	}
	own, err := c.sibling()
	if err != nil {
		return nil, nil, err
	}
	sub.client = own
	return sub, own.Close, nil
}

// claim gives the room on c's connection to sub, if it is free.
func (c *Client) claim(sub *subscription) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs[sub.room] != nil || len(c.subs) >= c.welcomed.Rooms {
		return false
	}
	for _, other := range c.subs {
		if sub.overlaps(other) {
			return false
		}
	}
	c.subs[sub.room] = sub
	return true
}

func (c *Client) unclaim(sub *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.subs, sub.room)
}
