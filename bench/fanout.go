package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Fanout is many receivers in one room, and a few senders.
//
// In flight is what was sent and not yet seen by one of the receivers, the observer: the same rule
// for every peer, whether it acknowledges or not. With a rate the load is open: messages leave on
// a schedule, and their latency counts from the time they should have left.
type Fanout struct {
	Receivers int
	Rooms     int // that the messages go round, while the receivers are in a pattern of them; 0 = one room
	Senders   int
	Inflight  int // over all senders
	Rate      int // messages a second over all senders; 0 = as many as Inflight lets through
	Size      int // bytes of a body
	Encoding  string
	Samples   int // receivers whose messages' latencies are taken
	WarmUp    time.Duration
	Transport string // of the receivers: tcp, ws, sse; senders have TCP
	Compress  bool   // with ws: bodies are text that gains by it
	For       time.Duration
}

func (f Fanout) check() error {
	switch {
	case f.Receivers < 1 || f.Senders < 1 || f.Inflight < 1 || f.Samples < 1 || f.Rate < 0:
		return errors.New("fanout needs receivers, senders, messages in flight and a sample, and a rate of 0 or more")
	case f.For <= 0:
		return errors.New("fanout needs time")
	case f.Rooms < 0 || f.Rooms >= maxRooms:
		return fmt.Errorf("at most %d rooms", maxRooms-1)
	case f.Rooms > 0 && (f.way().encoding(f.Encoding) != "json" || f.Transport == SSE):
		return errors.New("the receivers of a pattern have JSON, over TCP or ws")
	}
	if _, err := parleyDialect(f.Encoding, ""); err != nil {
		return err
	}
	if _, err := filler(f.Size); err != nil {
		return err
	}
	return f.way().check(TCP, WebSocket, SSE)
}

func (f Fanout) way() way { return way{f.Transport, f.Compress} }

func (f Fanout) overHTTP() bool { return f.way().overHTTP() }

// floorChunk is how many messages the floor writes at once.
func (f Fanout) floorChunk() int {
	if f.Rate > 0 {
		return 1
	}
	return min(64, f.Inflight)
}

func (f Fanout) peer(name, _ string) []string {
	switch {
	case f.overHTTP() || f.Rooms > 0:
		return nil // peers have no such way
	case name == NATS:
		return []string{"bench", "nats-server"}
	case name == Write:
		return []string{"bench", "write-server", "--chunk", fmt.Sprint(f.floorChunk() * (f.Size + 1))}
	}
	return nil
}

func (f Fanout) run(ctx context.Context, t *target) (Row, error) {
	r, err := newFanoutRun(f, t)
	if err != nil {
		return Row{}, err
	}
	defer r.poll.close()
	if err := r.connect(ctx); err != nil {
		return Row{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.poll.run(gctx) })
	var s stretch
	g.Go(func() (err error) {
		defer cancel()
		s, err = r.measure(gctx)
		return err
	})
	if err := g.Wait(); err != nil {
		return Row{}, err
	}
	return r.row(s), nil
}

// fanoutRun is a fan-out under way.
type fanoutRun struct {
	Fanout
	target  *target
	dialect dialect
	poll    *poller
	clock   clock
	window  window
	room    string

	receivers []*receiver
	senders   []*sender

	seen atomic.Int64  // messages the observer has got
	more chan struct{} // the observer has got some; holds one

	// Owned by measure and the drive it calls.
	sent int64
	next int // the sender whose turn it is
}

func newFanoutRun(f Fanout, t *target) (*fanoutRun, error) {
	r := &fanoutRun{Fanout: f, target: t, clock: newClock(), room: roomName(runName()+".room", 0), more: make(chan struct{}, 1)}
	var err error
	switch t.name {
	case NATS:
		r.dialect = natsDialect(false, "")
	case Write:
		// One sender: chunks are made of what one connection brings.
		r.dialect, r.Senders = floorDialect(), 1
	default:
		r.dialect, err = f.way().dialect(t, f.Encoding)
	}
	if err != nil {
		return nil, err
	}
	r.poll, err = newPoller(runtime.GOMAXPROCS(0))
	return r, err
}

