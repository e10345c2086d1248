//go:build !linux

package tcp

// sleeper is epoll's work on Linux; elsewhere every connection keeps its goroutine.
type sleeper struct{}

func newSleeper() (*sleeper, error) { return &sleeper{}, nil }

func (*sleeper) add(*conn) bool { return false }

func (*sleeper) wake(*conn) {}

func (*sleeper) close() {}
