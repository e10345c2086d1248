package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"parley/e2e/history"
)

// draft is a message that a publisher wants to be stored, once.
type draft struct{ room, msg, body string }

// publisher sends drafts over one connection after the other, until each is acknowledged, or
// surely refused and given up. It belongs to one goroutine.
type publisher struct {
	run       *run
	name      string
	transport string
	rooms     []string
	fading    bool // where a fault begins or ends, one of its rooms gets no more

	drafts   []draft          // not acknowledged, in order
	inflight map[string]draft // tries on this connection, by id
	made     int
	sessions int
	left     atomic.Int64 // drafts, for who wants to know
}

const (
	window   = 8 // sends a publisher keeps in flight
	thinking = 12 * time.Millisecond
)

// publish sends until the load ends, and ends when all is acknowledged or the run is over.
func (p *publisher) publish() {
	for p.run.going() {
		var done bool
		var err error
		switch p.transport {
		case "http":
			done = p.post()
		case "plain":
			done = p.plainLines()
		default:
			done, err = p.connection()
		}
		if done {
			return
		}
		for id := range p.inflight {
			p.outcome(id, "info", fmt.Sprint(err))
		}
		p.inflight = nil
		p.run.rest(20*time.Millisecond + rand.N(100*time.Millisecond))
	}
}

func (p *publisher) host() int { return 1 + rand.IntN(nodes) }

// draft makes another message; nil when there is none to come.
func (p *publisher) draft() *draft {
	if p.run.loaded() {
		return nil
	}
	p.run.rest(rand.N(thinking))
	msg := fmt.Sprintf("%s-%d", p.name, p.made)
	p.made++
	p.drafts = append(p.drafts, draft{p.room(), msg, msg + " " + strings.Repeat("x", rand.IntN(300))})
	p.left.Store(int64(len(p.drafts)))
	return &p.drafts[len(p.drafts)-1]
}

// room chooses one. Where a fault takes a room's last message from the tail, no later one shows it.
func (p *publisher) room() string {
	rooms := p.rooms
	if p.fading {
		rooms = rooms[min(int(p.run.turns.Load()), len(rooms)-1):]
	}
	return rooms[rand.IntN(len(rooms))]
}

// connection sends over one connection; done when all there was to send is acknowledged.
func (p *publisher) connection() (done bool, err error) {
	l, err := dial(p.transport, p.host(), p.name)
	if err != nil {
		return p.run.loaded() && len(p.drafts) == 0, err
	}
	defer l.hangUp()
	release := context.AfterFunc(p.run.over, l.hangUp)
	defer release()
	p.sessions++
	p.inflight = map[string]draft{}
	ends := time.Now().Add(300*time.Millisecond + rand.N(5*time.Second))
	for next := 0; ; {
		for len(p.inflight) < window {
			if next == len(p.drafts) && p.draft() == nil {
				break
			}
			if err := p.send(l, p.drafts[next]); err != nil {
				return false, err
			}
			next++
		}
		if len(p.inflight) == 0 {
			return true, nil
		}
		if !p.run.loaded() && time.Now().After(ends) {
			return false, errors.New("the client hung up")
		}
		acked, err := p.answer(l)
		if err != nil {
			return false, err
		}
		if acked {
			next--
		}
	}
}

func (p *publisher) try(d draft, sess string) (id string) {
	return p.run.rec.Invoke(history.Event{Op: "publish", Client: p.name, Sess: sess, Room: d.room, Msg: d.msg, Hash: history.Hash(d.body)})
}

func (p *publisher) outcome(id, what, reason string) {
	p.run.rec.Add(history.Event{Type: what, Op: "publish", ID: id, Reason: reason})
}

func (p *publisher) send(l link, d draft) error {
	id := p.try(d, fmt.Sprintf("%s/%d", p.name, p.sessions))
	p.inflight[id] = d
	return l.say(fmt.Sprintf(`{"op":"send","room":%q,"id":%q,"body":%q,"ref":%s}`, d.room, d.msg, d.body, id))
}

// answer takes one answer. What was refused is sent again on the next connection, but for some.
func (p *publisher) answer(l link) (acked bool, err error) {
	f, err := l.next(time.Now().Add(answerWithin))
	if err != nil {
		return false, err
	}
	id := string(f.Ref)
	d, ok := p.inflight[id]
	if !ok {
		if f.Op != "error" {
			p.run.trouble("%s got %s", p.name, f.raw)
		}
		return false, errors.New(f.raw) // the server goes away
	}
	delete(p.inflight, id)
	if f.Op != "ack" {
		p.refused(id, d, f.Code, f.Message)
		return false, errors.New(f.raw)
	}
	p.run.acked(id, f.Seq, f.Duplicate)
	p.settled(d)
	return true, nil
}