// connect makes the receivers and the senders.
func (r *fanoutRun) connect(ctx context.Context) error {
	conns, err := dialAll(ctx, r.way().addr(r.target), r.Receivers, r.target.say, func(_ int, c net.Conn) error {
		return r.dialect.receive(c, r.followed())
	})
	if err != nil {
		return fmt.Errorf("make receivers: %w", err)
	}
	defer closeAll(conns)
	samples := min(r.Samples, r.Receivers)
	for i, c := range conns {
		rec := newReceiver(r.way())
		if r.Rooms > 0 {
			rec.skipCursors()
		}
		// The samples are spread evenly, for servers serve their members in some order.
		if k := i * samples / r.Receivers; i == (2*k+1)*r.Receivers/(2*samples) {
			rec.sample = &sample{run: r, observer: k == samples/2, cut: r.way().cutter(), latency: newHistogram()}
		}
		if rec.sock, err = r.poll.add(c, rec); err != nil {
			return err
		}
		r.receivers = append(r.receivers, rec)
	}
	senders, err := dialEach(ctx, r.target.sendersTo(), r.Senders, r.target.say, func(i int, c net.Conn) error {
		return r.dialect.sender(c, i)
	})
	if err != nil {
		return fmt.Errorf("make senders: %w", err)
	}
	defer closeAll(senders)
	for i, c := range senders {
		s, err := newSender(r, i)
		if err != nil {
			return err
		}
		if s.sock, err = r.poll.add(c, s); err != nil {
			return err
		}
		r.senders = append(r.senders, s)
	}
	return nil
}

// measure probes, warms up, measures, and sees that nothing was lost.
func (r *fanoutRun) measure(ctx context.Context) (stretch, error) {
	probe := 1
	if r.dialect.finish {
		probe = r.floorChunk()
	}
	if err := r.send(ctx, probe, r.clock.now()); err != nil {
		return stretch{}, err
	}
	if err := r.settle(ctx); err != nil {
		return stretch{}, fmt.Errorf("a first message: %w", err)
	}
	halt := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error { return r.drive(ctx, halt) })
	s, err := r.watch(ctx)
	close(halt)
	if err := errors.Join(err, g.Wait()); err != nil {
		return s, err
	}
	if r.dialect.finish {
		for _, s := range r.senders {
			if err := s.sock.finish(); err != nil {
				return stretch{}, err
			}
		}
	}
	return s, r.settle(ctx)
}

// watch waits through the warm-up and the window, and marks the window's ends.
func (r *fanoutRun) watch(ctx context.Context) (stretch, error) {
	if err := sleep(ctx, r.WarmUp); err != nil {
		return stretch{}, err
	}
	r.target.say("measuring for %v", r.For)
	r.window.open(r.clock.now(), r.For)
	before, err := r.target.mark(r.delivered)
	if err != nil {
		return stretch{}, err
	}
	if err := sleep(ctx, r.For); err != nil {
		return stretch{}, err
	}
	after, err := r.target.mark(r.delivered)
	return after.since(before), err
}

// delivered counts the messages and bytes that all receivers have got.
func (r *fanoutRun) delivered() (n, size int64) {
	for _, rec := range r.receivers {
		n += rec.lines.Load()
		size += rec.bytes.Load()
	}
	return n / int64(r.dialect.lines), size
}

// settle waits until every receiver has got every message sent, and every one is acknowledged.
func (r *fanoutRun) settle(ctx context.Context) error {
	var last tally
	for moved := time.Now(); ; {
		now := r.tally()
		if now.whole(r) {
			return nil
		}
		if now != last {
			last, moved = now, time.Now()
		} else if r.target.lost(moved) {
			return fmt.Errorf("%d messages were sent and %d acknowledged, but the receivers got from %d to %d each",
				r.sent, now.acked, now.least, now.most)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// tally is what has arrived where: the messages of the receivers that have the fewest and the
// most, and the acks.
type tally struct{ least, most, acked int64 }

func (r *fanoutRun) tally() tally {
	t := tally{least: math.MaxInt64}
	for _, rec := range r.receivers {
		n := rec.lines.Load() / int64(r.dialect.lines)
		t.least, t.most = min(t.least, n), max(t.most, n)
	}
	for _, s := range r.senders {
		t.acked += s.acked.Load()
	}
	return t
}

func (t tally) whole(r *fanoutRun) bool {
	return t.least == r.sent && t.most == r.sent && (t.acked == r.sent || !r.dialect.acked)
}

func (r *fanoutRun) row(s stretch) Row {
	row := Row{Load: "fanout", Params: []Param{
		{"receivers", r.Receivers},
		{"rooms", max(1, r.Rooms)},
		{"senders", r.Senders},
		{"inflight", r.Inflight},
		{"rate", r.Rate},
		{"size", r.Size},
		{"encoding", r.way().encoding(r.Encoding)},
		{"transport", r.way().String()},
		{"seconds", r.For.Seconds()},
	}}
	row.figure("deliveries_per_s", "deliveries/s", s.rate())
	row.figure("messages_per_s", "messages/s", s.rate()/float64(r.Receivers))
	row.cost(r.target, "cpu_s_per_1m", "CPU-s/1M", s)
	row.figure("mb_per_s", "MB/s", float64(s.bytes)/s.took.Seconds()/1e6)
	all := newHistogram()
	for _, rec := range r.receivers {
		if rec.sample != nil {
			all.Merge(rec.sample.latency)
		}
	}
	row.latency(all)
	return row
}
