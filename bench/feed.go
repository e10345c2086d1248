package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// halfFor is how long jobs are sent at half of the rate that was just reached.
const halfFor = 5 * time.Second

// feeders are the connections that send jobs at a rate: one has only so many without an answer.
const feeders = 4

// Work runs a work whose jobs are all there before, and then, with no rate given, another at half of the rate
// just reached, and prints both: how many jobs are done, and how soon each begins where there is room to spare.
func (s *Setup) Work(ctx context.Context, w Work) error {
	if w.Rate > 0 {
		return s.Run(ctx, w)
	}
	full, err := s.rows(ctx, w)
	if err != nil {
		return err
	}
	if err := s.print(full); err != nil {
		return err
	}
	w.Rate = max(1, int(full[0].value("jobs_per_s")/2))
	w.Jobs = int64(float64(w.Rate) * halfFor.Seconds())
	half, err := s.rows(ctx, w)
	if err != nil {
		return fmt.Errorf("at half of the rate: %w", err)
	}
	return s.print(half)
}

// start is when a job was sent, acknowledged and begun, by the run's clock; 0 = not yet.
type start struct{ sent, acked, begun atomic.Int64 }

// latencies gives how long jobs waited for a worker, from their acknowledgement and from their send. A job that
// is with its worker before its sender has read the answer has not waited.
func (r *workRun) latencies() (fromAck, fromSend *hdrhistogram.Histogram) {
	fromAck, fromSend = newHistogram(), newHistogram()
	for i := range r.starts {
		s := &r.starts[i]
		if begun := s.begun.Load(); begun > 0 {
			record(fromAck, begun-s.acked.Load())
			record(fromSend, begun-s.sent.Load())
		}
	}
	return fromAck, fromSend
}

// feed sends jobs at the rate, each with its number.
func (r *workRun) feed(ctx context.Context) error {
	conns, err := dialAll(ctx, r.target.addr, feeders, r.target.say, func(_ int, c net.Conn) error { return helloJSON(c) })
	if err != nil {
		return err
	}
	defer closeAll(conns)
	g, gctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(gctx, func() { closeAll(conns) })()
	began := time.Now()
	for i, c := range conns {
		if err := c.SetDeadline(time.Time{}); err != nil {
			return err
		}
		g.Go(func() error { return ended(gctx, r.hearAcks(c)) })
		g.Go(func() error { return ended(gctx, r.send(gctx, c, int64(i), began)) })
	}
	return g.Wait()
}

// ended is an error of a connection, unless it is closed since all is done.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// send sends every job whose number is n modulo the feeders, when it is due.
func (r *workRun) send(ctx context.Context, c net.Conn, n int64, began time.Time) error {
	const tick = time.Millisecond
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	body, err := filler(r.Size)
	if err != nil {
		return err
	}
	room := roomName(r.name, 0)
	var out []byte
	for n < r.Jobs {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
		due := min(int64(time.Since(began).Seconds()*float64(r.Rate)), r.Jobs)
		for out = out[:0]; n < due; n += feeders {
			putDigits(body[:stampDigits], n)
			out = append(append(out, `{"op":"send","room":"`...), room...)
			out = append(append(out, `","body":"`...), body...)
			out = append(strconv.AppendInt(append(out, `","ref":`...), n, 10), '}', '\n')
			r.starts[n].sent.Store(r.clock.now())
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
	}
	<-ctx.Done() // the session stays until all is done
	return nil
}

// hearAcks notes when each job is known to be stored.
func (r *workRun) hearAcks(c net.Conn) error {
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, ok := numberAfter(line, refKey)
		if !ok || !bytes.HasPrefix(line, ackOp) || n >= int64(len(r.starts)) {
			return unexpected(line)
		}
		r.starts[n].acked.Store(r.clock.now())
	}
}
