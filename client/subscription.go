package client

import (
	"context"
	"fmt"
	"sync"

	"parley"
	"parley/wire"
)

// maxBuffered bounds how many messages wait for a consumer. Beyond it the subscription leaves the
// room, and joins again behind its cursor when the consumer has taken them all.
const maxBuffered = 1024

// subscription is an iterator's place in a room: a cursor, and what it has received beyond what
// the consumer has taken. Connections come and go under it.
//
// The consumer (next, stop) is one goroutine. The others are the connection's reader and, when it
// is over, who ends it. It is the consumer that joins, when it has taken all and wants more: so
// there is no goroutine for a subscription, and one that nobody reads costs nothing.
type subscription struct {
	// Fixed at birth.
	client *Client
	room   string
	noEcho bool
	reader string
	joined func(seq uint64)

	onPresence func(Presence)
	onSignal   func(Signal)
	onCursor   func(cursor string)

	events chan event
	wake   chan struct{} // of one: the state has changed

	// Owned by the consumer.
	wait backoff

	mu      sync.Mutex
	state   joinState
	sess    *session   // where it is joining, joined or leaving
	start   wire.Start // for joining, until there is a cursor
	cursor  uint64     // seq of the last message received, or where to go on
	placed  bool       // cursor counts
	joins   int        // how often it has been joined
	told    int        // how many of them the consumer was told of
	head    uint64     // the room's newest, at the last of them
	many    *many      // of a pattern, in place of cursor; nil for a room
	aside   aside
	refusal error // of the last join; temporary
	fault   error // final
}

// event is a message, a gap, or a place in a pattern, for the consumer.
type event struct {
	message *parley.Message
	gap     *Gap
	cursor  string
}

// joinState is how a subscription stands with its session.
type joinState int

const (
	away    joinState = iota // not in the room; the consumer may join
	joining                  // join is asked for
	member                   // messages come in
	leaving                  // leave is asked for; messages are dropped until it is answered
	stopped                  // for good
)

func newSubscription(c *Client, room string, r *reading) *subscription {
	sub := &subscription{
		client: c,
		room:   room,
		noEcho: r.noEcho,
		reader: r.reader,
		joined: r.joined,

		onPresence: r.presence,
		onSignal:   r.signal,
		onCursor:   r.onCursor,

		events: make(chan event, maxBuffered),
		wake:   make(chan struct{}, 1),
		start:  wire.Start{After: r.after, Last: r.last, Since: r.since},
	}
	if sub.many = newMany(room); sub.many != nil {
		sub.many.at(r.cursor)
		return sub
	}
	if r.after != nil && *r.after > 0 {
		sub.cursor, sub.placed = *r.after, true
	}
	return sub
}

// next gives what comes next, waiting for it.
func (sub *subscription) next(ctx context.Context) (event, error) {
	for {
		if ctx.Err() != nil {
			return event{}, gaveUp(ctx, sub.obstacle())
		}
		select {
		case ev := <-sub.events:
			sub.announce() // what came before it
			return ev, nil
		default:
		}
		sub.announce()
		if err := sub.rejoin(ctx); err != nil {
			select {
			case ev := <-sub.events: // received before the end
				return ev, nil
			default:
			}
			return event{}, err
		}
		select {
		case ev := <-sub.events:
			sub.announce()
			return ev, nil
		case <-sub.wake:
		case <-ctx.Done():
		}
	}
}

// announce tells the consumer that the room was joined, and what there is beside messages.
func (sub *subscription) announce() {
	sub.mu.Lock()
	news, head := sub.told < sub.joins, sub.head
	sub.told = sub.joins
	presence, signals := sub.aside.take()
	sub.mu.Unlock()
	if news && sub.joined != nil {
		sub.joined(head)
	}
	if presence != nil {
		sub.onPresence(*presence)
	}
	for _, one := range signals {
		sub.onSignal(one)
	}
}

// obstacle is why the subscription is not in its room, if that is known.
func (sub *subscription) obstacle() error {
	sub.mu.Lock()
	state, refusal := sub.state, sub.refusal
	sub.mu.Unlock()
	if state == away && refusal != nil {
		return refusal
	}
	return sub.client.Status().Err
}

// rejoin asks for the room where it is neither joined nor asked for. An error is final.
func (sub *subscription) rejoin(ctx context.Context) error {
	sub.mu.Lock()
	state, refusal, fault := sub.state, sub.refusal, sub.fault
	sub.mu.Unlock()
	switch {
	case fault != nil:
		return fault
	case state != away:
		return nil
	case refusal != nil:
		sleep(ctx, sub.wait.next(refusal))
	default:
		sub.wait.reset()
	}
	s, err := sub.client.session(ctx)
	if err != nil {
		return err
	}
	sub.mu.Lock()
	sub.state, sub.sess, sub.refusal = joining, s, nil
	start := sub.start
	if sub.placed {
		after := sub.cursor
		start = wire.Start{After: &after}
	} else if sub.many != nil {
		if behind, known := sub.many.start(); known {
			start = behind
		}
	}
	sub.mu.Unlock()
	if !s.listen(sub) {
		sub.lost(s)
		return nil
	}
	s.ask(wire.Op{Kind: wire.Join, Room: sub.room, Start: start, Reader: sub.reader, Presence: sub.onPresence != nil}, joinAnswer{sub, s})
	return nil
}

