package ws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"parley"
	"parley/quota"
	"parley/session"
	"parley/transport/sock"
	"parley/wire"
)

// Times of a connection.
const (
	messageTime = 60 * time.Second // a message that was begun must end
	finishTime  = 5 * time.Second  // the last answers must be written
)

// conn is one connection.
type conn struct {
	sock.Conn
	server  *Server
	session *session.Session
	slot    uint8 // of the heartbeat; fixed at birth

	// Owned by the goroutine that handles the connection.
	parser parser
	early  []byte    // what came right behind the handshake
	begun  time.Time // when a message began that has not ended; zero where none has

	heard  atomic.Bool // something was read since the heartbeat looked
	taking atomic.Bool // what was read is being carried out, and nothing more is read
	missed int         // pings without an answer; the heartbeat's

	dismissed atomic.Bool // told to go, and why

	retry atomic.Int64 // ms after which to come back; set before the connection is drained
	ended bool         // the close frame is queued; touched within Session.Append and Conclude alone
}

// Begin implements sock.Handler.
func (c *conn) Begin(ctx context.Context) error {
	early := c.early
	c.early = nil
	return c.Take(ctx, early)
}

// Take implements sock.Handler: it carries out the messages that are whole.
func (c *conn) Take(ctx context.Context, data []byte) error {
	c.heard.Store(true)
	c.taking.Store(true)
	defer c.taking.Store(false)
	for len(data) > 0 {
		m, rest, err := c.parser.next(data)
		if err != nil {
			return err
		}
		if err := c.handle(ctx, m); err != nil {
			return err
		}
		data = rest
	}
	switch {
	case len(c.parser.text) > session.HelloMost && c.session.Stranger():
		c.server.sessions.Quota.Count(quota.Frame)
		c.session.Refuse(nil, session.ErrStranger)
		return errStranger
	case c.parser.idle():
		c.begun = time.Time{}
	case c.begun.IsZero():
		c.begun = time.Now()
	}
	return nil
}

// handle acts on one message or control frame. A pong says nothing but that somebody is there.
func (c *conn) handle(ctx context.Context, m message) error {
	switch m.op {
	case ws.OpText:
		c.begun = time.Time{}
		return c.operation(ctx, m.data)
	case ws.OpPing:
		return c.pong(ctx, m.data)
	case ws.OpClose:
		return parseClose(m.data)
	}
	return nil
}

func (c *conn) operation(ctx context.Context, text []byte) error {
	op, err := wire.ParseOp(text)
	if err != nil {
		c.session.Refuse(op.Ref, err)
		return c.session.Paced(ctx)
	}
	return c.session.Do(ctx, &op)
}

// pong answers a ping. Pongs wait among the answers, and count to their bound: beyond it the
// client is not read, so that a flood of pings ends at its own socket.
func (c *conn) pong(ctx context.Context, data []byte) error {
	c.queue(ws.MustCompileFrame(ws.NewPongFrame(data)))
	return c.session.Paced(ctx)
}

// queue queues a control frame, unless the close frame is queued: nothing follows that.
func (c *conn) queue(frame []byte) {
	c.session.Append(func(_ wire.Encoding, dst []byte) []byte {
		if c.ended {
			return dst
		}
		return append(dst, frame...)
	})
}

// Deadline implements sock.Handler.
func (c *conn) Deadline() time.Time {
	if c.begun.IsZero() {
		return time.Time{}
	}
	return c.begun.Add(c.server.messageTime)
}

// Late implements sock.Handler.
func (c *conn) Late(context.Context) error {
	if c.begun.IsZero() {
		return nil
	}
	return errUnended
}

// pingFrame is what asks for a sign of life.
var pingFrame = ws.MustCompileFrame(ws.NewPingFrame(nil))

// beat is the heartbeat's turn: it asks for a sign of life if there was none since the last turn.
func (c *conn) beat() {
	switch {
	case c.heard.Swap(false), c.taking.Load() && c.written():
		c.missed = 0
	case c.missed == mayMiss:
		c.server.dead.Add(1)
		c.Abort()
	default:
		c.missed++
		c.queue(pingFrame)
	}
}

// written says whether the client has been sent every answer: then one that is not read is made to
// wait by the log, and is not to blame.
func (c *conn) written() (all bool) {
	c.session.Append(func(_ wire.Encoding, dst []byte) []byte {
		all = len(dst) == 0
		return dst
	})
	return all
}

// WaitWritable implements room.Socket. That a full socket takes bytes again is a sign of life: a
// client that reads slowly has much to read before our ping.
func (c *conn) WaitWritable() error {
	err := c.Conn.WaitWritable()
	if err == nil {
		c.heard.Store(true)
	}
	return err
}

// Leave implements session.Conn: the session was told why it ends.
func (c *conn) Leave() {
	c.dismissed.Store(true)
	c.Conn.Leave()
}

// tell says goodbye to a client before its connection is drained.
func (c *conn) tell(e *parley.Error) {
	c.retry.Store(e.Retry.Milliseconds())
	c.session.Append(func(enc wire.Encoding, dst []byte) []byte {
		if c.ended {
			return dst
		}
		return enc.Error(dst, nil, e)
	})
}

// End implements sock.Handler: what is in flight is answered, and a close frame ends it.
func (c *conn) End(ctx context.Context, err error) {
	c.server.beats.remove(c)
	if errors.Is(err, errTooBig) {
		c.server.sessions.Quota.Count(quota.Frame)
		c.session.Refuse(nil, parley.Errorf(parley.TooLarge, "a message has at most %d bytes", c.parser.limit))
	}
	last, ok := c.lastFrame(err)
	if c.Aborted() || !ok {
		c.session.Close()
		c.Close()
		return
	}
	wait, cancel := context.WithTimeout(ctx, finishTime)
	c.session.Conclude(wait, func(dst []byte) []byte {
		c.ended = true
		c.Cork()
		return append(dst, last...)
	})
	cancel()
	c.session.Close()
	c.Linger()
}

// lastFrame is the close frame that a connection ends with; none where the client has closed its
// side without one. False: the connection is broken, and nothing can be written.
func (c *conn) lastFrame(err error) ([]byte, bool) {
	var gone *farewell
	var fail *failure
	switch {
	case errors.As(err, &gone):
		return closeFrame(gone.code, ""), true
	case errors.As(err, &fail):
		c.server.refused.Add(1)
		c.server.config.Logger.Debug("a client was refused", "session", c.session.ID(), "err", err)
		return closeFrame(fail.code, fail.reason), true
	case errors.Is(err, session.ErrRefused), errors.Is(err, io.EOF) && c.dismissed.Load():
		c.server.refused.Add(1)
		return closeFrame(policyViolation, "the error frame in front of this says why"), true
	case errors.Is(err, session.ErrEnd):
		return closeFrame(normal, ""), true
	case errors.Is(err, io.EOF) && c.Leaving():
		return closeFrame(serviceRestart, fmt.Sprintf("the server is going away; retry_ms=%d", c.retry.Load())), true
	case errors.Is(err, io.EOF):
		return nil, true
	}
	return nil, false
}
