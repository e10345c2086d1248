package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"parley"
	"parley/wire"
)

// Bounds of one try to connect to one address.
const (
	dialWithin    = 10 * time.Second
	welcomeWithin = 10 * time.Second
)

// A session that lived this long was a good one, whatever came of it.
const goodLife = 5 * time.Second

// run keeps a connection until the client is closed or a server refuses it. s is the first one,
// connected already, or nil.
func (c *Client) run(s *session) {
	defer close(c.ended)
	var wait backoff
	var err error
	for {
		if s != nil {
			err = fmt.Errorf("%w: %w", errLost, s.serve(c.ctx))
			c.redirected(s.addr, err)
			if s.useful() {
				wait.reset()
			}
		}
		if c.ctx.Err() != nil {
			err = context.Cause(c.ctx)
			break
		}
		if c.opts.fixed && unauthorized(err) {
			break // there is no other token
		}
		pause := time.Duration(0)
		if err != nil {
			pause = wait.next(err)
			c.setStatus(Status{State: Reconnecting, Err: err, Retry: pause}, nil, nil)
		}
		c.out.detach(err)
		if s != nil {
			s.end()
		}
		sleep(c.ctx, pause)
		if s, err = c.dialRound(c.ctx); err == nil {
			c.connected(s)
		} else if !errors.Is(err, ErrConnect) && (c.opts.token == nil || c.opts.fixed || !unauthorized(err)) {
			break
		}
	}
	c.setStatus(Status{State: Closed, Err: err}, nil, err)
	if s != nil {
		s.end()
	}
	c.out.close(err)
	c.cancel(err)
}

// dialRound tries each address once, beginning behind the one tried last. An error that is not
// ErrConnect is final.
func (c *Client) dialRound(ctx context.Context) (*session, error) {
	var causes []error
	for _, addr := range c.targets() {
		c.tried = addr
		s, err := c.dial(ctx, addr)
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil:
			return nil, gaveUp(ctx, fmt.Errorf("%w to %s: %w", ErrConnect, addr, err))
		case refused(err):
			return nil, err
		}
		causes = append(causes, fmt.Errorf("%s: %w", addr, err))
	}
	if len(causes) == 1 {
		return nil, fmt.Errorf("%w to %w", ErrConnect, causes[0])
	}
	return nil, fmt.Errorf("%w: %w", ErrConnect, errors.Join(causes...))
}

// dial connects to one address and says hello there.
func (c *Client) dial(ctx context.Context, addr string) (*session, error) {
	op := wire.Op{Kind: wire.Hello}
	c.mu.Lock()
	op.Name = c.name
	c.mu.Unlock()
	if c.opts.token != nil {
		var err error
		if op.Token, err = c.opts.token(ctx); err != nil {
			return nil, fmt.Errorf("get a token: %w", err)
		}
	}
	dialing, stop := context.WithTimeout(ctx, dialWithin)
	l, err := dialLink(dialing, &c.opts, addr)
	stop()
	if err != nil {
		return nil, err
	}
	greeting, stop := context.WithTimeoutCause(ctx, welcomeWithin, errors.New("no welcome came"))
	defer stop()
	release := closeWith(greeting, l)
	f, err := greet(l, op)
	release()
	if greeting.Err() != nil {
		err = context.Cause(greeting)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	c.named(f.User, op)
	c.learn(addr, f.Servers)
	return newSession(c, l, addr, op.Token, f), nil
}

// named notes what the server called the client. A name that the server made is kept: to be the
// same sender after a reconnect is what makes ids work.
func (c *Client) named(user string, hello wire.Op) {
	c.identity.addUser(user)
	if hello.Name == "" && hello.Token == "" {
		c.mu.Lock()
		c.name = user
		c.mu.Unlock()
	}
}

// greet says hello and waits for the answer. Until it comes everything else is passed over: it
// may be the greeting, or anything that somebody says in the lobby, a forged welcome too. Nobody
// but the server knows the ref.
func greet(l link, op wire.Op) (*wire.Frame, error) {
	op.Ref = strconv.AppendQuote(nil, rand.Text())
	if err := l.WriteFrames([][]byte{wire.AppendOp(nil, op)}); err != nil {
		return nil, err
	}
	var said error // in a frame that answers nothing
	for {
		line, err := l.ReadFrame()
		if err != nil {
			if said != nil {
				err = fmt.Errorf("%w: %w", err, said)
			}
			return nil, err
		}
		f, err := wire.ParseFrame(line)
		if err == nil && f.Op == "error" && f.Ref == nil {
			said = errors.New(f.Err().Error()) // anybody's word, perhaps: it decides nothing
		}
		if err != nil || !bytes.Equal(f.Ref, op.Ref) {
			continue
		}
		switch f.Op {
		case "welcome":
			return f, nil
		case "error":
			return nil, f.Err()
		}
	}
}

// closeWith closes l when ctx ends, until release is called, which waits for a Close under way.
func closeWith(ctx context.Context, l link) (release func()) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		l.Close()
	})
	return func() {
		if !stop() {
			<-closed
		}
	}
}

// limitsOf reads what a welcome announced; what it left out is as the protocol's defaults say.
func limitsOf(f *wire.Frame) parley.Limits {
	limits := parley.DefaultLimits()
	for _, l := range []struct {
		limit *int
		said  int
	}{
		{&limits.Message, f.Limits.Message},
		{&limits.Frame, f.Limits.Frame},
		{&limits.Inflight, f.Limits.Inflight},
		{&limits.Rooms, f.Limits.Rooms},
	} {
		if l.said > 0 {
			*l.limit = l.said
		}
	}
	if f.Limits.DedupeMS > 0 {
		limits.Dedupe = time.Duration(f.Limits.DedupeMS) * time.Millisecond
	}
	return limits
}
