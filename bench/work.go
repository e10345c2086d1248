package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Work is workers that take the jobs of a group and say that each is done, which counts when it is on disk.
// The jobs are there before, or with a rate are sent meanwhile: then what counts is how soon each begins, from
// the moment at which its sender knows that it is on disk.
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
	if w.Rate > 0 {
		r.starts = make([]start, w.Jobs)
	} else {
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
		one := &benchWorker{run: r, conn: c, finish: finish}
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
	target *target
	name   string
	clock  clock
	starts []start // of the jobs that are sent at a rate, by number
	acked  atomic.Int64
}

func (r *workRun) counts() (int64, int64) {
	n := r.acked.Load()
	return n, n * int64(r.Size)
}

// benchWorker is one connection that works.
type benchWorker struct {
	run    *workRun
	conn   net.Conn
	finish context.CancelFunc
	out    []byte
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
		if n, ok := numberAfter(line, jobBody); ok && n < int64(len(b.run.starts)) {
			b.run.starts[n].begun.CompareAndSwap(0, b.run.clock.now())
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
		fromAck, fromSend := r.latencies()
		row.latency(fromAck)
		row.figure("sent_p99_ms", "p99 ms from the send", float64(fromSend.ValueAtQuantile(99))/1e6)
	}
	return row
}
