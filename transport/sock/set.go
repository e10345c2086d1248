package sock

import (
	"context"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Set runs the connections of a transport. Its methods may be called by any goroutine.
type Set struct {
	sleeper  *sleeper
	ctx      context.Context // bounds what handlers wait for; ends when the drain does
	cancel   context.CancelFunc
	accepted atomic.Int64

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	draining bool

	open       sync.WaitGroup // connections
	background sync.WaitGroup // the sweeper
}

// NewSet makes a set. Drain must be called in the end.
func NewSet() (*Set, error) {
	s := &Set{conns: make(map[*Conn]struct{})}
	var err error
	if s.sleeper, err = newSleeper(); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.background.Go(s.sweep)
	return s, nil
}

// Prepare makes c, which h embeds, a connection of the set over nc, a *net.TCPConn or a *[Stream]: it can
// be written to. After an error nc is the caller's.
func (s *Set) Prepare(c *Conn, nc net.Conn, h Handler) error {
	c.set, c.handler = s, h
	return c.open(nc)
}

// Start begins to run a connection that was prepared. False: the set is drained, and the
// connection was closed.
func (s *Set) Start(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		_ = c.conn.Close()
		return false
	}
	s.conns[c] = struct{}{}
	s.open.Add(1)
	s.accepted.Add(1)
	go c.serve(s.ctx)
	return true
}

// Done is closed when the drain has ended.
func (s *Set) Done() <-chan struct{} { return s.ctx.Done() }

// Count is how many connections were started, and how many are open.
func (s *Set) Count() (accepted int64, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted.Load(), len(s.conns)
}

// forget is called when a connection has ended.
func (s *Set) forget(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.open.Done()
}

// Drain ends every connection, and waits for that: tell is called for each first, to say goodbye,
// and handlers may still answer what is in flight. Goodbyes are spread evenly over the time given; until its
// own, a connection goes on as ever. Those that are not done when ctx ends are cut. No connection can
// be started any more.
func (s *Set) Drain(ctx context.Context, over time.Duration, tell func(Handler)) {
	conns, began := s.list(true), time.Now()
	for i, c := range conns {
		pace(ctx, began.Add(over*time.Duration(i)/time.Duration(len(conns))))
		tell(c.handler)
		c.Leave()
	}
	done := make(chan struct{})
	go func() {
		s.open.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		for _, c := range s.list(true) {
			c.Abort()
		}
		s.cancel()
		<-done
	}
	s.cancel()
	s.background.Wait()
	s.sleeper.close()
}

// paceStep is how early a goodbye may be said: timers are dearer than goodbyes.
const paceStep = 5 * time.Millisecond

// pace waits until a time has come, or nearly so, or ctx ends.
func pace(ctx context.Context, due time.Time) {
	wait := time.Until(due)
	if wait < paceStep {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// list lists the connections; last: and lets no more come.
func (s *Set) list(last bool) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = s.draining || last
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// sweepEvery is how long nothing must be read from a connection for it to go to sleep, or up to
// twice as long.
const sweepEvery = 2 * time.Second

// manyAsleep is how many stacks must have been freed for their memory to be given back at once: the
// runtime would keep it for a while, and with a hundred thousand idle clients that is gigabytes.
const manyAsleep = 1000

// sweep finds the connections in which nothing happens and wakes them to go to sleep.
func (s *Set) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	fell := 0
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		if fell >= manyAsleep { // those of the last sweep are asleep by now
			debug.FreeOSMemory()
			fell = 0
		}
		for _, c := range s.list(false) {
			reads := c.reads.Load()
			if reads == c.swept && !c.asleep.Load() {
				c.drowsy.Store(true)
				_ = c.conn.SetReadDeadline(past)
				fell++
			}
			c.swept = reads
		}
	}
}
