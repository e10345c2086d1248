package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

const greeting = "Welcome to the messaging system!"

// peer is a connection that is read line by line. One goroutine may read while another writes.
type peer struct {
	net.Conn
	in *bufio.Reader
}

// reach connects to an address and reads nothing.
func reach(addr string) (*peer, error) {
	d := net.Dialer{Timeout: patience}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c = overTLS(c, addr)
	return &peer{Conn: c, in: bufio.NewReaderSize(c, 64<<10)}, nil
}

// readLine waits for a line and gives it without its newline.
func (p *peer) readLine() (string, error) { return p.readLineWithin(patience) }

func (p *peer) readLineWithin(d time.Duration) (string, error) {
	if err := p.SetReadDeadline(time.Now().Add(d)); err != nil {
		return "", err
	}
	line, err := p.in.ReadString('\n')
	if err != nil {
		return line, err
	}
	return line[:len(line)-1], nil
}

// say writes bytes as they are.
func (p *peer) say(text string) error {
	if err := p.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(p.Conn, text)
	return err
}

// hangUp closes the connection.
func (p *peer) hangUp() { _ = p.Close() }

// narrow makes the system keep little of what is not read, so that the server soon finds the
// connection full. Reading is slow from then on.
func (p *peer) narrow() { _ = belowTLS(p.Conn).SetReadBuffer(4 << 10) }

// plainClient is a client of plain lines in a test. What it meets that must not be ends the test.
type plainClient struct {
	*peer
	t testing.TB
}

// dial connects a plain client and reads the greeting.
func dial(t testing.TB, s *server) *plainClient {
	t.Helper()
	c := dialSilently(t, s)
	c.expect(greeting)
	return c
}

// dialSilently connects and reads nothing.
func dialSilently(t testing.TB, s *server) *plainClient {
	t.Helper()
	p, err := reach(s.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.hangUp)
	return &plainClient{peer: p, t: t}
}

// named connects a plain client with a name.
func named(t testing.TB, s *server, name string) *plainClient {
	t.Helper()
	c := dial(t, s)
	c.send("/nick " + name)
	c.expect("* you are " + name)
	return c
}

// send writes a line.
func (c *plainClient) send(line string) { c.t.Helper(); c.write(line + "\n") }

// write writes bytes as they are.
func (c *plainClient) write(text string) {
	c.t.Helper()
	if err := c.say(text); err != nil {
		c.t.Fatal(err)
	}
}

// line waits for the next line.
func (c *plainClient) line() string {
	c.t.Helper()
	line, err := c.readLine()
	if err != nil {
		c.t.Fatalf("waiting for a line: %v (got %q)", err, line)
	}
	return line
}

// expect waits for exactly these lines.
func (c *plainClient) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.line(); got != w {
			c.t.Fatalf("got %.200q, want %.200q", got, w)
		}
	}
}

// expectPrefix waits for a line that begins so, and gives it.
func (c *plainClient) expectPrefix(want string) string {
	c.t.Helper()
	got := c.line()
	if !strings.HasPrefix(got, want) {
		c.t.Fatalf("got %.200q, want a line that begins with %q", got, want)
	}
	return got
}

// quiet makes sure that nothing comes for so long.
func (c *plainClient) quiet(d time.Duration) {
	c.t.Helper()
	line, err := c.readLineWithin(d)
	if !errors.Is(err, os.ErrDeadlineExceeded) || line != "" {
		c.t.Fatalf("got %.200q (%v), want nothing for %v", line, err, d)
	}
}

// closed waits for the server to close the connection, with nothing more said.
func (c *plainClient) closed() {
	c.t.Helper()
	if rest := c.rest(); rest != "" {
		c.t.Fatalf("got %.200q, want the end", rest)
	}
}

// rest reads until the server closes the connection.
func (c *plainClient) rest() string {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	rest, err := io.ReadAll(c.in)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("waiting for the end: %v (got %.200q)", err, rest)
	}
	return string(rest)
}

// finish says that the client sends no more, and goes on reading.
func (c *plainClient) finish() {
	c.t.Helper()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// here asks who is in the client's room until there are n, and gives the answer.
func (c *plainClient) here(n int) string {
	c.t.Helper()
	var got string
	eventually(c.t, fmt.Sprintf("%d in the room", n), func() bool {
		c.send("/who")
		got = c.expectPrefix("* ")
		return strings.HasPrefix(got, fmt.Sprintf("* %d in ", n))
	})
	return got
}
