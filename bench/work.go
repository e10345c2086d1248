package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// Work is workers that take the jobs of a group and say that each is done, which counts when it is on disk.
// The jobs are there before, or with a rate are sent meanwhile: then what counts is how soon each is with
// a worker.
type Work struct {
	Jobs     int64
	Workers  int // each on a connection of its own
	Prefetch int // jobs each holds at once
	Size     int // bytes of a body
	Rate     int // jobs sent a second while the workers work; 0 = all are there before
}

// keptJobs is how many messages a room keeps that nobody has configured.
const keptJobs = 100_000

func (w Work) check() error {
	if w.Rate == 0 && w.Jobs > keptJobs {
		return fmt.Errorf("a room keeps %d messages: with more jobs, give a rate", keptJobs)
	}
	if w.Jobs < 1 || w.Workers < 1 || w.Prefetch < 1 || w.Prefetch > 256 || w.Rate < 0 {
		return errors.New("work needs jobs, workers, and 1 to 256 jobs a worker")
	}
	_, err := filler(w.Size)
	return err
}

func (Work) peer(string, string) []string { return nil }

func (w Work) run(ctx context.Context, t *target) (Row, error) {
	r := &workRun{Work: w, target: t, name: runName(), clock: newClock()}
	if w.Rate == 0 {
		if err := fill(ctx, t, r.name, 1, w.Jobs, w.Size); err != nil {
			return Row{}, err
		}
	}
	conns, err := dialAll(ctx, t.addr, w.Workers, t.say, func(_ int, c net.Conn) error { return helloJSON(c) })
	if err != nil {
		return Row{}, fmt.Errorf("make workers: %w", err)
	}
	defer closeAll(conns)
	before, err := t.mark(r.counts)
	if err != nil {
		return Row{}, err
	}
	t.say("working on %d jobs", w.Jobs)
	g, gctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(gctx, func() { closeAll(conns) })()
	done, finish := context.WithCancel(gctx)
	defer finish()
	for _, c := range conns {
		one := &benchWorker{run: r, conn: c, latency: newHistogram(), finish: finish}
		r.workers = append(r.workers, one)
		g.Go(func() error { return one.work(done) })
	}
	if w.Rate > 0 {
		g.Go(func() error { return r.feed(done) })
	}
	if err := g.Wait(); err != nil {
		return Row{}, err
	}
	after, err := t.mark(r.counts)
	return r.row(after.since(before)), err
}

// helloJSON makes a connection one of JSON lines.
func helloJSON(c net.Conn) error {
	if _, err := c.Write([]byte(`{"op":"hello","name":"bench","ref":"bench"}` + "\n")); err != nil {
		return err
	}
	_, err := await(c, `"op":"welcome"`)
	return err
}

// workRun is a work under way.
type workRun struct {
	Work
	target  *target
	name    string
	clock   clock
	workers []*benchWorker
	acked   atomic.Int64
}

func (r *workRun) counts() (int64, int64) {
	n := r.acked.Load()
	return n, n * int64(r.Size)
}

// benchWorker is one connection that works.
type benchWorker struct {
	run     *workRun
	conn    net.Conn
	latency *hdrhistogram.Histogram
	finish  context.CancelFunc
	out     []byte
}

var (
	jobName  = []byte(`"job":"`)
	jobBody  = []byte(`"body":"`)
	jobOp    = []byte(`{"op":"job"`)
	ackOp    = []byte(`{"op":"ack"`)
	takingOp = []byte(`{"op":"taking"`)
)

// work takes jobs and finishes each at once, until all of the run are done.
func (b *benchWorker) work(ctx context.Context) error {
	room := roomName(b.run.name, 0)
	take := fmt.Sprintf(`{"op":"take","room":%q,"group":"bench","prefetch":%d}`+"\n", room, b.run.Prefetch)
	if _, err := b.conn.Write([]byte(take)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = b.conn.SetReadDeadline(time.Now()) })
	defer stop()
	in := bufio.NewReaderSize(b.conn, 256<<10)
	for {
		if err := b.conn.SetReadDeadline(time.Now().Add(stuck)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			if ctx.Err() != nil {
				return nil // all is done
			}
			return fmt.Errorf("work: %w", err)
		}
		if err := b.take(room, line); err != nil {
			return err
		}
		if in.Buffered() == 0 && len(b.out) > 0 {
			if _, err := b.conn.Write(b.out); err != nil {
				return err
			}
			b.out = b.out[:0]
		}
	}
}

func (b *benchWorker) take(room string, line []byte) error {
	switch {
	case bytes.HasPrefix(line, jobOp):
		if b.run.Rate > 0 {
			if at, err := strconv.ParseInt(string(between(line, jobBody)), 10, 64); err == nil {
				record(b.latency, b.run.clock.now()-at)
			}
		}
		b.out = append(append(b.out, `{"op":"done","room":"`...), room...)
		b.out = append(append(b.out, `","job":"`...), between(line, jobName)...)
		b.out = append(b.out, `","ref":1}`+"\n"...)
	case bytes.HasPrefix(line, ackOp):
		if b.run.acked.Add(1) == b.run.Jobs {
			b.finish()
		}
	case bytes.HasPrefix(line, takingOp):
	default:
		return unexpected(line)
	}
	return nil
}

// between gives what stands in quotes behind a key; bench's own values have nothing escaped.
func between(line, key []byte) []byte {
	_, rest, _ := bytes.Cut(line, key)
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return value
}

