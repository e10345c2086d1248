package room_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// memSocket is a socket in memory that takes as many bytes as the test allows.
type memSocket struct {
	t *testing.T

	mu      sync.Mutex
	changed *sync.Cond
	allow   int // bytes it still takes
	got     []byte
	writes  int
	aborted bool
}

const unlimited = 1 << 60

func newSocket(t *testing.T, allow int) *memSocket {
	s := &memSocket{t: t, allow: allow}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *memSocket) TryWrite(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		return 0, errors.New("broken")
	}
	n := min(len(p), s.allow)
	s.allow -= n
	s.got = append(s.got, p[:n]...)
	s.writes++
	s.changed.Broadcast()
	return n, nil
}

func (s *memSocket) WaitWritable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.allow == 0 && !s.aborted {
		s.changed.Wait()
	}
	if s.aborted {
		return errors.New("broken")
	}
	return nil
}

func (s *memSocket) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	s.changed.Broadcast()
}

// take allows n more bytes.
func (s *memSocket) take(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allow += n
	s.changed.Broadcast()
}

// await waits until ok holds for what was written, and gives up after a long time.
func (s *memSocket) await(ok func(got string) bool) string {
	s.t.Helper()
	late := false
	timer := time.AfterFunc(20*time.Second, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.changed.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ok(string(s.got)) {
		if late {
			tail := s.got[max(0, len(s.got)-400):]
			s.t.Fatalf("what was awaited did not come; %d bytes came, the last:\n%s", len(s.got), tail)
		}
		s.changed.Wait()
	}
	return string(s.got)
}

// lines waits for n lines and returns them.
func (s *memSocket) lines(n int) []string {
	s.t.Helper()
	got := s.await(func(got string) bool { return strings.Count(got, "\n") >= n })
	return strings.Split(strings.TrimSuffix(got, "\n"), "\n")
}

// until waits for a line and returns what came up to it.
func (s *memSocket) until(line string) []string {
	s.t.Helper()
	got := s.await(func(got string) bool { return strings.Contains("\n"+got, "\n"+line+"\n") })
	return strings.Split(strings.TrimSuffix(got, "\n"), "\n")
}
