package room

import (
	"context"
	"sync"
	"time"

	"parley"
	"parley/wire"
)

// Socket is what an outlet writes to. Calls are never concurrent but for Abort.
type Socket interface {
	// TryWrite writes what fits without waiting. n < len(p) with no error: the socket is full.
	TryWrite(p []byte) (n int, err error)
	// WaitWritable returns when some can be written, or the socket is closed.
	WaitWritable() error
	// Abort closes the socket; whoever waits on it, reading or writing, gets an error.
	Abort()
}

// maxReplies is how many bytes of answers may wait in an outlet before its session stops reading.
const maxReplies = 64 << 10

// Outlet is a session's way out: the answers to its operations and what the cursors of its rooms
// owe, written to one socket, each frame whole. A flusher or the pump writes, one at a time.
//
// Its methods may be called from any goroutine.
type Outlet struct {
	hub     *Hub
	sock    Socket
	session parley.SessionID

	task task // its place among the flushers' work

	mu      sync.Mutex
	user    string
	enc     wire.Encoding
	rest    []byte        // of the frame that is partly written: it goes first
	replies []byte        // whole frames, then
	members []*Member     // then what their cursors owe
	empty   chan struct{} // closed when few enough replies wait; nil when nobody waits for that
	enough  int           // how few
	warned  bool          // it was told that messages cannot be stored
	pumping bool          // the pump runs: flushers leave this outlet alone
	full    bool          // the socket took less than it was given
	dead    bool          // the socket is broken: nothing is written any more
	closed  bool          // the session is gone
}

// off says that nothing will be written any more.
func (o *Outlet) off() bool { return o.dead || o.closed }

// NewOutlet makes the way out of a session.
func (h *Hub) NewOutlet(sock Socket, session parley.SessionID, enc wire.Encoding) *Outlet {
	return &Outlet{hub: h, sock: sock, session: session, enc: enc}
}

// Reply queues an answer: frame appends it, whole, to a buffer of the outlet's. It never waits.
func (o *Outlet) Reply(frame func(enc wire.Encoding, dst []byte) []byte) {
	o.mu.Lock()
	if o.off() {
		o.mu.Unlock()
		return
	}
	o.replies = frame(o.enc, o.replies)
	busy := o.pumping
	o.mu.Unlock()
	if !busy {
		o.hub.flushers.add(o)
	}
}

// Ack queues the answer to a send, as Reply does.
func (o *Outlet) Ack(ref []byte, room string, r parley.Receipt) {
	o.mu.Lock()
	if o.off() {
		o.mu.Unlock()
		return
	}
	o.replies = o.enc.Ack(o.replies, ref, room, r)
	idle := len(o.replies) > 0 && !o.pumping
	o.mu.Unlock()
	if idle {
		o.hub.flushers.add(o)
	}
}

// Ready waits until few answers wait to be written, so that a client that does not read is not
// read either.
func (o *Outlet) Ready(ctx context.Context) error { return o.wait(ctx, maxReplies) }

// Drain waits until every answer is written.
func (o *Outlet) Drain(ctx context.Context) error { return o.wait(ctx, 0) }

func (o *Outlet) wait(ctx context.Context, enough int) error {
	for {
		o.mu.Lock()
		if o.off() {
			o.mu.Unlock()
			return context.Canceled
		}
		if o.owed() <= enough {
			o.mu.Unlock()
			return nil
		}
		if o.empty == nil {
			o.empty, o.enough = make(chan struct{}), enough
		}
		empty := o.empty
		o.mu.Unlock()
		select {
		case <-empty:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// owed counts the bytes of answers that wait, those of a frame begun included.
func (o *Outlet) owed() int { return len(o.rest) + len(o.replies) }

// User is the name its session goes by.
func (o *Outlet) User() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.user
}

// Encoding is what its session is written in.
func (o *Outlet) Encoding() wire.Encoding {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.enc
}

// Rename gives the outlet its session's name and encoding. A member's cursor keeps its place: it
// goes on with the next message in the new encoding.
func (o *Outlet) Rename(user string, enc wire.Encoding) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.user != user {
		o.user = user
		for _, m := range o.members {
			if m.many == nil {
				m.room.rename(m, user)
			}
		}
	}
	if o.enc == enc {
		return
	}
	o.enc = enc
	for _, m := range o.members {
		m.recode(enc)
	}
}

// Close ends the outlet: its members leave, nothing more is written.
func (o *Outlet) Close() {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	members := o.members
	o.shut()
	o.mu.Unlock()
	for _, m := range members {
		m.detach()
	}
}

// shut marks the outlet closed and lets go of what it holds.
func (o *Outlet) shut() {
	o.closed = true
	o.rest, o.replies, o.members = nil, nil, nil
	o.release()
}

// release wakes who waits for answers to be written.
func (o *Outlet) release() {
	if o.empty != nil && (o.off() || o.owed() <= o.enough) {
		close(o.empty)
		o.empty = nil
	}
}

// flush writes all that is owed, as far as the socket takes it: a flusher's work on an outlet.
func (o *Outlet) flush() (later time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.off() && !o.pumping {
		o.flushAll()
		o.settle()
	}
	return 0
}

// flushAll writes the answers, then what every member is owed.
func (o *Outlet) flushAll() {
	if !o.flushReplies() {
		return
	}
	for _, m := range o.members {
		v := m.room.view(m.strand.Load())
		if m.flush(o, &v); m.stale && !o.full && !o.off() {
			m.refresh(o)
		}
		if o.full || o.off() {
			return
		}
	}
}

// flushReplies writes the frame begun and the answers; false when the socket is full.
func (o *Outlet) flushReplies() bool {
	if len(o.rest) > 0 {
		n := o.write(o.rest)
		if o.rest = o.rest[n:]; len(o.rest) > 0 {
			return false
		}
		o.rest = nil
	}
	if len(o.replies) > 0 {
		n := o.write(o.replies)
		if o.replies = o.replies[n:]; len(o.replies) == 0 {
			o.replies = nil
		}
	}
	o.release()
	return !o.full && !o.off()
}

// write writes what fits and notes when the socket is full or broken.
func (o *Outlet) write(p []byte) int {
	if o.full || o.off() || len(p) == 0 {
		return 0
	}
	n, err := o.sock.TryWrite(p)
	switch {
	case err != nil:
		o.fail()
		return 0 // what was to be written is let go
	case n < len(p):
		o.full = true
	}
	return n
}

// fail ends an outlet whose socket is broken. The session notices by its read and closes it.
func (o *Outlet) fail() {
	o.sock.Abort()
	o.dead = true
	o.rest, o.replies = nil, nil
	o.release()
}

// settle starts the pump where a flusher could not finish: the socket is full, or a cursor has
// fallen behind its ring.
func (o *Outlet) settle() {
	if o.off() || o.pumping || (!o.full && o.laggard() == nil) {
		return
	}
	o.pumping = true
	o.hub.pumps.Add(1)
	go o.pump()
}

func (o *Outlet) laggard() *Member {
	for _, m := range o.members {
		if m.lagging {
			return m
		}
	}
	return nil
}
