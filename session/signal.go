package session

import (
	"bytes"
	"context"
	"time"

	"parley"
	"parley/wire"
)

// How often a session may signal. What is beyond is dropped, since a signal is of no use later.
const (
	signalRate  = 50  // a second, in the long run
	signalBurst = 100 // at once, after a rest
)

// signal passes a value on to the other members of a room, without storing it or answering.
func (s *Session) signal(_ context.Context, op *wire.Op) error {
	if len(op.Body) > wire.MaxSignal {
		return parley.Errorf(parley.TooLarge, "a signal has at most %d bytes; this one has %d", wire.MaxSignal, len(op.Body))
	}
	m := s.member(op.Room)
	if m == nil {
		return parley.Errorf(parley.NotFound, "you are not in %s", op.Room)
	}
	if s.signals == nil {
		s.signals = &pace{left: signalBurst}
	}
	allowed, tell := s.signals.take(time.Now())
	if allowed {
		m.Signal(bytes.Clone(op.Body))
		return nil
	}
	s.server.Hub.DropSignal()
	if !tell {
		return nil
	}
	e := parley.Errorf(parley.RateLimited, "more than %d signals a second: some are dropped", signalRate)
	e.Retry = time.Second / signalRate
	return e
}

// pace bounds how often a session signals, and how often it is told that this is too often.
type pace struct {
	left float64   // signals that are allowed at once
	at   time.Time // when left was right
	told time.Time
}

// take says whether a signal is allowed, and if not whether to say so: at most once a second.
func (p *pace) take(now time.Time) (allowed, tell bool) {
	if !p.at.IsZero() {
		p.left = min(signalBurst, p.left+signalRate*now.Sub(p.at).Seconds())
	}
	p.at = now
	if p.left >= 1 {
		p.left--
		return true, false
	}
	if !p.told.IsZero() && now.Sub(p.told) < time.Second {
		return false, false
	}
	p.told = now
	return false, true
}
