package session

import (
	"context"

	"parley/wire"
)

// Append queues a frame of the transport's own among the answers: frame appends it, whole, or
// nothing. Calls of frame are never concurrent with each other, from whatever goroutine Append is
// called.
func (s *Session) Append(frame func(enc wire.Encoding, dst []byte) []byte) { s.out.Reply(frame) }

// Conclude is Finish for a protocol that has a last word: the session leaves its rooms, every send
// in flight is answered, and last is written behind all of that.
func (s *Session) Conclude(ctx context.Context, last func(dst []byte) []byte) {
	s.mu.Lock()
	for _, m := range s.members {
		m.Leave()
	}
	s.members = nil
	s.mu.Unlock()
	s.Finish(ctx)
	s.out.Reply(func(_ wire.Encoding, dst []byte) []byte { return last(dst) })
	_ = s.out.Drain(ctx) // a client that does not read its last answers is left
}
