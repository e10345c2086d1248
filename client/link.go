package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// link carries frames to a server and back, each a JSON object without a line end. One goroutine
// may read while another writes; Close may be called by any, and ends both.
type link interface {
	// ReadFrame gives the next frame. It belongs to the caller until the next call.
	ReadFrame() ([]byte, error)
	// WriteFrames writes the frames in order.
	WriteFrames(frames [][]byte) error
	// Heard is when the last byte came in.
	Heard() time.Time
	Close()
}

// secureLines is how an address begins at which lines are spoken over TLS.
const secureLines = "tls://"

// defaultPort is where a server listens for lines.
const defaultPort = "8000"

// dialLink connects to an address that parseAddrs gave.
func dialLink(ctx context.Context, o *options, addr string) (link, error) {
	if isWeb(addr) {
		return dialSocket(ctx, o, addr)
	}
	return dialLines(ctx, o, addr)
}

// parseAddrs reads comma-separated addresses: host:port, a host alone, tcp://host:port, tls://host:port,
// or the URL of a WebSocket.
func parseAddrs(list string) ([]string, error) {
	var addrs []string
	for addr := range strings.SplitSeq(list, ",") {
		if addr = strings.TrimSpace(addr); addr == "" {
			continue
		}
		parse := parseLines
		if isWeb(addr) {
			parse = parseWeb
		}
		parsed, err := parse(addr)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, parsed)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrAddress)
	}
	return addrs, nil
}

// parseLines reads an address at which lines are spoken.
func parseLines(addr string) (string, error) {
	scheme, rest, found := strings.Cut(addr, "://")
	switch {
	case !found:
		rest = addr
	case scheme != "tcp" && scheme != "tls":
		return "", fmt.Errorf("%w: %q: give host:port, tls://host:port or wss://host/ws", ErrAddress, addr)
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil || port == "" {
		port = defaultPort
	}
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")
	}
	_, bad := netip.ParseAddr(host)
	if rest == "" || strings.ContainsAny(host+port, "[]/ ") || (strings.Contains(host, ":") && bad != nil) {
		return "", fmt.Errorf("%w: %q: give host:port", ErrAddress, addr)
	}
	if found && scheme == "tls" {
		return secureLines + net.JoinHostPort(host, port), nil
	}
	return net.JoinHostPort(host, port), nil
}

// maxFrame bounds what a server can make a client keep: a page of 1 MiB of bodies, each byte
// escaped, is well below it.
const maxFrame = 16 << 20

// lines is the link over TCP: one JSON object per line.
type lines struct {
	conn  net.Conn
	heard atomic.Int64 // Unix time in ns

	// Owned by the reader.
	in   *bufio.Reader
	long []byte // a line that is longer than in's buffer

	// Owned by the writer.
	out []byte
}

func newLines(conn net.Conn) *lines {
	l := &lines{conn: conn}
	l.heard.Store(time.Now().UnixNano())
	l.in = bufio.NewReaderSize(hearing{l}, 32<<10)
	return l
}

// dialLines connects over TCP, or TLS on it.
func dialLines(ctx context.Context, o *options, addr string) (link, error) {
	hostport, secure := strings.CutPrefix(addr, secureLines)
	conn, err := o.dial(ctx, hostport)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return nil, dial.Err // without the address: the caller says it too
	}
	if err != nil {
		return nil, err
	}
	if !secure {
		return newLines(conn), nil
	}
	config := o.tls.Clone()
	config.ServerName, _, _ = net.SplitHostPort(hostport) // parseLines joined it
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return newLines(secured), nil
}

// hearing notes when something came in, a part of a long frame too.
type hearing struct{ *lines }

func (h hearing) Read(p []byte) (int, error) {
	n, err := h.conn.Read(p)
	if n > 0 {
		h.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

func (l *lines) Heard() time.Time { return time.Unix(0, l.heard.Load()) }

func (l *lines) ReadFrame() ([]byte, error) {
	const keep = 64 << 10
	if l.long = l.long[:0]; cap(l.long) > keep {
		l.long = nil
	}
	for {
		part, err := l.in.ReadSlice('\n')
		if err == nil && len(l.long) == 0 {
			return bytes.TrimRight(part, "\r\n"), nil
		}
		if len(l.long)+len(part) > maxFrame {
			return nil, fmt.Errorf("a line of more than %d bytes", maxFrame)
		}
		l.long = append(l.long, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(l.long, "\r\n"), nil
		case errors.Is(err, io.EOF):
			return nil, errEnded
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

func (l *lines) WriteFrames(frames [][]byte) error {
	l.out = l.out[:0]
	for _, f := range frames {
		l.out = append(l.out, f...)
		l.out = append(l.out, '\n')
	}
	_, err := l.conn.Write(l.out)
	return err
}

func (l *lines) Close() { _ = l.conn.Close() } // what it had to say, read or write has said
