package bench

import (
	"fmt"
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// publisher is one session of a publish: each ack it reads lets the next send go, in the same
// goroutine, and the sends that one read lets go leave in one write.
type publisher struct {
	run      *publishRun
	nth      int
	sock     *sock
	template template
	latency  *hdrhistogram.Histogram // of the lane

	sent, acked atomic.Int64

	// Owned by the lane that reads; by begin before the first send is out.
	begun []int64 // when each send in flight was begun, by its ref; 0 = none
	out   []byte
	lines lines
}

// begin sends the first messages. Their acks may come before it returns, so it touches nothing of
// the lane's once they are out.
func (s *publisher) begin() error {
	now := s.run.clock.now()
	var out []byte
	for slot := range s.begun {
		out = s.put(out, slot, now)
	}
	return s.sock.write(s.run.ctx, out)
}

func (s *publisher) take(p []byte) error {
	now := s.run.clock.now()
	s.out = s.out[:0]
	var acked int64
	err := s.lines.cut(p, func(line []byte) error {
		ref, ok, err := s.run.dialect.ack(line)
		if !ok || err != nil {
			return err
		}
		slot := int(ref - firstRef)
		if slot < 0 || slot >= len(s.begun) || s.begun[slot] == 0 {
			return fmt.Errorf("an ack for nothing: %.200s", line)
		}
		if s.run.window.has(s.begun[slot]) {
			record(s.latency, now-s.begun[slot])
		}
		s.begun[slot] = 0
		acked++
		s.out = s.put(s.out, slot, now)
		return nil
	})
	if err != nil {
		return err
	}
	if len(s.out) > 0 {
		err = s.sock.write(s.run.ctx, s.out)
	}
	s.acked.Add(acked)
	return err
}

// put appends a send to what goes out next, if one may still begin.
func (s *publisher) put(out []byte, slot int, now int64) []byte {
	if s.run.left.Add(-1) < 0 {
		return out
	}
	n := s.sent.Add(1) - 1
	s.begun[slot] = now
	from := len(out)
	out = append(out, s.template.frame...)
	frame := out[from:]
	putDigits(s.template.body.of(frame), now)
	putDigits(s.template.ref.of(frame), int64(firstRef+slot))
	if rooms := int64(s.run.Rooms); rooms > 1 {
		putDigits(s.template.room.of(frame), (int64(s.nth)+n*int64(s.run.Sessions))%rooms)
	}
	if !s.template.id.none() {
		putDigits(s.template.id.of(frame), n)
	}
	return out
}
