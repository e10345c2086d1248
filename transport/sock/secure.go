package sock

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// TLS on a socket that never waits. A tls.Conn writes below itself into the socket as far as that takes
// it, and the rest of a record into a buffer; what it reads below itself is there, or it is told to
// come again. So sealing is the caller's work like any other, and no goroutine is needed for it.

// sealMost is how much is sealed at once: one record.
const sealMost = 16 << 10

// outMost bounds the records that a full socket has not taken: the one that was sealed, and what the
// protocol itself has to say, to a client that asks for new keys and does not read them.
const outMost = sealMost + 4<<10

var errSwamped = errors.New("the client makes TLS write and does not read it")

// below is what a tls.Conn takes for its connection. Until a socket is opened on it, it waits as any.
type below struct {
	*net.TCPConn
	raw syscall.RawConn // nil: it may wait; fixed when the socket is opened

	// Owned by the reading goroutine.
	fd    int  // to read from
	heard bool // something was read
	ended bool // the client has closed TCP

	mu  sync.Mutex
	out []byte // records that the socket has not taken
}

// again says that nothing is there to be read now. A tls.Conn keeps what it has, and may be asked again.
type again struct{}

func (again) Error() string   { return "nothing is there now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Read implements net.Conn.
func (b *below) Read(p []byte) (int, error) {
	if b.raw == nil {
		n, err := b.TCPConn.Read(p)
		b.heard = b.heard || n > 0
		return n, err
	}
	for {
		n, err := unix.Read(b.fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, again{}
		case err != nil:
			return 0, err
		case n == 0:
			b.ended = true
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write implements net.Conn. It is called with records whole.
func (b *below) Write(p []byte) (int, error) {
	if b.raw == nil {
		return b.TCPConn.Write(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.flush(); err != nil {
		return 0, err
	}
	if len(b.out)+len(p) > outMost {
		return 0, errSwamped
	}
	n := 0
	if len(b.out) == 0 {
		var err error
		if n, err = b.try(p); err != nil {
			return 0, err
		}
	}
	b.out = append(b.out, p[n:]...)
	return len(p), nil
}

// ready writes what waits, and says whether all is written.
func (b *below) ready() (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.flush()
	return len(b.out) == 0, err
}

func (b *below) flush() error {
	if len(b.out) == 0 {
		return nil
	}
	n, err := b.try(b.out)
	if b.out = b.out[n:]; len(b.out) == 0 {
		b.out = nil
	}
	return err
}

// try is a write that does not wait. Whoever waits for the socket to take more holds the lock that net
// has for writers: this one does without.
func (b *below) try(p []byte) (int, error) {
	return write(p, func(a *attempt) error { return b.raw.Control(a.control) })
}

// SetWriteDeadline implements net.Conn. A tls.Conn that says goodbye sets one, which would end the
// waiting of others.
func (b *below) SetWriteDeadline(t time.Time) error {
	if b.raw != nil {
		return nil
	}
	return b.TCPConn.SetWriteDeadline(t)
}

// tryTLS is try where there is TLS.
func (s *socket) tryTLS(fd uintptr) bool {
	if s.buf == nil {
		s.buf = readBuffers.Get().(*[]byte)
	}
	s.below.fd = int(fd)
	s.n, s.err = s.tls.Read(*s.buf)
	s.held = s.n > 0
	switch {
	case s.n > 0:
		s.err = nil // it comes again
	case errors.Is(s.err, again{}):
		s.release()
		return false
	case s.err == io.EOF && s.below.ended:
		s.err = io.ErrUnexpectedEOF // cut off, perhaps by another than the client (RFC 8446, section 6.1)
	case s.err == io.EOF:
		s.err = nil
	}
	return true
}

// tryWriteTLS is TryWrite where there is TLS. Its bytes are taken when they are sealed, but the socket
// counts as full until it has taken the record. So the last byte of p is left to be offered again,
// as the beginning of what comes next: what is written ends where a frame ends, and a frame that was
// begun goes on first.
func (s *socket) tryWriteTLS(p []byte) (n int, err error) {
	all, err := s.below.ready()
	if err != nil || !all || len(p) == 0 {
		return 0, err
	}
	if s.offered {
		s.offered = false
		n = 1
	}
	for n < len(p) {
		m, err := s.tls.Write(p[n:min(len(p), n+sealMost)])
		if err != nil {
			return 0, err
		}
		n += m
		if all, err = s.below.ready(); err != nil {
			return 0, err
		}
		if !all {
			break
		}
	}
	if !all && n == len(p) {
		s.offered = true
		n--
	}
	return n, nil
}

// farewell ends what TLS writes.
func (s *socket) farewell() {
	if s.tls != nil {
		_ = s.tls.CloseWrite() // a broken connection needs none
	}
}