// joinAnswer and leaveAnswer take the answers to join and leave.
type (
	joinAnswer struct {
		sub  *subscription
		sess *session
	}
	leaveAnswer joinAnswer
)

func (a joinAnswer) lost() { a.sub.lost(a.sess) }

func (a joinAnswer) answer(f *wire.Frame) {
	sub := a.sub
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.state != joining || sub.sess != a.sess {
		return
	}
	if f.Op == "error" {
		err := f.Err()
		if sub.state = away; temporary(err) {
			sub.refusal = err
		} else {
			sub.fault = err
		}
		sub.notify()
		return
	}
	sub.state = member
	sub.joins++
	sub.head = f.Seq
	if sub.many != nil {
		sub.many.at(f.Cursor)
		sub.notify()
		return
	}
	if sub.onPresence != nil {
		sub.aside.present(f)
	}
	if !sub.placed && !sub.start.Replays() && sub.reader == "" {
		sub.cursor, sub.placed = f.Seq, true // live: from here on nothing may be missed
	}
	sub.notify()
}

func (a leaveAnswer) lost() { a.sub.lost(a.sess) }

// answer ends the leaving. An error says that the session is not in the room, which is as well.
func (a leaveAnswer) answer(*wire.Frame) {
	sub := a.sub
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.state == leaving && sub.sess == a.sess {
		sub.state = away
		sub.notify()
	}
}

// deliver takes a message that came on s; err says why it could not be read.
func (sub *subscription) deliver(s *session, m *parley.Message, err error) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.state != member || sub.sess != s {
		return
	}
	if err != nil {
		sub.fault = fmt.Errorf("a message that this client cannot read: %w", err)
		sub.leave()
		return
	}
	if sub.many != nil {
		sub.deliverMany(m)
		return
	}
	if sub.placed && m.Seq <= sub.cursor {
		return
	}
	// A room that was empty at a live start may have had messages once: its first one has a prev
	// that nobody missed.
	known := sub.placed && (sub.cursor > 0 || sub.joins > 1)
	if known && m.Prev > sub.cursor && !sub.push(event{gap: &Gap{Room: sub.room, After: sub.cursor, Next: m.Seq}}) {
		return
	}
	if sub.noEcho && sub.client.identity.wrote(m) {
		sub.cursor, sub.placed = m.Seq, true
		return
	}
	if sub.push(event{message: m}) {
		sub.cursor, sub.placed = m.Seq, true
	}
}

// gap takes the server's word that messages of a room behind after and below next are gone.
func (sub *subscription) gap(s *session, room string, after, next uint64) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.many != nil && sub.state == member && sub.sess == s {
		sub.push(event{gap: &Gap{Room: room, After: after, Next: next}})
		return
	}
	if sub.state != member || sub.sess != s || !sub.placed || next <= sub.cursor+1 {
		return
	}
	if sub.push(event{gap: &Gap{Room: sub.room, After: sub.cursor, Next: next}}) {
		sub.cursor = next - 1
	}
}

// expelled takes the server's word that the client may not be in the room any more.
func (sub *subscription) expelled(s *session) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.sess != s || sub.state == stopped {
		return
	}
	sub.state = away
	sub.fault = parley.Errorf(parley.Denied, "you may not be in %s any more", sub.room)
	sub.notify()
}

// push buffers ev. Where there is no room for it the subscription leaves: the cursor stays, and
// what comes behind it will be asked for again.
func (sub *subscription) push(ev event) bool {
	select {
	case sub.events <- ev:
		return true
	default:
		sub.leave()
		return false
	}
}

// leave asks to leave the room. The caller is the reader, so that the session is not over and ask
// will not call back; and it holds mu.
func (sub *subscription) leave() {
	sub.state = leaving
	sub.sess.ask(wire.Op{Kind: wire.Leave, Room: sub.room}, leaveAnswer{sub, sub.sess})
	sub.notify()
}

// lost takes the end of s.
func (sub *subscription) lost(s *session) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.sess == s && sub.state != stopped {
		sub.state = away
		sub.notify()
	}
}

// stop leaves the room for good. The answer is not waited for: the server carries out operations
// in order, so that a join behind it will not meet this one.
func (sub *subscription) stop() {
	sub.mu.Lock()
	s, state := sub.sess, sub.state
	sub.state = stopped
	sub.mu.Unlock()
	if s == nil {
		return
	}
	s.unlisten(sub)
	if state == joining || state == member {
		s.ask(wire.Op{Kind: wire.Leave, Room: sub.room}, nil)
	}
}

func (sub *subscription) notify() {
	select {
	case sub.wake <- struct{}{}:
	default:
	}
}
