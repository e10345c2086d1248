package session

import (
	"math/rand/v2"
	"time"

	"parley"
)

// Parting is how a server that ends sends its clients away.
type Parting struct {
	// Over is the time over which goodbyes are spread: nobody is without a server while waiting for
	// his turn to come to another one.
	Over time.Duration

	// Least and Most bound how long a client is asked to wait; each gets another time between them.
	Least, Most time.Duration

	Servers []string // where clients should go; nil = nowhere else
}

// aloneParting is for clients that have nowhere else to go: the server has to start again first.
var aloneParting = Parting{Least: time.Second, Most: 5 * time.Second}

// Part says how clients are sent away from now on. Without it they are told all at once, to come back in 1 to
// 5 seconds.
func (s *Server) Part(p Parting) { s.parting.Store(&p) }

// Parting is how clients are sent away.
func (s *Server) Parting() Parting {
	if p := s.parting.Load(); p != nil {
		return *p
	}
	return aloneParting
}

// GoingAway is what a client is told by a server that ends. Its hint is one client's.
func (s *Server) GoingAway() *parley.Error {
	p := s.Parting()
	e := parley.Errorf(parley.Unavailable, "the server is going away; come back in a moment")
	e.Retry, e.Servers = p.Least+rand.N(p.Most-p.Least+1), p.Servers
	return e
}
