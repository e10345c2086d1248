package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// load is publishers and subscribers that go on through faults and write down what they meet.
type load struct {
	t     testing.TB
	s     *server
	rec   *recorder
	rooms []string

	stop        chan struct{} // closed: publishers finish what they have begun
	publishers  sync.WaitGroup
	subscribers sync.WaitGroup
	cancel      context.CancelFunc
	ctx         context.Context
	errors      chan error
}

// endMark is the last message of each room.
const endMark = "end-of-"

// startLoad starts so many publishers and subscribers for each room.
func startLoad(t testing.TB, s *server, rooms []string, publishers, subscribers int) *load {
	t.Helper()
	l := &load{t: t, s: s, rec: newRecorder(t), rooms: rooms, stop: make(chan struct{}), errors: make(chan error, 100)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, room := range rooms {
		for i := range publishers {
			l.publishers.Go(func() { l.publish(fmt.Sprintf("p%d-%s", i, room), room, l.stop, 0) })
		}
		for i := range subscribers {
			l.subscribers.Go(func() { l.subscribe(fmt.Sprintf("s%d-%s", i, room), room) })
		}
	}
	t.Cleanup(func() {
		l.cancel()
		l.publishers.Wait()
		l.subscribers.Wait()
	})
	return l
}

// fault writes down what the test does to the server.
func (l *load) fault(name string) {
	l.rec.add(event{Type: "info", Op: "fault", Name: name, Node: "n1"})
}

// finish lets the publishers bring what they have begun to an end and the subscribers read to it,
// reads the rooms, and judges. The server runs.
func (l *load) finish() {
	l.t.Helper()
	close(l.stop)
	l.wait(&l.publishers, "the publishers")
	for _, room := range l.rooms {
		l.publish(endMark+room, room, l.stop, 1)
	}
	l.wait(&l.subscribers, "the subscribers")
	l.s.kill() // what is there in the end is there after a crash
	l.s.start()
	for _, room := range l.rooms {
		l.rec.readFinal(l.t, l.s, room)
	}
	l.rec.verdict(l.t)
}

func (l *load) wait(wg *sync.WaitGroup, who string) {
	l.t.Helper()
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case err := <-l.errors:
		l.t.Error(err)
		l.cancel()
		<-done
	case <-time.After(2 * patience):
		l.cancel()
		<-done
		l.t.Errorf("%s have not come to an end within %v", who, 2*patience)
	}
}

// cuts hangs up when the load is over, until the returned function is called.
func (l *load) cuts(s *speaker) (release func() bool) { return context.AfterFunc(l.ctx, s.hangUp) }

// again waits a moment before the next attempt to connect; false when the load is over.
func (l *load) again() bool {
	select {
	case <-time.After(10 * time.Millisecond):
		return l.ctx.Err() == nil
	case <-l.ctx.Done():
		return false
	}
}

// draft is a message that a publisher wants to be stored, once.
type draft struct{ msg, body string }

// publisher sends drafts over one connection after the other until each is acknowledged.
type publisher struct {
	load     *load
	name     string
	room     string
	drafts   []draft           // not acknowledged, in order
	inflight map[string]string // tries on this connection: msg by id
	made     int
	most     int // drafts in all; 0 = until stop
}

// window is how many sends a publisher keeps in flight.
const window = 32

// publish sends until stop is closed, or most messages, and ends when all are acknowledged.
func (l *load) publish(name, room string, stop <-chan struct{}, most int) {
	p := &publisher{load: l, name: name, room: room, most: most}
	for l.ctx.Err() == nil {
		done, err := p.connection(stop)
		if done {
			return
		}
		for id := range p.inflight { // nobody knows
			l.rec.add(event{Type: "info", Op: "publish", ID: id, Reason: err.Error()})
		}
		p.inflight = nil
		if !l.again() {
			return
		}
	}
}

// connection sends over one connection; done when all there was to send is acknowledged.
func (p *publisher) connection(stop <-chan struct{}) (done bool, err error) {
	s, err := speak(p.load.s.address(), p.name)
	if err != nil {
		return false, err
	}
	defer s.hangUp()
	release := p.load.cuts(s)
	defer release()
	p.inflight = map[string]string{}
	for next := 0; ; {
		for len(p.inflight) < window {
			if next == len(p.drafts) && !p.draft(stop) {
				break
			}
			if err := p.send(s, p.drafts[next]); err != nil {
				return false, err
			}
			next++
		}
		if len(p.inflight) == 0 {
			return true, nil
		}
		acked, err := p.answer(s)
		if err != nil {
			return false, err
		}
		if acked {
			next--
		}
	}
}

// draft makes another message; false when it was the last.
func (p *publisher) draft(stop <-chan struct{}) bool {
	if p.most > 0 {
		if p.made == p.most {
			return false
		}
	} else {
		select {
		case <-stop:
			return false
		default:
		}
	}
	msg := fmt.Sprintf("%s-%d", p.name, p.made)
	p.made++
	p.drafts = append(p.drafts, draft{msg, msg + " " + strings.Repeat("x", rand.IntN(400))})
	return true
}

