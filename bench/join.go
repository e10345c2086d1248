package bench

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Join is clients that come and go: each connects, says hello, joins a room, leaves it and closes.
type Join struct {
	Joins     int // in all
	Clients   int // at once
	Transport string
}

func (j Join) way() way { return way{Transport: j.Transport} }

func (j Join) check() error {
	if j.Joins < 1 || j.Clients < 1 || j.Joins > maxCycles {
		return fmt.Errorf("join needs clients, and 1 to %d joins", maxCycles)
	}
	return j.way().check(TCP, WebSocket)
}

// maxCycles is how many connections the loopback addresses give that are not used twice: the ports
// of those just closed stay taken for a minute.
const maxCycles = 250 * perSource

func (j Join) overHTTP() bool { return j.way().overHTTP() }

func (Join) peer(string, string) []string { return nil }

func (j Join) run(ctx context.Context, t *target) (Row, error) {
	w, clock, room := j.way(), newClock(), roomName(runName(), 0)
	latency := newHistogram()
	took := make(chan int64, j.Clients)
	nothing := func() (int64, int64) { return 0, 0 }
	before, err := t.mark(nothing)
	if err != nil {
		return Row{}, err
	}
	t.say("joining %d times", j.Joins)
	g, gctx := errgroup.WithContext(ctx)
	for nth := range min(j.Clients, j.Joins) {
		g.Go(func() error {
			for n := nth; n < j.Joins; n += j.Clients {
				began := clock.now()
				if err := j.cycle(gctx, t, w, room, n); err != nil {
					return fmt.Errorf("join %d of %d: %w", n+1, j.Joins, err)
				}
				took <- clock.now() - began
			}
			return nil
		})
	}
	go func() { _ = g.Wait(); close(took) }()
	var done int64
	for nanoseconds := range took {
		record(latency, nanoseconds)
		done++
	}
	if err := g.Wait(); err != nil {
		return Row{}, err
	}
	after, err := t.mark(func() (int64, int64) { return done, 0 })
	if err != nil {
		return Row{}, err
	}
	s := after.since(before)
	row := Row{Load: "join", Params: []Param{{"joins", j.Joins}, {"clients", j.Clients}, {"transport", w.String()}}}
	row.figure("joins_per_s", "joins/s", s.rate())
	row.cost(t, "cpu_us_per_join", "CPU-µs/join", s)
	row.latency(latency)
	return row, nil
}

// cycle is one client from its connection to its end.
func (j Join) cycle(ctx context.Context, t *target, w way, room string, n int) error {
	conn, err := dial(ctx, w.addr(t), n/perSource)
	if err != nil {
		return err
	}
	c, err := w.newClient(t, conn)
	if err == nil {
		err = c.join(room)
	}
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	return c.leave(room)
}
