package bench

import (
	"context"
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// counter counts the messages in a stream that comes in pieces; those of parley's lines and its
// peers' by their line ends.
type counter interface {
	count(p []byte) (int64, error)
}

// receiver counts what comes to one connection.
type receiver struct {
	sock         *sock
	lines, bytes atomic.Int64
	counter      counter
	sample       *sample // nil for most
}

func newReceiver(w way) *receiver {
	r := &receiver{}
	r.counter = w.counter(func(payload []byte) error {
		return r.sock.write(context.Background(), appendFrame(nil, framePong, payload))
	})
	return r
}

// skipCursors has the receiver count messages alone, in what comes to members of a pattern.
func (r *receiver) skipCursors() {
	if f, ok := r.counter.(*frameCounter); ok {
		f.cursors = true
		return
	}
	r.counter = &eventCounter{mark: messageMark}
}

func (r *receiver) take(p []byte) error {
	if r.sample != nil {
		if err := r.sample.take(p); err != nil {
			return err
		}
	}
	n, err := r.counter.count(p)
	r.bytes.Add(int64(len(p)))
	r.lines.Add(n)
	return err
}

// sample takes the latencies of a receiver, and if it is the observer opens the way for more.
type sample struct {
	run      *fanoutRun
	observer bool
	cut      cutter
	latency  *hdrhistogram.Histogram // read by others when the poller has ended
}

func (s *sample) take(p []byte) error {
	var n int64
	now := s.run.clock.now()
	err := s.cut.cut(p, func(line []byte) error {
		at, ok := s.run.dialect.stamp(line)
		if !ok {
			return nil
		}
		n++
		if s.run.window.has(at) {
			record(s.latency, now-at)
		}
		return nil
	})
	if s.observer && n > 0 {
		s.run.seen.Add(n)
		select {
		case s.run.more <- struct{}{}:
		default:
		}
	}
	return err
}