// refused takes an error. One of three drafts that were surely not stored is given up, so that it
// can be seen whether that is true.
func (p *publisher) refused(id string, d draft, code, message string) {
	what := "info"
	if code == "unavailable" && !strings.Contains(message, "unknown") {
		what = "fail"
	}
	p.outcome(id, what, message)
	if what == "fail" && rand.IntN(3) == 0 {
		p.settled(d)
	}
}

func (p *publisher) settled(d draft) {
	for i := range p.drafts {
		if p.drafts[i].msg == d.msg {
			p.drafts = append(p.drafts[:i:i], p.drafts[i+1:]...)
			break
		}
	}
	p.left.Store(int64(len(p.drafts)))
}

// post sends one draft as a request. Some clients lose their patience.
func (p *publisher) post() (done bool) {
	if len(p.drafts) == 0 && p.draft() == nil {
		return true
	}
	d := p.drafts[0]
	wait := answerWithin
	if rand.IntN(20) == 0 {
		wait = rand.N(20 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(p.run.over, wait)
	defer cancel()
	url := fmt.Sprintf("http://%s:8080/rooms/%s", address(p.host()), d.room)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(d.body))
	if err != nil {
		panic(err) // the URL is well formed
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("Idempotency-Key", d.msg)
	req.Header.Set("Parley-Name", p.name)
	id := p.try(d, "")
	resp, err := p.run.posts.Do(req)
	if err != nil {
		p.outcome(id, "info", err.Error())
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Seq          uint64
		Code, Detail string
	}
	switch body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10)); {
	case err != nil || json.Unmarshal(body, &answer) != nil:
		p.outcome(id, "info", fmt.Sprintf("%s: %v", resp.Status, err))
	case answer.Code != "":
		p.refused(id, d, answer.Code, answer.Detail)
	default:
		p.run.acked(id, answer.Seq, resp.StatusCode == http.StatusOK)
		p.settled(d)
	}
	return false
}

// plainLines sends lines, of which nobody says what came of them. None is sent again.
func (p *publisher) plainLines() (done bool) {
	l, err := reach(address(p.host()) + ":8000")
	if err != nil {
		return p.run.loaded()
	}
	defer l.hangUp()
	gone := make(chan struct{})
	defer func() { l.hangUp(); <-gone }()
	go func() { defer close(gone); _, _ = io.Copy(io.Discard, l.in) }()
	if l.say("/join "+p.rooms[0]) != nil {
		return p.run.loaded()
	}
	for ends := time.Now().Add(rand.N(5 * time.Second)); time.Now().Before(ends); {
		p.run.rest(rand.N(200 * time.Millisecond))
		d := p.draft()
		if d == nil {
			return true
		}
		id := p.try(*d, "")
		err := l.say(d.body)
		p.outcome(id, "info", "a plain line")
		p.settled(*d)
		if err != nil {
			break
		}
	}
	return false
}

// reader reads a room over one connection after the other, each from where the one before ended.
// It belongs to one goroutine.
type reader struct {
	run       *run
	name      string
	transport string
	room      string
	steady    bool // it stays for as long as it can

	last      uint64 // seq; plain lines have none
	sessions  int
	available bool                   // in the word of its node, in this session
	told      bool                   // of that
	seen      atomic.Pointer[string] // the last msg; of plain lines, in this session
	stays     atomic.Bool            // it is in the room and will not leave it before the end
}

// read reads until the run is over.
func (r *reader) read() {
	for r.run.going() {
		r.session()
		r.run.rest(rand.N(150 * time.Millisecond))
	}
}

// session is one connection. Once the faults are over it is kept to the end.
func (r *reader) session() {
	r.sessions++
	r.available, r.told = true, false
	sess := fmt.Sprintf("%s/%d", r.name, r.sessions)
	stays := r.run.calm() || r.steady
	until := time.Now().Add(200*time.Millisecond + rand.N(4*time.Second))
	if stays {
		until = time.Now().Add(time.Hour)
	}
	host := 1 + rand.IntN(nodes)
	begin := history.Event{Op: "sub", Client: r.name, Sess: sess, Room: r.room, Node: fmt.Sprint("n", host)}
	if r.transport != "plain" {
		from := r.last
		begin.From = &from
	}
	begin.ID = r.run.rec.Invoke(begin)
	l, err := r.join(host)
	if err != nil {
		return
	}
	defer l.hangUp()
	release := context.AfterFunc(r.run.over, l.hangUp)
	defer release()
	begin.Type = "ok"
	r.run.rec.Add(begin)
	if r.transport == "plain" { // it begins anew
		r.seen.Store(nil)
	}
	r.stays.Store(stays)
	defer r.stays.Store(false)
	for err == nil {
		err = r.take(l, sess, until)
	}
	ended := stays && !r.run.going()
	r.run.rec.Add(history.Event{Type: "ok", Op: "close", Client: r.name, Sess: sess, CaughtUp: &ended, Reason: err.Error()})
}

