package tcp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"parley"
	"parley/quota"
	"parley/room"
	"parley/session"
	"parley/transport/sock"
	"parley/wire"
)

// Times of a connection.
const (
	showAfter  = 300 * time.Millisecond // a silent client is shown the lobby
	frameTime  = 60 * time.Second       // likewise a JSON frame
	finishTime = 5 * time.Second        // the last answers must be written
)

// Greeting is what a client reads first.
const Greeting = "Welcome to the messaging system!"

// speech is what a connection speaks.
type speech uint8

const (
	undecided speech = iota // the first line has not ended
	plainLines
	jsonLines
)

// conn is one connection. Its fields are owned by the goroutine that handles it.
type conn struct {
	sock.Conn
	server  *Server
	session *session.Session

	speech  speech
	room    string      // a plain client's room; "" until it is shown the lobby
	watch   *room.Watch // of the lobby, from accept until the first line is decided
	partial []byte      // of a line that has not ended
	head    [5]byte     // what came first
	heads   int         // how much of it

	opened time.Time
	begun  time.Time // when the first bytes of partial came; zero where there are none
}

// errRefused ends a connection that was told why.
var errRefused = session.ErrRefused

// End implements sock.Handler: what the client began is finished, what is in flight answered.
func (c *conn) End(ctx context.Context, err error) {
	if errors.Is(err, io.EOF) {
		err = c.lastLine(ctx)
	}
	if !c.Aborted() && !broken(err) {
		wait, cancel := context.WithTimeout(ctx, finishTime)
		c.session.Finish(wait)
		cancel()
	}
	c.session.Close()
	if c.watch != nil {
		c.watch.Close()
	}
	if errors.Is(err, errRefused) {
		c.server.refused.Add(1)
		c.Linger()
		return
	}
	c.Close()
}

// broken says whether a connection can take no last answers.
func broken(err error) bool {
	return err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errRefused) && !errors.Is(err, session.ErrEnd)
}

// Begin implements sock.Handler: it greets the client and takes its place in the lobby: what is said from now on is for it.
func (c *conn) Begin(ctx context.Context) (err error) {
	c.session.Raw(Greeting + "\n")
	if c.watch, err = c.server.sessions.Hub.Watch(ctx, c.server.config.Lobby); err != nil {
		return c.refuse(err)
	}
	return nil
}

// Deadline implements sock.Handler.
func (c *conn) Deadline() time.Time {
	switch {
	case len(c.partial) == 0 && c.speech == undecided && c.watch != nil:
		return c.opened.Add(showAfter) // once: it may not be let into the lobby then
	case len(c.partial) == 0:
		return time.Time{}
	case c.speech == jsonLines:
		return c.begun.Add(frameTime)
	case c.handshaking():
		if limit := c.server.sessions.Bounds().Handshake; limit > 0 {
			return c.begun.Add(limit)
		}
		return time.Time{}
	case c.holds():
		return time.Time{}
	}
	return time.Now().Add(c.server.config.Pause)
}

// holds says that what was begun must end with a newline: it is no plain line that a pause ends.
func (c *conn) holds() bool {
	return c.server.config.Pause < 0 || c.speech == jsonLines || heldAuth(c.partial) ||
		c.speech == undecided && heldBack(c.partial)
}

// handshaking says that a line is begun which may say who the client is, or what it speaks.
func (c *conn) handshaking() bool {
	return c.holds() && (c.speech == undecided || heldAuth(c.partial))
}

// Late implements sock.Handler.
func (c *conn) Late(ctx context.Context) error {
	switch {
	case len(c.partial) == 0:
		return c.showLobby(ctx)
	case c.holds():
		if c.handshaking() {
			c.server.sessions.Quota.Count(quota.Handshake)
		}
		return c.refuse(parley.Errorf(parley.BadRequest, "a line was begun and not ended"))
	}
	return c.finishLine(ctx)
}

// lastLine is what happens when the client has closed its side: what it began is a line, unless it
// was a frame that breaks off.
func (c *conn) lastLine(ctx context.Context) error {
	if c.Leaving() || len(c.partial) == 0 {
		return io.EOF
	}
	if c.holds() && c.server.config.Pause >= 0 && !wholeObject(c.partial) {
		return c.refuse(parley.Errorf(parley.BadRequest, "the connection ended within a line"))
	}
	return c.finishLine(ctx)
}

// finishLine takes what was begun as a line.
func (c *conn) finishLine(ctx context.Context) error {
	line := c.partial
	c.partial, c.begun = nil, time.Time{}
	return c.line(ctx, line)
}

// Take implements sock.Handler: it splits what was read into lines. A line may begin in one read
// and end in another.
func (c *conn) Take(ctx context.Context, data []byte) error {
	if c.speech == undecided && len(c.partial) == 0 && isTLS(data) {
		return c.refuse(errTLS)
	}
	if c.claims(data) {
		return c.refuse(errProxy)
	}
	for len(data) > 0 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return c.keep(data)
		}
		line := data[:i]
		if len(c.partial) > 0 {
			if err := c.keep(line); err != nil {
				return err
			}
			line = c.partial
		}
		c.partial, c.begun = nil, time.Time{}
		if err := c.line(ctx, line); err != nil {
			return err
		}
		data = data[i+1:]
	}
	return nil
}

// keep holds the beginning of a line until the rest comes, within the limit.
func (c *conn) keep(data []byte) error {
	if len(c.partial) == 0 {
		c.begun = time.Now()
	}
	if len(c.partial)+len(data) > c.limit(c.partial, data)+1 { // a CR may come on top
		return c.tooLong()
	}
	if len(c.partial)+len(data) > session.HelloMost && c.session.Stranger() {
		c.server.sessions.Quota.Count(quota.Frame)
		return c.refuse(session.ErrStranger)
	}
	c.partial = append(c.partial, data...)
	return nil
}

// limit is how long a line may be that begins with head, or with data where head is empty.
func (c *conn) limit(head, data []byte) int {
	if len(head) == 0 {
		head = data
	}
	limits := c.server.sessions.Bounds()
	if c.speech == jsonLines || (c.speech == undecided && len(head) > 0 && head[0] == '{') {
		return limits.Frame
	}
	return limits.Message
}

func (c *conn) tooLong() error {
	c.server.sessions.Quota.Count(quota.Frame)
	return c.refuse(parley.Errorf(parley.TooLarge, "a line has at most %d bytes", c.limit(c.partial, nil)))
}

// line acts on one line, without its newline.
func (c *conn) line(ctx context.Context, line []byte) error {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) > c.limit(line, nil) {
		return c.tooLong()
	}
	switch c.speech {
	case undecided:
		return c.decide(ctx, line)
	case plainLines:
		return c.plainLine(ctx, line)
	default:
		return c.jsonLine(ctx, line)
	}
}

// jsonLine acts on one line of a JSON client: an operation. Empty lines are nothing.
func (c *conn) jsonLine(ctx context.Context, line []byte) error {
	if len(line) == 0 {
		return nil
	}
	op, err := wire.ParseOp(line)
	if err != nil {
		c.session.Refuse(op.Ref, err)
		return c.session.Paced(ctx)
	}
	return c.session.Do(ctx, &op)
}

// refuse tells the client why and ends the connection.
func (c *conn) refuse(err error) error {
	c.session.Refuse(nil, err)
	return errRefused
}
