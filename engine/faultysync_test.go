package engine_test

import "sync"

// faultySync is a disk whose syncs can be held and made to fail.
type faultySync struct {
	mu    sync.Mutex
	cond  *sync.Cond
	held  int
	pass  int // held syncs that may end all the same
	err   error
	begun int
}

func newFaultySync() *faultySync {
	s := &faultySync{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *faultySync) sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	s.cond.Broadcast()
	for s.held > 0 && s.err == nil && s.pass == 0 {
		s.cond.Wait()
	}
	s.pass = max(0, s.pass-1)
	return s.err
}

// hold keeps syncs from ending until release.
func (s *faultySync) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held--
		s.cond.Broadcast()
	})
}

// passOne lets one held sync end.
func (s *faultySync) passOne() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass++
	s.cond.Broadcast()
}

func (s *faultySync) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.cond.Broadcast()
}

// rounds is how many syncs have begun.
func (s *faultySync) rounds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// untilRound waits until so many syncs have begun.
func (s *faultySync) untilRound(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.begun < n {
		s.cond.Wait()
	}
}
