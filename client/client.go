package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"parley"
)

// Client is a program's way to a Parley server. It keeps one connection, makes a new one when it
// is lost, and takes up there what was under way: no call has to be repeated.
//
// All its methods, and those of its rooms, may be called by many goroutines at once.
type Client struct {
	// Fixed at birth.
	opts     options
	addrs    []string
	identity *identity // shared with the siblings
	out      *outbox
	ctx      context.Context // ends at Close
	cancel   context.CancelCauseFunc
	ended    chan struct{} // closed when run has returned
	refs     atomic.Uint64

	// Owned by the goroutine that connects.
	learned []string // addresses, beside those given, of which the last server told
	tried   string   // the address tried last

	mu       sync.Mutex
	name     string // said at the next hello
	status   Status
	welcomed parley.Limits // those of the connection, or of the last one
	sess     *session      // the connection, if there is one
	ready    chan struct{} // closed when sess is set or fault is
	fault    error         // final; nil while the client lives
	subs     map[string]*subscription
	siblings sync.WaitGroup // of clients made by sibling
}

// Status is how a client stands.
type Status struct {
	State State
	Addr  string        // of the server, or of the last one
	User  string        // who the client is, in the server's word
	Err   error         // why it is not connected; nil when it is
	Retry time.Duration // when reconnecting: how long until the next try

	// Unavailable says why the server, though the client is connected, stores nothing for now: it cannot reach
	// enough of its cluster. "" = it does, as far as it has said: it tells clients that read a room.
	Unavailable string
}

// State is the one word of a [Status].
type State int

// The states of a client.
const (
	Reconnecting State = iota // the connection is lost, and the client is making another
	Connected
	Closed // for good: by Close, or since the server will not have this client
)

var stateNames = [...]string{Reconnecting: "reconnecting", Connected: "connected", Closed: "closed"}

// String gives the state's name: reconnecting, connected or closed.
func (s State) String() string {
	if s >= 0 && int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", int(s))
}

// Connect connects to the first server that will have the client; addrs are comma-separated
// addresses of servers that are all the same to it: host:port (port 8000 where there is none),
// tls://host:port, or the URL of a WebSocket, ws://host:port/ws or wss://host/ws.
//
// It tries each address once. Where none can be reached it fails with [ErrConnect]; where a
// server refuses the client, with a *[parley.Error] of code unauthorized or denied. Later, a lost
// connection is made anew, for ever, until Close; ctx is for Connect alone.
func Connect(ctx context.Context, addrs string, opts ...Option) (*Client, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	parsed, err := parseAddrs(addrs)
	if err != nil {
		return nil, err
	}
	c := newClient(context.Background(), o, parsed, newIdentity())
	dialing, stop := context.WithCancel(ctx)
	defer stop()
	s, err := c.dialRound(dialing)
	if err != nil {
		c.cancel(err)
		return nil, err
	}
	c.connected(s)
	go c.run(s)
	return c, nil
}

func newClient(ctx context.Context, o options, addrs []string, id *identity) *Client {
	c := &Client{
		opts:     o,
		addrs:    addrs,
		identity: id,
		out:      newOutbox(o.maxOutbox),
		ended:    make(chan struct{}),
		name:     o.name,
		ready:    make(chan struct{}),
		subs:     make(map[string]*subscription),
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	return c
}

// sibling makes a client for the same user on a connection of its own. It connects in its own
// time. It ends at its Close, which the caller owes, or earlier with c.
func (c *Client) sibling() (*Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		return nil, c.fault
	}
	o := c.opts
	o.status = nil
	s := newClient(c.ctx, o, c.addrs, c.identity)
	s.name = c.name
	c.siblings.Add(1)
	go func() {
		defer c.siblings.Done()
		s.run(nil)
	}()
	return s, nil
}

// Room gives a room by its name. No room has to be made; a name that cannot be one is reported
// by the calls on it. The name may be a pattern, as orders.*.new or orders.**: then Messages gives those
// of all rooms that fit, and nothing else can be done with it.
func (c *Client) Room(name string) *Room {
	parsed, err := parseRooms(name)
	if err != nil {
		return &Room{client: c, name: name, fault: err}
	}
	return &Room{client: c, name: parsed}
}

// Room is a room as a client uses it. It holds nothing: make one wherever it is needed.
type Room struct {
	client *Client
	name   string
	fault  error // of the name
}

// Name is the room's name, in NFC.
func (r *Room) Name() string { return r.name }

// Status says how the client stands now.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Close ends the connection, all iterators and calls, and waits for the client's goroutines. It
// does not wait for messages that are on their way; see [Client.Flush].
func (c *Client) Close() {
	c.cancel(ErrClosed)
	<-c.ended
	c.siblings.Wait()
}

// Flush waits until every message that was given to PublishAsync before has its answer.
func (c *Client) Flush(ctx context.Context) error {
	for _, p := range c.out.snapshot(func(*Pending) bool { return true }) {
		select {
		case <-p.done:
		case <-ctx.Done():
			return gaveUp(ctx, c.Status().Err)
		}
	}
	return nil
}

// session waits for a connection.
func (c *Client) session(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		s, ready, fault, obstacle := c.sess, c.ready, c.fault, c.status.Err
		c.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return nil, gaveUp(ctx, obstacle)
		case fault != nil:
			return nil, fault
		case s != nil:
			return s, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
		}
	}
}

// connected readies the client for work on s.
func (c *Client) connected(s *session) {
	c.out.attach(s)
	c.setStatus(Status{State: Connected, Addr: s.addr, User: s.user}, s, nil)
}

// setStatus notes how the client stands and reports it. s is the connection, if there is one;
// fault, if set, ends the client.
func (c *Client) setStatus(st Status, s *session, fault error) {
	c.mu.Lock()
	if st.Addr == "" {
		st.Addr = c.status.Addr
	}
	if st.User == "" {
		st.User = c.status.User
	}
	c.status, c.sess, c.fault = st, s, fault
	if s != nil {
		c.welcomed = s.limits
	}
	open := s == nil && fault == nil // nothing is there: have callers wait
	select {
	case <-c.ready:
		if open {
			c.ready = make(chan struct{})
		}
	default:
		if !open {
			close(c.ready)
		}
	}
	c.mu.Unlock()
	if st.Err != nil && !errors.Is(st.Err, ErrClosed) {
		c.opts.log.Info("not connected", "error", st.Err, "retry", st.Retry)
	}
	if c.opts.status != nil {
		c.opts.status(st)
	}
}