func (p *publisher) send(s *speaker, d draft) error {
	id := p.load.rec.invoke(event{Op: "publish", Client: p.name, Room: p.room, Msg: d.msg, Hash: hash(d.body)})
	p.inflight[id] = d.msg
	return s.say(fmt.Sprintf(`{"op":"send","room":%q,"id":%q,"body":%q,"ref":%s}`+"\n", p.room, d.msg, d.body, id))
}

// answer takes one answer. A message that is acknowledged is no draft any more; one that was
// refused is sent again on the next connection.
func (p *publisher) answer(s *speaker) (acked bool, err error) {
	f, err := s.next()
	if err != nil {
		return false, err
	}
	id := string(f.Ref)
	msg, ok := p.inflight[id]
	switch {
	case f.Op == "error" && !ok:
		return false, errors.New(f.raw) // the server goes away
	case !ok:
		return false, p.load.failed(fmt.Errorf("%s got %s", p.name, f.raw))
	}
	delete(p.inflight, id)
	if f.Op != "ack" {
		p.load.rec.add(event{Type: outcome(f), Op: "publish", ID: id, Reason: f.Message})
		return false, errors.New(f.raw)
	}
	p.load.rec.add(event{Type: "ok", Op: "publish", ID: id, Seq: f.Seq})
	for i := range p.drafts {
		if p.drafts[i].msg == msg {
			p.drafts = append(p.drafts[:i:i], p.drafts[i+1:]...)
			break
		}
	}
	return true, nil
}

// outcome is what an error means for a message: it was not stored, unless the sentence says that
// nobody knows.
func outcome(f *frame) string {
	if f.Code == "unavailable" && !strings.Contains(f.Message, "unknown") {
		return "fail"
	}
	return "info"
}

// failed notes what must never happen; the load ends.
func (l *load) failed(err error) error {
	select {
	case l.errors <- err:
	default:
	}
	return err
}

// subscribe reads a room, over one connection after the other, until its end mark.
func (l *load) subscribe(name, room string) {
	last, sessions := uint64(0), 0
	for l.ctx.Err() == nil {
		sessions++
		sess := name + "/" + strconv.Itoa(sessions)
		ended := l.read(name, sess, room, &last)
		l.rec.add(event{Type: "ok", Op: "close", Client: name, Sess: sess, CaughtUp: &ended})
		if ended || !l.again() {
			return
		}
	}
}

// read reads over one connection, from behind last; true when the end mark came.
func (l *load) read(name, sess, room string, last *uint64) bool {
	s, err := speak(l.s.address(), name)
	if err != nil {
		return false
	}
	defer s.hangUp()
	release := l.cuts(s)
	defer release()
	from := *last
	id := l.rec.invoke(event{Op: "sub", Client: name, Sess: sess, Room: room, From: &from})
	if err := s.say(fmt.Sprintf(`{"op":"join","room":%q,"after":%d}`+"\n", room, from)); err != nil {
		return false
	}
	for {
		f, err := s.next()
		if err != nil {
			return false
		}
		switch f.Op {
		case "joined":
			l.rec.add(event{Type: "ok", Op: "sub", ID: id, Client: name, Sess: sess, Room: room, From: &from})
		case "message":
			msg, _, _ := strings.Cut(f.text(), " ")
			l.rec.add(event{Type: "ok", Op: "recv", Client: name, Sess: sess, Room: room, Msg: msg, Seq: f.Seq, Prev: &f.Prev, Hash: hash(f.text())})
			*last = f.Seq
			if strings.HasPrefix(msg, endMark) {
				return true
			}
		case "gap":
			l.rec.add(event{Type: "ok", Op: "gap", Client: name, Sess: sess, Room: room, Seq: f.After})
		case "error":
			return false // it goes away, or cannot read now
		default:
			_ = l.failed(fmt.Errorf("%s got %s", sess, f.raw))
			return false
		}
	}
}

// readFinal writes down what a room holds, read in pages.
func (r *recorder) readFinal(t testing.TB, s *server, room string) {
	t.Helper()
	c := hello(t, s, "reader")
	items, after := []item{}, uint64(0)
	for more := true; more; {
		page := c.want(fmt.Sprintf(`{"op":"history","room":%q,"after":%d,"limit":1000}`, room, after), `{"op":"page"}`)
		for _, m := range page.Messages {
			if m.Prev != after {
				t.Errorf("in a page of %s the prev of %d is %d, want %d", room, m.Seq, m.Prev, after)
			}
			msg, _, _ := strings.Cut(m.text(), " ")
			items = append(items, item{Seq: m.Seq, Msg: msg, Hash: hash(m.text())})
			after = m.Seq
		}
		more = page.More
	}
	r.add(event{Type: "ok", Op: "final", Room: room, Node: "n1", Items: items})
}
