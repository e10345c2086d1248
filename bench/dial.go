package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	perSource      = 8000 // connections from one loopback address: a port range is no bigger than 28,000
	dialAtOnce     = 64
	answerWithin   = 30 * time.Second // an answer while connections are set up
	maxConnections = 19_500           // a process may hold 20,000 descriptors
)

// dialAll makes n connections to a server, each made ready by greet, in their order.
func dialAll(ctx context.Context, addr string, n int, say func(string, ...any), greet func(i int, c net.Conn) error) ([]net.Conn, error) {
	return dialEach(ctx, []string{addr}, n, say, greet)
}

// dialEach is dialAll for servers that take turns.
func dialEach(ctx context.Context, addrs []string, n int, say func(string, ...any), greet func(i int, c net.Conn) error) ([]net.Conn, error) {
	if n > maxConnections {
		return nil, fmt.Errorf("%d connections are too many for one process: at most %d", n, maxConnections)
	}
	conns := make([]net.Conn, n)
	var made atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(dialAtOnce)
	for i := range n {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			c, err := dial(gctx, addrs[i%len(addrs)], i/perSource)
			if err != nil {
				return err
			}
			conns[i] = c
			if err := greet(i, c); err != nil {
				return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
			}
			if m := made.Add(1); m%1000 == 0 {
				say("%d of %d connections", m, n)
			}
			return nil
		})
	}
	err := g.Wait()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		closeAll(conns)
		return nil, err
	}
	return conns, nil
}

// dial connects to addr; where that is on loopback, from the source'th loopback address.
func dial(ctx context.Context, addr string, source int) (net.Conn, error) {
	var d net.Dialer
	if host, _, err := net.SplitHostPort(addr); err == nil && source > 0 {
		if ip := net.ParseIP(host).To4(); ip != nil && ip.IsLoopback() {
			d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+source))}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(answerWithin))
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// await reads lines until one that holds want, and gives it. Nothing may follow it: what the
// server says next belongs to the load.
func await(c net.Conn, want string) ([]byte, error) {
	var got []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, fmt.Errorf("wait for %q: %w", want, err)
		}
		got = append(got, buf[:n]...)
		if got[len(got)-1] != '\n' {
			continue
		}
		i := bytes.Index(got, []byte(want))
		if i < 0 {
			if err := refused(got); err != nil {
				return nil, err
			}
			continue
		}
		line := got[bytes.LastIndexByte(got[:i], '\n')+1:]
		if bytes.Count(line, newline) > 1 {
			return nil, fmt.Errorf("wait for %q: more came behind it: %.200q", want, line)
		}
		return line, nil
	}
}

// refused finds the answers by which servers say no.
func refused(got []byte) error {
	for _, no := range []string{`"op":"error"`, "-ERR"} {
		if i := bytes.Index(got, []byte(no)); i >= 0 {
			return unexpected(bytes.TrimSpace(got[bytes.LastIndexByte(got[:i], '\n')+1:]))
		}
	}
	return nil
}

var newline = []byte("\n")
