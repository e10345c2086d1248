package bench

import (
	"bytes"
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

// Resume is sessions that join a room with its newest messages: what every client asks for that
// comes back. A bounded number of connections joins again and again; each join leaves the room it
// was in with the same write, so that leaving costs as little as it can.
type Resume struct {
	Joins       int
	Last        int
	Connections int  // each with one join under way
	Messages    int  // that a room holds; at least Last
	Cold        bool // each join is the first of its room since the server started
	Size        int  // bytes of a body
}

func (r Resume) check() error {
	switch {
	case r.Joins < 1 || r.Last < 1 || r.Connections < 1:
		return errors.New("resume needs joins, messages to ask for, and connections")
	case r.Messages < r.Last:
		return fmt.Errorf("a room of %d messages cannot give the newest %d", r.Messages, r.Last)
	case r.rooms() >= 100_000:
		return errors.New("resume has at most 99,999 rooms")
	}
	_, err := filler(r.Size)
	return err
}

func (r Resume) rooms() int {
	if r.Cold {
		return r.Joins
	}
	return 1
}

func (Resume) peer(string, string) []string { return nil }

func (r Resume) run(ctx context.Context, t *target) (Row, error) {
	run := &resumeRun{Resume: r, target: t, name: runName(), clock: newClock(), done: make(chan struct{})}
	if err := fill(ctx, t, run.name, r.rooms(), int64(r.rooms())*int64(r.Messages), r.Size); err != nil {
		return Row{}, err
	}
	if r.Cold {
		if err := t.restart(ctx); err != nil {
			return Row{}, err
		}
	} else {
		// Someone is there all the time, so that the room is in use.
		c, err := dial(ctx, t.addr, 0)
		if err != nil {
			return Row{}, err
		}
		defer func() { _ = c.Close() }()
		if err := joinJSON(c, roomName(run.name, 0)); err != nil {
			return Row{}, err
		}
	}
	var err error
	if run.poll, err = newPoller(runtime.GOMAXPROCS(0)); err != nil {
		return Row{}, err
	}
	defer run.poll.close()
	if err := run.connect(ctx); err != nil {
		return Row{}, err
	}
	s, err := run.measure(ctx)
	return run.row(s), err
}

// resumeRun is a resume under way.
type resumeRun struct {
	Resume
	target *target
	name   string
	poll   *poller
	clock  clock
	ctx    context.Context // of the writes that the poller's lanes make

	joiners []*joiner
	begun   atomic.Int64
	ended   atomic.Int64
	done    chan struct{} // closed when all joins have ended
}

func (r *resumeRun) connect(ctx context.Context) error {
	conns, err := dialAll(ctx, r.target.addr, min(r.Connections, r.Joins), r.target.say, func(_ int, c net.Conn) error {
		return hello(c)
	})
	if err != nil {
		return err
	}
	defer closeAll(conns)
	for _, c := range conns {
		j := &joiner{run: r, latency: newHistogram()}
		if j.sock, err = r.poll.add(c, j); err != nil {
			return err
		}
		r.joiners = append(r.joiners, j)
	}
	return nil
}

func (r *resumeRun) measure(ctx context.Context) (stretch, error) {
	r.target.say("joining %d times", r.Joins)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	r.ctx = gctx
	count := func() (int64, int64) { return r.ended.Load(), 0 }
	before, err := r.target.mark(count)
	if err != nil {
		return stretch{}, err
	}
	for _, j := range r.joiners {
		if err := j.next(); err != nil {
			return stretch{}, err
		}
	}
	g.Go(func() error { return r.poll.run(gctx) })
	var after mark
	g.Go(func() error {
		defer cancel()
		select {
		case <-r.done:
		case <-gctx.Done():
			return context.Cause(gctx)
		case <-time.After(stuck + time.Duration(r.Joins)*10*time.Millisecond):
			return fmt.Errorf("only %d of %d joins got their messages", r.ended.Load(), r.Joins)
		}
		var err error
		after, err = r.target.mark(count)
		return err
	})
	if err := g.Wait(); err != nil {
		return stretch{}, err
	}
	return after.since(before), nil
}

func (r *resumeRun) row(s stretch) Row {
	row := Row{Load: "resume", Params: []Param{
		{"joins", r.Joins},
		{"last", r.Last},
		{"connections", r.Connections},
		{"messages", r.Messages},
		{"cold", r.Cold},
		{"size", r.Size},
	}}
	row.figure("joins_per_s", "joins/s", s.rate())
	row.cost(r.target, "cpu_us_per_join", "CPU-µs/join", s)
	all := newHistogram()
	for _, j := range r.joiners {
		all.Merge(j.latency)
	}
	row.latency(all)
	return row
}

// joiner is one connection that joins, reads exactly the messages it asked for, and joins again.
type joiner struct {
	run  *resumeRun
	sock *sock

	// Owned by the lane that reads, once the first join is out.
	room    string // it is in; "" = none yet
	began   int64
	newest  int64 // what joined said
	prev    int64 // the seq of the message before
	got     int   // messages; -1 = not joined yet
	lines   lines
	latency *hdrhistogram.Histogram
}

// next leaves and joins, if a join is left.
func (j *joiner) next() error {
	n := j.run.begun.Add(1) - 1
	if n >= int64(j.run.Joins) {
		return nil
	}
	var out []byte
	if j.room != "" {
		out = fmt.Appendf(out, `{"op":"leave","room":"%s","ref":1}`+"\n", j.room)
	}
	j.room = roomName(j.run.name, int(n)%j.run.rooms())
	out = fmt.Appendf(out, `{"op":"join","room":"%s","last":%d,"ref":2}`+"\n", j.room, j.run.Last)
	j.got, j.began = -1, j.run.clock.now()
	return j.sock.write(j.run.ctx, out)
}

func (j *joiner) take(p []byte) error { return j.lines.cut(p, j.line) }

var (
	leftStart    = []byte(`{"op":"left"`)
	joinedStart  = []byte(`{"op":"joined"`)
	messageStart = []byte(`{"op":"message"`)
)

func (j *joiner) line(line []byte) error {
	switch {
	case j.got < 0 && bytes.HasPrefix(line, leftStart):
		return nil
	case j.got < 0 && bytes.HasPrefix(line, joinedStart):
		newest, ok := numberAfter(line, seqKey)
		if !ok {
			return unexpected(line)
		}
		if newest == 0 {
			return fmt.Errorf("the room holds nothing of the %d messages stored in it", j.run.Messages)
		}
		j.got, j.newest = 0, newest
		return nil
	case j.got < 0 || j.got >= j.run.Last || !bytes.HasPrefix(line, messageStart):
		return unexpected(line)
	}
	// The newest ones, all of them, in order: each follows on the one before, and the last is the
	// room's newest.
	seq, ok := numberAfter(line, seqKey)
	prev, hasPrev := numberAfter(line, prevKey)
	if !ok || !hasPrev || j.got > 0 && prev != j.prev {
		return fmt.Errorf("message %d of a join does not follow on seq %d: %.200s", j.got+1, j.prev, line)
	}
	j.got, j.prev = j.got+1, seq
	if j.got < j.run.Last {
		return nil
	}
	if seq != j.newest {
		return fmt.Errorf("the newest %d messages end at seq %d, and the room at %d", j.run.Last, seq, j.newest)
	}
	record(j.latency, j.run.clock.now()-j.began)
	if j.run.ended.Add(1) == int64(j.run.Joins) {
		close(j.run.done)
	}
	return j.next()
}
