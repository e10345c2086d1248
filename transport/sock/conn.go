// Package sock is TCP connections below net's buffering, for transports that hold very many of
// them: reads take a buffer only when there is something to read, writes never wait, and a
// connection in which nothing happens has no goroutine. With TLS on them it is the same.
//
// A [Listener] accepts connections, hears from a proxy whose they are, and shakes hands for TLS.
// A transport embeds a [Conn] in its own connection, which is the Conn's [Handler], and hands it to
// a [Set], which runs it, lets it sleep, and drains it. The package knows nothing of what is said.
package sock

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Handler is what a transport does with a connection. One goroutine at a time calls it.
type Handler interface {
	// Begin is called once, first.
	Begin(ctx context.Context) error
	// Take takes what was read; data is the handler's until it returns.
	Take(ctx context.Context, data []byte) error
	// Deadline is when Late is to be called if nothing is read before; zero: never, and the
	// connection may sleep.
	Deadline() time.Time
	// Late is called when the deadline has passed.
	Late(ctx context.Context) error
	// End is called once, last, and closes the connection. err is what one of the others returned,
	// or the read: io.EOF when the client has closed its side or the set is drained.
	End(ctx context.Context, err error)
}

// Conn is a connection. As a room.Socket its TryWrite and WaitWritable are called by one goroutine
// at a time, Abort by any.
type Conn struct {
	socket
	set     *Set
	handler Handler
	leaving atomic.Int32 // staying until drain or Abort
	armed   time.Time    // the read deadline in force; owned by the reading goroutine

	// For the sweeper and the sleeper.
	reads  atomic.Int32 // counts reads, to see whether there are any
	swept  int32        // reads at the last sweep; the sweeper's
	asleep atomic.Bool  // has no goroutine
	drowsy atomic.Bool  // nothing was read for a while: sleep
	fd     int32        // while it is asleep; guarded by the sleeper's mu
}

// What leaving says.
const (
	staying int32 = iota
	drained       // told to go: what is in flight is answered first
	aborted       // the socket is closed under it
)

var errAsleep = errors.New("gone to sleep") // ends its goroutine; another will go on

// past is a deadline that has passed: setting it ends a read that waits.
var past = time.Unix(1, 0)

// Leaving says that the connection is drained or aborted: nothing is read from it any more.
func (c *Conn) Leaving() bool { return c.leaving.Load() != staying }

// Aborted says that nothing can be written any more.
func (c *Conn) Aborted() bool { return c.leaving.Load() == aborted }

// Addr is the client's address: what a proxy that is listed has said, else of who is at the other end.
func (c *Conn) Addr() net.Addr {
	if c.client != nil {
		return c.client
	}
	return c.conn.RemoteAddr()
}

// Secure says whether there is TLS on the connection.
func (c *Conn) Secure() bool { return c.tls != nil }

// Close closes the connection.
func (c *Conn) Close() {
	c.farewell()
	_ = c.conn.Close()
}

// Abort closes the connection under whoever uses it.
func (c *Conn) Abort() {
	c.leaving.Store(aborted)
	c.set.sleeper.wake(c) // before the descriptor can be another's
	_ = c.conn.Close()
}

// Leave ends the reading of the connection, as a drain of its set does: End is called with io.EOF, and
// what is in flight may be answered. Any goroutine may call it.
func (c *Conn) Leave() {
	c.leaving.CompareAndSwap(staying, drained)
	_ = c.conn.SetReadDeadline(past) // a broken connection ends by itself
	c.set.sleeper.wake(c)
}

// serve is the connection's life.
func (c *Conn) serve(ctx context.Context) {
	if err := c.handler.Begin(ctx); err != nil {
		c.end(ctx, err)
		return
	}
	c.run(ctx)
}

// run reads the client until it leaves; or until nothing has happened for a while, when the sleeper
// takes over and begins another run when something does.
func (c *Conn) run(ctx context.Context) {
	var err error
	for err == nil {
		if err = c.next(ctx); errors.Is(err, errAsleep) {
			if c.set.sleeper.add(c) {
				return
			}
			err = nil
		}
	}
	c.end(ctx, err)
}

func (c *Conn) end(ctx context.Context, err error) {
	defer c.set.forget(c)
	c.handler.End(ctx, err)
}

// next waits for bytes, or for a deadline to pass, and acts on it.
func (c *Conn) next(ctx context.Context) error {
	if err := c.arm(); err != nil {
		return err
	}
	data, err := c.read()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.armed = past // whoever set it, the sweeper perhaps: it is set again before the next read
		switch {
		case c.Leaving():
			return io.EOF
		case !c.drowsy.Swap(false):
			return c.handler.Late(ctx)
		case c.handler.Deadline().IsZero() && !c.held: // what TLS holds, the sleeper would not see
			return errAsleep
		}
		return nil
	}
	if err != nil {
		return err
	}
	c.reads.Add(1)
	err = c.handler.Take(ctx, data)
	c.release()
	return err
}

// arm sets the read deadline that the handler asks for, where it is another than the one in force.
func (c *Conn) arm() error {
	if at := c.handler.Deadline(); !at.Equal(c.armed) {
		if err := c.conn.SetReadDeadline(at); err != nil {
			return err
		}
		c.armed = at
	}
	if c.Leaving() { // looked at behind the deadline: drain sets its own behind leaving
		return io.EOF
	}
	return nil
}
