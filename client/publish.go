package client

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"parley"
	"parley/wire"
)

// Receipt says that a message is durable, and where it is.
type Receipt struct {
	Room      string `json:"room"`
	Seq       uint64 `json:"seq"`
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate,omitempty"` // it was stored before, under this id
}

// PublishOption sets something of one message.
type PublishOption func(*wire.Op)

// AsJSON says that the body is a JSON value. It is stored compact, keys and numbers as written.
func AsJSON() PublishOption { return WithType(parley.JSON) }

// AsBinary says that the body is any bytes.
func AsBinary() PublishOption { return WithType(parley.Binary) }

// WithType says what the body is: [parley.Text] where nothing is said.
func WithType(t parley.Type) PublishOption { return func(op *wire.Op) { op.Type = t } }

// WithID sets the message's id: 1 to 128 bytes of printable ASCII. The server stores the first of
// those that one sender sends to a room under one id, within its dedupe window (10 minutes by
// default), and answers the others with its seq. Without it the client makes an id.
func WithID(id string) PublishOption { return func(op *wire.Op) { op.ID = id } }

// WithKey has workers do the jobs of one key one at a time, in the order sent.
func WithKey(key string) PublishOption { return func(op *wire.Op) { op.JobKey = key } }

// WithPriority has workers be given the job before those of a lower priority: 0 to [wire.MaxPriority].
func WithPriority(p int) PublishOption { return func(op *wire.Op) { op.Priority = p } }

// WithDue has the server keep the message until a time, at most 366 days away, and send it to the room then.
// It is durable when that is acknowledged, and has no seq yet: the receipt's is 0.
func WithDue(at time.Time) PublishOption { return func(op *wire.Op) { op.Due = at } }

// WithDelay has the server keep the message so long, at most 366 days, from when it takes it; likewise. Only
// one of the two can be given.
func WithDelay(d time.Duration) PublishOption { return func(op *wire.Op) { op.Wait = d } }

// WithTTL has workers not be given the job once it is older than d.
func WithTTL(d time.Duration) PublishOption { return func(op *wire.Op) { op.TTL = d } }

// Publish sends a message and returns when it is durable.
//
// After a lost connection, and where the server cannot take it for now, it sends again under the
// same id, until ctx ends: without a deadline it may wait for ever. If it was sent but not
// answered then, the error is [ErrUnknown] too. What the server refuses for good is a
// *[parley.Error]. The client keeps body until Publish returns.
func (r *Room) Publish(ctx context.Context, body []byte, opts ...PublishOption) (Receipt, error) {
	p, err := r.PublishAsync(ctx, body, opts...)
	if err != nil {
		return Receipt{}, err
	}
	<-p.done // ends with ctx
	return p.receipt, p.err
}

// PublishAsync puts a message on its way and returns what to wait on. The messages that one
// goroutine sends to one room are stored in the order it sent them, also across lost connections;
// only one that the server refuses for now (unavailable, rate_limited) can land behind those that
// were under way with it.
//
// It blocks while the outbox is full; see [WithMaxOutbox]. ctx is the message's life: when it
// ends, the message is given up, so do not cancel it before Wait has returned. body is free for
// use when PublishAsync returns.
func (r *Room) PublishAsync(ctx context.Context, body []byte, opts ...PublishOption) (*Pending, error) {
	if r.fault != nil {
		return nil, r.fault
	}
	if ctx.Err() != nil {
		return nil, gaveUp(ctx, nil)
	}
	c := r.client
	op := wire.Op{Kind: wire.Send, Room: r.name, Body: body}
	for _, set := range opts {
		set(&op)
	}
	if op.ID == "" {
		op.ID = c.identity.nextID()
	} else if err := parley.CheckID(op.ID); err != nil {
		return nil, err
	} else {
		c.identity.addID(op.ID)
	}
	limits := c.limits()
	if err := checkBody(&op, limits); err != nil {
		return nil, err
	}
	p := &Pending{room: r.name, id: op.ID, ref: c.refs.Add(1), done: make(chan struct{})}
	op.Ref = strconv.AppendUint(nil, p.ref, 10)
	p.frame = wire.AppendOp(make([]byte, 0, len(op.Body)+128), op)
	if len(p.frame) > limits.Frame {
		return nil, parley.Errorf(parley.TooLarge, "the message has %d bytes as it is sent; the server takes %d", len(p.frame), limits.Frame)
	}
	if err := c.out.put(ctx, p); err != nil {
		return nil, err
	}
	return p, nil
}

// checkBody finds what the server would refuse, and makes a JSON body one line.
func checkBody(op *wire.Op, limits parley.Limits) error {
	switch op.Type {
	case parley.Text:
		if !utf8.Valid(op.Body) {
			return parley.Errorf(parley.BadRequest, "a text is valid UTF-8; send other bytes as binary")
		}
	case parley.JSON:
		var compact bytes.Buffer
		if err := json.Compact(&compact, op.Body); err != nil || !utf8.Valid(op.Body) {
			return parley.Errorf(parley.BadRequest, "the body is not a JSON value").Because(err)
		}
		op.Body = compact.Bytes()
	}
	switch {
	case len(op.Body) == 0:
		return parley.Errorf(parley.BadRequest, "an empty body")
	case len(op.Body) > limits.Message:
		return parley.Errorf(parley.TooLarge, "the body has %d bytes; the server takes %d", len(op.Body), limits.Message)
	}
	return nil
}

// limits are those of the connection, or the last one.
func (c *Client) limits() parley.Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcomed
}

// Pending is a message on its way. All its methods may be called by many goroutines at once.
type Pending struct {
	// Fixed at birth.
	room string
	id   string
	ref  uint64
	done chan struct{} // closed when receipt and err are set

	// Guarded by outbox.mu.
	frame     []byte    // as it is sent; nil when it is no longer held
	sent      bool      // on this connection, and not answered
	firstSent time.Time // on any; zero = never
	refusal   error     // the last time the server could not take it
	release   func() bool
	receipt   Receipt
	err       error
}

// ID is the message's id.
func (p *Pending) ID() string { return p.id }

// Done is closed when the outcome is known: Wait will not wait.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait waits until the message is durable, or has failed as [Room.Publish] says. When ctx ends
// first, the message goes on and Wait may be called again.
func (p *Pending) Wait(ctx context.Context) (Receipt, error) {
	select {
	case <-p.done:
		return p.receipt, p.err
	default:
	}
	select {
	case <-p.done:
		return p.receipt, p.err
	case <-ctx.Done():
		return Receipt{}, context.Cause(ctx)
	}
}

// settle sets the outcome, once. The caller holds outbox.mu.
func (p *Pending) settle(r Receipt, err error) {
	if p.settled() {
		return
	}
	p.receipt, p.err = r, err
	if p.release != nil {
		p.release()
	}
	close(p.done)
}

func (p *Pending) settled() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
