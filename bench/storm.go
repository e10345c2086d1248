package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Storm is clients that are all cut off at once and all come back at once, each to get what it
// missed.
type Storm struct {
	Clients   int
	Missed    int // messages that are sent while they are away
	Size      int // bytes of a body
	Transport string
}

func (s Storm) way() way { return way{Transport: s.Transport} }

func (s Storm) check() error {
	if s.Clients < 1 || s.Clients > maxConnections || s.Missed < 1 {
		return fmt.Errorf("storm needs messages that are missed, and 1 to %d clients", maxConnections)
	}
	if _, err := filler(s.Size); err != nil {
		return err
	}
	return s.way().check(TCP, WebSocket)
}

func (s Storm) overHTTP() bool { return s.way().overHTTP() }

func (Storm) peer(string, string) []string { return nil }

// stormWithin bounds how long a client may wait for what it missed.
const stormWithin = 2 * time.Minute

func (s Storm) run(ctx context.Context, t *target) (Row, error) {
	const known = 10 // messages that the clients saw before
	w, run := s.way(), runName()
	if err := fill(ctx, t, run, 1, known, s.Size); err != nil {
		return Row{}, err
	}
	seqs, err := s.first(ctx, t, w, roomName(run, 0))
	if err != nil {
		return Row{}, err
	}
	if err := fill(ctx, t, run, 1, int64(s.Missed), s.Size); err != nil {
		return Row{}, err
	}
	if err := sleep(ctx, 500*time.Millisecond); err != nil { // the server sees to those that are gone
		return Row{}, err
	}
	t.say("%d clients come back", s.Clients)
	latency, clock := newHistogram(), newClock()
	nothing := func() (int64, int64) { return 0, 0 }
	before, err := t.mark(nothing)
	if err != nil {
		return Row{}, err
	}
	var mu sync.Mutex
	conns := make([]net.Conn, s.Clients)
	defer func() { closeAll(conns) }()
	g, gctx := errgroup.WithContext(ctx)
	for i, seq := range seqs {
		g.Go(func() (err error) {
			if conns[i], err = s.back(gctx, t, w, roomName(run, 0), i, seq); err != nil {
				return fmt.Errorf("client %d of %d: %w", i+1, s.Clients, err)
			}
			mu.Lock()
			defer mu.Unlock()
			record(latency, clock.now())
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return Row{}, err
	}
	after, err := t.mark(nothing)
	if err != nil {
		return Row{}, err
	}
	all := after.since(before)
	row := Row{Load: "storm", Params: []Param{
		{"clients", s.Clients}, {"missed", s.Missed}, {"size", s.Size}, {"transport", w.String()},
	}}
	row.figure("seconds", "seconds", all.took.Seconds())
	if t.pid != 0 {
		row.figure("cpu_s", "CPU-s", all.cpu.Seconds())
	}
	row.figure("messages_per_s", "messages/s", float64(s.Clients*s.Missed)/all.took.Seconds())
	row.latency(latency)
	return row, nil
}

// first has all clients join, notes the newest message that each knows of, and cuts them off.
func (s Storm) first(ctx context.Context, t *target, w way, room string) ([]int64, error) {
	seqs := make([]int64, s.Clients)
	conns, err := dialAll(ctx, w.addr(t), s.Clients, t.say, func(i int, conn net.Conn) error {
		c, err := w.newClient(t, conn)
		if err != nil {
			return err
		}
		if err := c.say(helloOp, fmt.Sprintf(`{"op":"join","room":"%s","ref":1}`, room)); err != nil {
			return err
		}
		return c.hear(make([]byte, 1<<10), func(frame []byte) (joined bool, err error) {
			if joined = bytes.HasPrefix(frame, joinedStart); joined {
				seqs[i], joined = numberAfter(frame, seqKey)
			}
			return joined, nil
		})
	})
	closeAll(conns)
	return seqs, err
}

// back connects again and reads what was missed: all of it, in order.
func (s Storm) back(ctx context.Context, t *target, w way, room string, nth int, seq int64) (net.Conn, error) {
	conn, err := dial(ctx, w.addr(t), nth/perSource)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(stormWithin)); err != nil {
		return conn, err
	}
	c, err := w.newClient(t, conn)
	if err != nil {
		return conn, err
	}
	if err := c.say(helloOp, fmt.Sprintf(`{"op":"join","room":"%s","after":%d,"ref":1}`, room, seq)); err != nil {
		return conn, err
	}
	got := 0
	err = c.hear(make([]byte, 8<<10), func(frame []byte) (bool, error) {
		if !bytes.HasPrefix(frame, messageStart) {
			if bytes.HasPrefix(frame, joinedStart) || bytes.HasPrefix(frame, []byte(`{"op":"welcome"`)) {
				return false, nil
			}
			return false, unexpected(frame)
		}
		next, ok := numberAfter(frame, seqKey)
		prev, hasPrev := numberAfter(frame, prevKey)
		if !ok || !hasPrev || prev != seq {
			return false, fmt.Errorf("message %d does not follow on seq %d: %.200s", got+1, seq, frame)
		}
		got, seq = got+1, next
		if got > s.Missed {
			return false, fmt.Errorf("more than the %d messages that were missed", s.Missed)
		}
		return got == s.Missed, nil
	})
	if err != nil {
		return conn, fmt.Errorf("it got %d of %d messages: %w", got, s.Missed, err)
	}
	return conn, nil
}
