package sock

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// sleeper waits for many connections at once, so that one in which nothing happens needs no
// goroutine and no stack: epoll wakes it when its client says something or leaves.
type sleeper struct {
	fd   int      // the epoll instance
	file *os.File // the same, watched by the runtime's poller
	raw  syscall.RawConn
	done chan struct{}

	mu     sync.Mutex
	asleep map[int32]*Conn // by descriptor
	closed bool
}

func newSleeper() (*sleeper, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll instance: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make an epoll instance: %w", err)
	}
	s := &sleeper{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{}), asleep: make(map[int32]*Conn)}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		_ = s.file.Close()
		return nil, fmt.Errorf("make an epoll instance: %w", err)
	}
	go s.run()
	return s, nil
}

// run wakes connections until close.
func (s *sleeper) run() {
	defer close(s.done)
	events := make([]unix.EpollEvent, 256)
	for {
		n := 0
		err := s.raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			s.mu.Lock()
			c := s.asleep[e.Fd]
			s.mu.Unlock()
			if c != nil {
				s.wake(c)
			}
		}
	}
}

// add puts a connection to sleep: the caller's goroutine may end, and wake goes on with it. False:
// it cannot sleep now.
func (s *sleeper) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || c.leaving.Load() != staying {
		return false
	}
	var err error
	ctl := c.raw.Control(func(fd uintptr) {
		c.fd = int32(fd)
		err = unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd),
		})
	})
	if ctl != nil || err != nil {
		return false
	}
	s.asleep[c.fd] = c
	c.asleep.Store(true)
	return true
}

// wake goes on with a connection if it is asleep.
func (s *sleeper) wake(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asleep[c.fd] != c {
		return
	}
	delete(s.asleep, c.fd)
	c.asleep.Store(false)
	_ = c.raw.Control(func(fd uintptr) { // one that is closed is gone from there by itself
		_ = unix.EpollCtl(s.fd, unix.EPOLL_CTL_DEL, int(fd), nil)
	})
	go c.run(c.set.ctx)
}

// close ends the sleeper. Nobody must be asleep.
func (s *sleeper) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	_ = s.file.Close()
	<-s.done
}