// inbox is where messages come from.
type inbox interface {
	next(until time.Time) (*frame, error)
	hangUp()
}

// join connects and enters the room behind what was read last.
func (r *reader) join(host int) (inbox, error) {
	switch r.transport {
	case "sse":
		return openEvents(host, r.name, r.room, r.last)
	case "plain":
		return joinPlain(host, r.name, r.room)
	}
	l, err := dial(r.transport, host, r.name)
	if err != nil {
		return nil, err
	}
	err = l.say(fmt.Sprintf(`{"op":"join","room":%q,"after":%d}`, r.room, r.last))
	var f *frame
	if err == nil {
		f, err = l.next(time.Now().Add(answerWithin))
	}
	if err == nil && f.Op != "joined" {
		err = errors.New(f.raw)
	}
	if err != nil {
		l.hangUp()
		return nil, err
	}
	return l, nil
}

// take takes the next frame.
func (r *reader) take(l inbox, sess string, until time.Time) error {
	f, err := l.next(until)
	if err != nil {
		return err
	}
	switch f.Op {
	case "message":
		msg, _, _ := strings.Cut(f.text(), " ")
		e := history.Event{Type: "ok", Op: "recv", Client: r.name, Sess: sess, Room: r.room, Msg: msg, Seq: f.Seq, Hash: history.Hash(f.text())}
		if r.transport != "plain" {
			e.Prev = &f.Prev
		}
		r.run.rec.Add(e)
		r.last = f.Seq
		r.seen.Store(&msg)
	case "gap":
		r.run.rec.Add(history.Event{Type: "ok", Op: "gap", Client: r.name, Sess: sess, Room: r.room, Seq: f.After})
	case "status":
		if f.Available == r.available && (r.told || r.transport != "plain") { // a plain one may have been told in the lobby
			r.run.trouble("%s is told twice: %s", sess, f.raw)
		}
		r.available, r.told = f.Available, true
	case "error":
		return errors.New(f.raw) // it goes away, or cannot read now
	default:
		r.run.trouble("%s got %s", sess, f.raw)
		return errors.New(f.raw)
	}
	return nil
}

// plainRoom is a room as plain lines show it to somebody with a name.
type plainRoom struct{ *lines }

func joinPlain(host int, name, room string) (inbox, error) {
	l, err := reach(address(host) + ":8000")
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(answerWithin)
	if err := l.say("/nick " + name + "\n/join " + room); err != nil {
		l.hangUp()
		return nil, err
	}
	for { // the greeting, the name, and what is said in the lobby
		line, err := l.line(until)
		if err == nil && strings.HasPrefix(line, "* unavailable") && !statusLine(line) {
			err = errors.New(line)
		}
		if err != nil {
			l.hangUp()
			return nil, err
		}
		if line == "* joined "+room {
			return plainRoom{l}, nil
		}
	}
}

// statusLine says whether a line tells that the node can store nothing, or can again. One that was refused
// reads the same beginning.
func statusLine(line string) bool {
	return strings.HasPrefix(line, "* available: ") || (strings.HasPrefix(line, "* unavailable: too few nodes") && strings.HasSuffix(line, "until that changes"))
}

func (p plainRoom) next(until time.Time) (*frame, error) {
	line, err := p.line(until)
	if err != nil {
		return nil, err
	}
	if statusLine(line) {
		return &frame{Op: "status", Available: strings.HasPrefix(line, "* available"), raw: line}, nil
	}
	if strings.HasPrefix(line, "* ") {
		return &frame{Op: "error", raw: line}, nil
	}
	_, body, _ := strings.Cut(line, ": ")
	text, err := json.Marshal(body)
	return &frame{Op: "message", entry: entry{Body: text}, raw: line}, err
}

// passBy has people come into a room and leave it for good, by the door or through a window, until
// the faults are over.
func (r *run) passBy(room string) {
	for i := 0; !r.calm() && r.going(); i++ {
		l, err := dial("tcp", 1+rand.IntN(nodes), fmt.Sprintf("v%d", i))
		if err != nil {
			r.rest(50 * time.Millisecond)
			continue
		}
		if l.say(fmt.Sprintf(`{"op":"join","room":%q}`, room)) == nil {
			r.rest(rand.N(600 * time.Millisecond))
			if rand.IntN(2) == 0 {
				_ = l.say(fmt.Sprintf(`{"op":"leave","room":%q}`, room))
			}
		}
		l.hangUp()
	}
}
