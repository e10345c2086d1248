package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// Publish is sessions that send and wait for the ack, which says that the message is on disk.
type Publish struct {
	Sessions int  // each on a connection of its own
	Inflight int  // sends a session keeps unanswered
	Rooms    int  // sends go round them
	IDs      bool // the sender chooses ids, so the server remembers them
	Size     int  // bytes of a body
	WarmUp   time.Duration
	For      time.Duration

	// Total, where it is not 0, makes it a filling: so many messages, in no window.
	Total int64
	// Run names the rooms; "" = a name of its own.
	Run string
}

func (p Publish) check() error {
	switch {
	case p.Sessions < 1 || p.Inflight < 1 || p.Inflight > maxRefs || p.Rooms < 1:
		return fmt.Errorf("publish needs sessions, rooms and 1 to %d sends in flight a session", maxRefs)
	case p.For <= 0 && p.Total == 0:
		return errors.New("publish needs time")
	}
	_, err := filler(p.Size)
	return err
}

func (p Publish) peer(name, dir string) []string {
	if name == NATS {
		return []string{"bench", "nats-server", "--jetstream", dir}
	}
	return nil
}

func (p Publish) run(ctx context.Context, t *target) (Row, error) {
	r, err := newPublishRun(p, t)
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
	r.ctx = gctx
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

// publishRun is a publish under way.
type publishRun struct {
	Publish
	target   *target
	dialect  dialect
	poll     *poller
	clock    clock
	window   window
	ctx      context.Context // of the writes that the poller's lanes make
	sessions []*publisher

	latency []*hdrhistogram.Histogram // one for each lane
	left    atomic.Int64              // sends that may still begin
}

func newPublishRun(p Publish, t *target) (*publishRun, error) {
	r := &publishRun{Publish: p, target: t, clock: newClock()}
	if r.Run == "" {
		r.Run = runName()
	}
	r.left.Store(p.Total)
	if p.Total == 0 {
		r.left.Store(1 << 62)
	}
	idPrefix := ""
	if p.IDs {
		idPrefix = r.Run
	}
	var err error
	if t.name == NATS {
		r.dialect = natsDialect(true, idPrefix)
	} else if r.dialect, err = parleyDialect("json", idPrefix); err != nil {
		return nil, err
	}
	lanes := runtime.GOMAXPROCS(0)
	for range lanes {
		r.latency = append(r.latency, newHistogram())
	}
	r.poll, err = newPoller(lanes)
	return r, err
}

func (r *publishRun) connect(ctx context.Context) error {
	conns, err := dialEach(ctx, r.target.sendersTo(), r.Sessions, r.target.say, func(i int, c net.Conn) error {
		return r.dialect.sender(c, i)
	})
	if err != nil {
		return fmt.Errorf("make sessions: %w", err)
	}
	defer closeAll(conns)
	body, err := filler(r.Size)
	if err != nil {
		return err
	}
	for i, c := range conns {
		s := &publisher{run: r, nth: i, begun: make([]int64, r.Inflight)}
		s.template = r.dialect.frame(i, roomName(r.Run, 0), body)
		if s.sock, err = r.poll.add(c, s); err != nil {
			return err
		}
		s.latency = r.latency[s.sock.lane]
		r.sessions = append(r.sessions, s)
	}
	return nil
}

// measure begins the sends, which then go on by themselves, and waits for them.
func (r *publishRun) measure(ctx context.Context) (stretch, error) {
	before, err := r.target.mark(r.counts)
	if err != nil {
		return stretch{}, err
	}
	for _, s := range r.sessions {
		if err := s.begin(); err != nil {
			return stretch{}, err
		}
	}
	after := before
	if r.Total == 0 {
		if before, after, err = r.watch(ctx); err != nil {
			return stretch{}, err
		}
		r.left.Store(0)
	}
	if err := r.settle(ctx); err != nil {
		return stretch{}, err
	}
	if r.Total != 0 {
		if after, err = r.target.mark(r.counts); err != nil {
			return stretch{}, err
		}
	}
	return after.since(before), nil
}

// watch waits through the warm-up and the window.
func (r *publishRun) watch(ctx context.Context) (before, after mark, err error) {
	if err = sleep(ctx, r.WarmUp); err != nil {
		return before, after, err
	}
	r.target.say("measuring for %v", r.For)
	r.window.open(r.clock.now(), r.For)
	if before, err = r.target.mark(r.counts); err != nil {
		return before, after, err
	}
	if err = sleep(ctx, r.For); err != nil {
		return before, after, err
	}
	after, err = r.target.mark(r.counts)
	return before, after, err
}

// counts gives the acks that came.
func (r *publishRun) counts() (acked, size int64) {
	for _, s := range r.sessions {
		acked += s.acked.Load()
	}
	return acked, acked * int64(r.Size)
}

// settle waits until what was sent is acknowledged and nothing more will be sent.
func (r *publishRun) settle(ctx context.Context) error {
	told := time.Now()
	for moved, last := time.Now(), int64(-1); ; {
		var sent int64
		acked, _ := r.counts()
		for _, s := range r.sessions {
			sent += s.sent.Load()
		}
		if acked == sent && r.left.Load() <= 0 {
			return nil
		}
		if acked != last {
			moved, last = time.Now(), acked
		} else if r.target.lost(moved) {
			return fmt.Errorf("of %d messages sent only %d were acknowledged", sent, acked)
		}
		if r.Total != 0 && time.Since(told) > 2*time.Second {
			told = time.Now()
			r.target.say("%d of %d messages stored", acked, r.Total)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func (r *publishRun) row(s stretch) Row {
	row := Row{Load: "publish", Params: []Param{
		{"sessions", r.Sessions},
		{"inflight", r.Inflight},
		{"rooms", r.Rooms},
		{"ids", r.IDs},
		{"size", r.Size},
		{"seconds", r.For.Seconds()},
	}}
	row.figure("acks_per_s", "acks/s", s.rate())
	row.cost(r.target, "cpu_s_per_1m", "CPU-s/1M", s)
	all := newHistogram()
	for _, h := range r.latency {
		all.Merge(h)
	}
	row.latency(all)
	return row
}

// fill stores messages in the rooms of a run, as fast as they are acknowledged.
func fill(ctx context.Context, t *target, run string, rooms int, messages int64, size int) error {
	p := Publish{Sessions: 16, Inflight: 128, Rooms: rooms, Size: size, Total: messages, Run: run}
	if err := p.check(); err != nil {
		return err
	}
	if _, err := p.run(ctx, t); err != nil {
		return fmt.Errorf("store %d messages: %w", messages, err)
	}
	return nil
}