// feed sends jobs at the rate, each with the time at which it is sent.
func (r *workRun) feed(ctx context.Context) error {
	c, err := dial(ctx, r.target.addr, 0)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := helloJSON(c); err != nil {
		return err
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	go func() { // the answers are not looked at: a job that was not stored would never be done
		buf := make([]byte, 64<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	const tick = 2 * time.Millisecond
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	room, began, sent := roomName(r.name, 0), time.Now(), int64(0)
	var out []byte
	for sent < r.Jobs {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
		due := min(int64(time.Since(began).Seconds()*float64(r.Rate)), r.Jobs)
		for out = out[:0]; sent < due; sent++ {
			out = append(append(out, `{"op":"send","room":"`...), room...)
			out = append(out, `","body":"`...)
			out = strconv.AppendInt(out, r.clock.now(), 10)
			out = append(out, `"}`+"\n"...)
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
	}
	<-ctx.Done() // the session stays until all is done
	return nil
}

func (r *workRun) row(s stretch) Row {
	row := Row{Load: "work", Params: []Param{
		{"jobs", r.Jobs},
		{"workers", r.Workers},
		{"prefetch", r.Prefetch},
		{"size", r.Size},
		{"rate", r.Rate},
	}}
	row.figure("jobs_per_s", "jobs/s", s.rate())
	row.cost(r.target, "cpu_s_per_1m", "CPU-s/1M", s)
	if r.Rate > 0 {
		all := newHistogram()
		for _, w := range r.workers {
			all.Merge(w.latency)
		}
		row.latency(all)
	}
	return row
}

// Ask is sessions that ask, one question after the other, and sessions that answer.
type Ask struct {
	Askers  int
	Servers int // that serve the room: each gets every question, and the first answer counts
	For     time.Duration
}

func (a Ask) check() error {
	if a.Askers < 1 || a.Servers < 1 || a.For <= 0 {
		return errors.New("ask needs sessions that ask, sessions that answer, and time")
	}
	return nil
}

func (Ask) peer(string, string) []string { return nil }

func (a Ask) run(ctx context.Context, t *target) (Row, error) {
	conns, err := dialAll(ctx, t.addr, a.Servers+a.Askers, t.say, func(_ int, c net.Conn) error { return helloJSON(c) })
	if err != nil {
		return Row{}, err
	}
	defer closeAll(conns)
	room, clock := roomName(runName(), 0), newClock()
	g, gctx := errgroup.WithContext(ctx)
	asking, stop := context.WithTimeout(gctx, a.For)
	defer stop()
	for _, c := range conns[:a.Servers] {
		if err := serveJSON(c, room); err != nil {
			return Row{}, err
		}
		g.Go(func() error { return answerAll(asking, c, room) })
	}
	var asked atomic.Int64
	counts := func() (int64, int64) { return asked.Load(), 0 }
	before, err := t.mark(counts)
	if err != nil {
		return Row{}, err
	}
	latencies := make([]*hdrhistogram.Histogram, a.Askers)
	for i, c := range conns[a.Servers:] {
		latencies[i] = newHistogram()
		g.Go(func() error { return askAll(asking, c, room, clock, latencies[i], &asked) })
	}
	err = g.Wait()
	after, markErr := t.mark(counts)
	if err = errors.Join(err, markErr); err != nil {
		return Row{}, err
	}
	s := after.since(before)
	row := Row{Load: "ask", Params: []Param{{"askers", a.Askers}, {"servers", a.Servers}, {"seconds", a.For.Seconds()}}}
	row.figure("asks_per_s", "asks/s", s.rate())
	row.cost(t, "cpu_s_per_1m", "CPU-s/1M", s)
	all := newHistogram()
	for _, h := range latencies {
		all.Merge(h)
	}
	row.latency(all)
	return row, nil
}

func serveJSON(c net.Conn, room string) error {
	if _, err := fmt.Fprintf(c, `{"op":"serve","room":%q}`+"\n", room); err != nil {
		return err
	}
	_, err := await(c, `"op":"serving"`)
	return err
}

// eachLine calls do with each line that comes, until ctx ends.
func eachLine(ctx context.Context, c net.Conn, do func(line []byte) error) error {
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })()
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err == nil {
			err = do(line)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func answerAll(ctx context.Context, c net.Conn, room string) error {
	var out []byte
	return eachLine(ctx, c, func(line []byte) error {
		if !bytes.HasPrefix(line, []byte(`{"op":"question"`)) {
			return nil // an answer that was not needed any more
		}
		out = append(append(out[:0], `{"op":"answer","room":"`...), room...)
		out = append(append(out, `","question":"`...), between(line, []byte(`"question":"`))...)
		_, err := c.Write(append(out, `","body":"yes"}`+"\n"...))
		return err
	})
}

func askAll(ctx context.Context, c net.Conn, room string, clock clock, latency *hdrhistogram.Histogram, asked *atomic.Int64) error {
	question := []byte(fmt.Sprintf(`{"op":"ask","room":%q,"body":"what?","ref":1}`+"\n", room))
	began := clock.now()
	if _, err := c.Write(question); err != nil {
		return err
	}
	return eachLine(ctx, c, func(line []byte) error {
		switch {
		case bytes.HasPrefix(line, []byte(`{"op":"answer"`)) && !bytes.HasPrefix(line, []byte(`{"op":"answered"`)):
			record(latency, clock.now()-began)
			return nil
		case !bytes.HasPrefix(line, []byte(`{"op":"answered"`)):
			return unexpected(line)
		}
		asked.Add(1)
		began = clock.now()
		_, err := c.Write(question)
		return err
	})
}
