package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// sender is one connection that sends in a fan-out. Its frames stand ready, one behind the other,
// so that any number of them is one write.
type sender struct {
	run   *fanoutRun
	sock  *sock
	acked atomic.Int64

	// Owned by the drive.
	frames []byte
	size   int // of one frame
	stamp  span
	room   span // where the room's number stands, if the messages go round
	turn   int

	// Owned by the lane that reads.
	lines lines
}

// maxBurst bounds how many messages one write sends.
const maxBurst = 1024

func newSender(r *fanoutRun, session int) (*sender, error) {
	body, err := filler(r.Size)
	if err != nil {
		return nil, err
	}
	if r.Compress {
		body = prose(body)
	}
	t := r.dialect.frame(session, r.room, body)
	s := &sender{run: r, size: len(t.frame), stamp: t.body, room: t.room, turn: session}
	for range min(maxBurst, r.Inflight) {
		s.frames = append(s.frames, t.frame...)
	}
	return s, nil
}

// take reads acks.
func (s *sender) take(p []byte) error {
	if !s.run.dialect.acked {
		return unexpected(p)
	}
	var n int64
	err := s.lines.cut(p, func(line []byte) error {
		_, ok, err := s.run.dialect.ack(line)
		if ok {
			n++
		}
		return err
	})
	s.acked.Add(n)
	return err
}

// burst sends the first n frames, stamped with at.
func (s *sender) burst(ctx context.Context, n int, at int64) error {
	for i := range n {
		frame := s.frames[i*s.size:]
		putDigits(s.stamp.of(frame), at)
		if s.run.Rooms > 0 {
			putDigits(s.room.of(frame), int64(s.turn%s.run.Rooms))
			s.turn += len(s.run.senders)
		}
	}
	return s.sock.write(ctx, s.frames[:n*s.size])
}

// drive sends until it is halted or ctx ends, which is no error here. A halt never cuts a message.
func (r *fanoutRun) drive(ctx context.Context, halt <-chan struct{}) error {
	if r.Rate > 0 {
		return r.drivePaced(ctx, halt)
	}
	return r.driveFull(ctx, halt)
}

// driveFull keeps Inflight messages in flight.
func (r *fanoutRun) driveFull(ctx context.Context, halt <-chan struct{}) error {
	patience := time.NewTimer(stuck)
	defer patience.Stop()
	for {
		if free := r.Inflight - int(r.sent-r.seen.Load()); free > 0 {
			if err := r.send(ctx, free, r.clock.now()); err != nil {
				return err
			}
			patience.Reset(stuck)
		}
		select {
		case <-r.more:
		case <-halt:
			return nil
		case <-ctx.Done():
			return nil
		case <-patience.C:
			return fmt.Errorf("%d messages are in flight, and none arrived for %v", r.sent-r.seen.Load(), stuck)
		}
	}
}

// drivePaced sends Rate messages a second. One that leaves late bears the time it should have left.
func (r *fanoutRun) drivePaced(ctx context.Context, halt <-chan struct{}) error {
	begin := r.clock.now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := int64(0); ; i++ {
		due := begin + i*int64(time.Second)/int64(r.Rate)
		timer.Reset(max(0, time.Duration(due-r.clock.now())))
		select {
		case <-timer.C:
		case <-halt:
			return nil
		case <-ctx.Done():
			return nil
		}
		if err := r.send(ctx, 1, due); err != nil {
			return err
		}
	}
}

// send sends n messages, shared among the senders.
func (r *fanoutRun) send(ctx context.Context, n int, at int64) error {
	share := min((n+len(r.senders)-1)/len(r.senders), maxBurst)
	for n > 0 {
		k := min(share, n)
		if err := r.senders[r.next].burst(ctx, k, at); err != nil {
			return err
		}
		r.next = (r.next + 1) % len(r.senders)
		r.sent += int64(k)
		n -= k
	}
	return nil
}
