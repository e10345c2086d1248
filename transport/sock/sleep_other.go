//go:build !linux

package sock

// sleeper is epoll's work on Linux; elsewhere every connection keeps its goroutine.
type sleeper struct{}

func newSleeper() (*sleeper, error) { return &sleeper{}, nil }

func (*sleeper) add(*Conn) bool { return false }

func (*sleeper) wake(*Conn) {}

func (*sleeper) close() {}
