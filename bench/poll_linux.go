package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	readBuffer = 256 << 10 // stays in the core's cache, and holds what a socket has gathered
	pollWait   = 100       // ms between looks at the context
)

// poller reads many sockets with few goroutines. Go's own poller costs a second read and a switch
// of goroutines for each burst; here a lane waits for all its sockets at once, and reads each of
// those that got something.
//
// add sockets first, then run; close when run has returned.
type poller struct {
	lanes []*lane
	next  int
}

// lane is one epoll set and, while it runs, one goroutine.
type lane struct {
	epoll int
	socks []*sock
}

// sock is a connected socket that a lane reads. Only one goroutine may write it at a time.
type sock struct {
	fd   int
	lane int
	to   taker
}

func newPoller(lanes int) (*poller, error) {
	p := &poller{}
	for range lanes {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			p.close()
			return nil, fmt.Errorf("make an epoll set: %w", err)
		}
		p.lanes = append(p.lanes, &lane{epoll: fd})
	}
	return p, nil
}

// add takes a connection over from the Go runtime, whose poller would be woken too by everything
// that arrives. c is closed, the socket lives on until the poller is closed.
func (p *poller) add(c net.Conn, to taker) (*sock, error) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := raw.Control(func(d uintptr) { fd, err = unix.FcntlInt(d, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, fmt.Errorf("take over a socket: %w", err)
	}
	s := &sock{fd: fd, lane: p.next % len(p.lanes), to: to}
	p.next++
	l := p.lanes[s.lane]
	l.socks = append(l.socks, s)
	if err := c.Close(); err != nil {
		return nil, err
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(len(l.socks) - 1)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return nil, fmt.Errorf("watch a socket: %w", err)
	}
	return s, nil
}

// run reads until ctx ends, which is no error, or a taker or a socket fails.
func (p *poller) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range p.lanes {
		g.Go(func() error { return l.run(ctx) })
	}
	return g.Wait()
}

func (l *lane) run(ctx context.Context) error {
	events := make([]unix.EpollEvent, 512)
	buf := make([]byte, readBuffer)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(l.epoll, events, pollWait)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for sockets: %w", err)
		}
		for i := range max(n, 0) {
			ended := events[i].Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
			if err := l.socks[events[i].Fd].drain(buf, ended); err != nil {
				return err
			}
		}
	}
	return nil
}

// drain reads what is there. The lane is told of a socket once each time something has come, so
// a read that did not fill buf has read it all, unless the end came too.
func (s *sock) drain(buf []byte, ended bool) error {
	for {
		n, err := unix.Read(s.fd, buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read a connection: %w", err)
		case n == 0:
			return errors.New("the server closed a connection")
		}
		if err := s.to.take(buf[:n]); err != nil {
			return err
		}
		if n < len(buf) && !ended {
			return nil
		}
	}
}

// write writes all of p. A server that takes nothing for stuck seconds is an error.
func (s *sock) write(ctx context.Context, p []byte) error {
	since := time.Now()
	for len(p) > 0 {
		n, err := unix.Write(s.fd, p)
		if n > 0 {
			p, since = p[n:], time.Now()
		}
		switch {
		case err == nil || errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if time.Since(since) > stuck {
				return fmt.Errorf("the server has read nothing for %v", stuck)
			}
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, pollWait)
		default:
			return fmt.Errorf("write to a connection: %w", err)
		}
	}
	return nil
}

// finish says that nothing more will be written.
func (s *sock) finish() error { return unix.Shutdown(s.fd, unix.SHUT_WR) }

// close closes every socket. It may be called more than once.
func (p *poller) close() {
	for _, l := range p.lanes {
		for _, s := range l.socks {
			_ = unix.Close(s.fd)
		}
		_ = unix.Close(l.epoll)
	}
	p.lanes = nil
}
