package sock

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a TCP connection used below net's buffering: reads take a buffer only when there is
// something to read, writes never wait. It is most of a room.Socket.
type socket struct {
	conn   *net.TCPConn
	raw    syscall.RawConn
	client net.Addr              // as a proxy says; nil: who is at the other end
	tls    *tls.Conn             // nil: none
	below  *below                // of tls
	tryFn  func(fd uintptr) bool // s.try or s.tryTLS, made once

	// Owned by the reading goroutine: what try has read.
	buf  *[]byte
	n    int
	err  error
	held bool // TLS may hold more that it has read

	offered bool // a byte that TLS has taken is offered again; owned by the writer
}

// readSize is the most that is read at once.
const readSize = 32 << 10

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// read waits for bytes and returns them, in a buffer that must be given back with release.
// io.EOF: the client has closed its side. os.ErrDeadlineExceeded: the read deadline has passed.
func (s *socket) read() ([]byte, error) {
	s.n, s.err = 0, nil
	if err := s.raw.Read(s.tryFn); err != nil {
		s.release()
		return nil, err
	}
	switch {
	case s.err != nil:
		s.release()
		return nil, readError(s.err)
	case s.n == 0:
		s.release()
		return nil, io.EOF
	}
	return (*s.buf)[:s.n], nil
}

// try reads what is there; false where nothing is, and net waits without a buffer of ours.
func (s *socket) try(fd uintptr) bool {
	if s.buf == nil {
		s.buf = readBuffers.Get().(*[]byte)
	}
	for {
		s.n, s.err = unix.Read(int(fd), *s.buf)
		switch {
		case errors.Is(s.err, unix.EINTR):
			continue
		case errors.Is(s.err, unix.EAGAIN):
			s.release()
			return false
		}
		return true
	}
}

func (s *socket) release() {
	if s.buf != nil {
		readBuffers.Put(s.buf)
		s.buf = nil
	}
}

// readError names the call that failed, where it is one.
func readError(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return os.NewSyscallError("read", errno)
	}
	return err
}

// attempt is one write that does not wait.
type attempt struct {
	p       []byte
	n       int
	err     error
	fn      func(fd uintptr) bool // write, made once
	control func(fd uintptr)      // likewise
}

var attempts = sync.Pool{New: func() any {
	a := new(attempt)
	a.fn = a.write
	a.control = func(fd uintptr) { a.write(fd) }
	return a
}}

func (a *attempt) write(fd uintptr) bool {
	for {
		a.n, a.err = unix.Write(int(fd), a.p)
		if !errors.Is(a.err, unix.EINTR) {
			return true
		}
	}
}

// TryWrite writes what the socket takes without waiting.
func (s *socket) TryWrite(p []byte) (int, error) {
	if s.tls != nil {
		return s.tryWriteTLS(p)
	}
	return write(p, func(a *attempt) error { return s.raw.Write(a.fn) })
}

// write writes what a socket takes without waiting, by a call that has the descriptor.
func write(p []byte, call func(*attempt) error) (int, error) {
	a := attempts.Get().(*attempt)
	a.p = p
	err := call(a)
	n, werr := a.n, a.err
	a.p, a.n, a.err = nil, 0, nil
	attempts.Put(a)
	switch {
	case err != nil:
		return 0, err
	case werr == nil:
		return n, nil
	case errors.Is(werr, unix.EAGAIN):
		return 0, nil
	}
	return 0, os.NewSyscallError("write", werr)
}

// WaitWritable waits until the socket takes bytes again. The poller tells only of changes that
// come after it was asked, so the socket is looked at once before waiting for one.
func (s *socket) WaitWritable() error {
	waited := false
	return s.raw.Write(func(fd uintptr) bool {
		if waited {
			return true
		}
		waited = true
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(p[:], 0)
		return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
	})
}

// Bounds of a polite close.
const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// Linger closes the connection so that the client can read what was last written: closing with
// bytes unread would reset it, and the reset would overtake the answer.
func (s *socket) Linger() {
	s.farewell()
	s.tryFn = s.try // what the client still sends is not looked at, and needs no key
	if s.conn.CloseWrite() == nil && s.conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		for left := lingerBytes; left > 0; {
			p, err := s.read()
			left -= len(p)
			s.release()
			if err != nil {
				break
			}
		}
	}
	_ = s.conn.Close()
}
