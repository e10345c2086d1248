package client

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"parley"
	"parley/wire"
)

// AskOption sets something of one question.
type AskOption func(*wire.Op)

// AskType says what the question's body is: [parley.Text] where nothing is said.
func AskType(t parley.Type) AskOption { return func(op *wire.Op) { op.Type = t } }

// Within says how long answers are waited for; 5 s by default, 50 s at most.
func Within(d time.Duration) AskOption { return func(op *wire.Op) { op.Timeout = d } }

// Ask asks those who serve the room and gives the first answer. Nothing of it is stored, and it is not
// asked again when the connection is lost: the error is [ErrUnanswered] then. One of code no_responders
// says that nobody serves the room, timeout that nobody has answered in time.
func (r *Room) Ask(ctx context.Context, body []byte, opts ...AskOption) (*parley.Answer, error) {
	answers, err := r.AskAll(ctx, 1, body, opts...)
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

// AskAll is Ask for up to most answers: it gives those that came when there are enough, when nobody is
// left to answer, or when the time is over. There is one at least.
func (r *Room) AskAll(ctx context.Context, most int, body []byte, opts ...AskOption) ([]*parley.Answer, error) {
	if r.fault != nil {
		return nil, r.fault
	}
	op := wire.Op{Kind: wire.Ask, Room: r.name, Body: body, Most: most, Timeout: wire.DefaultTimeout}
	for _, set := range opts {
		set(&op)
	}
	if err := checkBody(&op, r.client.limits()); err != nil {
		return nil, err
	}
	if _, err := wire.ParseOp(wire.AppendOp(nil, op)); err != nil {
		return nil, err
	}
	s, err := r.client.session(ctx)
	if err != nil {
		return nil, err
	}
	g := &gathering{ended: make(chan struct{})}
	ref := s.ask(op, g)
	select {
	case <-g.ended:
		return g.answers, g.err
	case <-ctx.Done():
		s.forget(ref)
		return nil, gaveUp(ctx, errUnanswered)
	}
}

// ErrUnanswered says that the connection was lost before an answer came: the question may have been
// answered or not.
var ErrUnanswered = errors.New("the connection was lost before there was an answer")

// gathering takes the answers to an ask. Owned by the reader until ended is closed.
type gathering struct {
	answers []*parley.Answer
	err     error
	ended   chan struct{}
}

func (g *gathering) answer(f *wire.Frame) {
	switch f.Op {
	case "answer":
		m, err := f.Decode()
		if err != nil {
			g.err = err
			return
		}
		g.answers = append(g.answers, &parley.Answer{From: f.From, Type: m.Type, Body: m.Body})
		return
	case "error":
		g.err = f.Err()
	}
	if g.err == nil && len(g.answers) == 0 {
		g.err = ErrUnanswered
	}
	close(g.ended)
}

func (g *gathering) lost() {
	g.err = ErrUnanswered
	close(g.ended)
}

// Answerer answers one question. An error is not told to who asked, but logged: that one waits until
// its time is over, or somebody else answers. ctx ends when nobody waits any more.
type Answerer func(ctx context.Context, q *parley.Question) (body []byte, t parley.Type, err error)

// AnswerJSON makes an Answerer of a function from and to values that encoding/json knows.
func AnswerJSON[Q, A any](answer func(context.Context, Q) (A, error)) Answerer {
	return func(ctx context.Context, q *parley.Question) ([]byte, parley.Type, error) {
		var in Q
		if err := json.Unmarshal(q.Body, &in); err != nil {
			return nil, 0, err
		}
		out, err := answer(ctx, in)
		if err != nil {
			return nil, 0, err
		}
		body, err := json.Marshal(out)
		return body, parley.JSON, err
	}
}

// Answer has answer answer the questions to a room, up to parallel at a time, until ctx ends, which is
// its error then, or the server refuses for good. It goes on after lost connections.
func (c *Client) Answer(ctx context.Context, room string, parallel int, answer Answerer) error {
	name, err := parley.ParseRoom(room)
	if err != nil {
		return err
	}
	if parallel < 1 {
		return parley.Errorf(parley.BadRequest, "at least one question is answered at a time")
	}
	a := &answering{client: c, room: name, questions: make(chan asked, maxQuestions), wake: make(chan struct{}, 1)}
	var running sync.WaitGroup
	for range parallel {
		running.Go(func() { a.answerAll(ctx, answer) })
	}
	err = a.serve(ctx)
	running.Wait()
	return err
}

// maxQuestions is how many questions wait here; those beyond are left to their time.
const maxQuestions = 1024

// answering is a call of Answer.
type answering struct {
	client    *Client
	room      string
	questions chan asked
	wake      chan struct{} // of one: the session is over
}

// asked is a question, until when it can be answered, and the connection by which it came.
type asked struct {
	question *parley.Question
	until    time.Time
	sess     *session
}

func (a *answering) serve(ctx context.Context) error {
	var wait backoff
	op := wire.Op{Kind: wire.Serve, Room: a.room}
	for {
		s, err := a.client.session(ctx)
		if err != nil {
			return err
		}
		select {
		case <-a.wake: // the end of the one before
		default:
		}
		if !s.consult(a) {
			continue
		}
		reply := make(replyChan, 1)
		s.ask(op, reply)
		var f *wire.Frame
		select {
		case f = <-reply:
		case <-ctx.Done():
		}
		switch {
		case ctx.Err() != nil:
		case f == nil:
			continue
		case f.Op != "error":
			wait.reset()
			select {
			case <-a.wake:
				continue
			case <-ctx.Done():
			}
		case temporary(f.Err()):
			s.unconsult(a)
			sleep(ctx, wait.next(f.Err()))
			continue
		default:
			s.unconsult(a)
			return f.Err()
		}
		s.unconsult(a)
		s.ask(wire.Op{Kind: wire.Stop, Room: a.room}, nil)
		return context.Cause(ctx)
	}
}

func (a *answering) answerAll(ctx context.Context, answer Answerer) {
	for {
		select {
		case one := <-a.questions:
			a.one(ctx, one, answer)
		case <-ctx.Done():
			return
		}
	}
}

func (a *answering) one(ctx context.Context, one asked, answer Answerer) {
	ctx, cancel := context.WithDeadline(ctx, one.until)
	defer cancel()
	if ctx.Err() != nil || one.sess.ended() {
		return
	}
	op := wire.Op{Kind: wire.Answer, Room: a.room, Question: one.question.ID}
	var err error
	op.Body, op.Type, err = answer(ctx, one.question)
	if err == nil {
		err = checkBody(&op, a.client.limits())
	}
	if err != nil {
		a.client.opts.log.Warn("a question is not answered", "room", a.room, "err", err)
		return
	}
	one.sess.ask(op, nil)
}

// consult has the questions to a room go to a, from now on; unless the session is over.
func (s *session) consult(a *answering) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.consulted[a.room] = a
	}
	return !s.over
}

func (s *session) unconsult(a *answering) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.consulted[a.room] == a {
		delete(s.consulted, a.room)
	}
}

func (s *session) onQuestion(f *wire.Frame) {
	s.answered.Store(true)
	s.mu.Lock()
	a := s.consulted[f.Room]
	s.mu.Unlock()
	m, err := f.Decode()
	if a == nil || err != nil {
		return
	}
	timeout := time.Duration(f.TimeoutMS) * time.Millisecond
	q := &parley.Question{Room: f.Room, ID: f.Question, From: f.From, Type: m.Type, Body: m.Body, Timeout: timeout}
	select {
	case a.questions <- asked{q, time.Now().Add(timeout), s}:
	default:
	}
}
