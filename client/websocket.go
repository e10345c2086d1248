package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"parley"
)

// subprotocol is what the client asks a server for.
const subprotocol = "parley.v1"

// webPath is where a server speaks WebSocket, unless the address says otherwise.
const webPath = "/ws"

// isWeb says whether an address is a WebSocket's.
func isWeb(addr string) bool {
	return strings.HasPrefix(addr, "ws://") || strings.HasPrefix(addr, "wss://")
}

// hostName is what may stand for a host in a URL, beside IP addresses.
var hostName = regexp.MustCompile(`^[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*\.?$`)

// parseWeb reads a WebSocket's address: ws:// or wss://, a host, and perhaps a port and a path.
func parseWeb(addr string) (string, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAddress, err)
	}
	host, port := u.Hostname(), u.Port()
	n, bad := strconv.ParseUint(port, 10, 16)
	ip, notIP := netip.ParseAddr(host)
	switch {
	case notIP != nil && !hostName.MatchString(host), ip.Zone() != "",
		port != "" && (bad != nil || n == 0), strings.HasSuffix(u.Host, ":"),
		u.User != nil, u.Fragment != "":
		return "", fmt.Errorf("%w: %q: give ws://host:port/ws", ErrAddress, addr)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = webPath
	}
	return u.String(), nil
}

// socket is the link over WebSocket: one JSON object per text message.
type socket struct {
	conn  *websocket.Conn
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	heard atomic.Int64 // Unix time in ns

	in []byte // owned by the reader
}

// dialSocket connects over WebSocket.
func dialSocket(ctx context.Context, o *options, addr string) (link, error) {
	transport := &http.Transport{
		DialContext:     func(ctx context.Context, _, addr string) (net.Conn, error) { return o.dial(ctx, addr) },
		TLSClientConfig: o.tls.Clone(),
	}
	defer transport.CloseIdleConnections()
	conn, resp, err := websocket.Dial(ctx, addr, &websocket.DialOptions{ //nolint:bodyclose // Dial has read the body and closed it
		HTTPClient:   &http.Client{Transport: transport, CheckRedirect: stay},
		Subprotocols: []string{subprotocol},
	})
	if err != nil {
		return nil, dialError(resp, err)
	}
	conn.SetReadLimit(maxFrame)
	s := &socket{conn: conn}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.heard.Store(time.Now().UnixNano())
	return s, nil
}

// stay follows no redirection: a token is for the server that was named.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// dialError says why a dial or its handshake failed. A server's own answer is an error as on any
// other link.
func dialError(resp *http.Response, err error) error {
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return dial.Err // without the address: the caller says it too
	case resp == nil || resp.StatusCode == http.StatusSwitchingProtocols:
		return err
	}
	var problem struct {
		Code   parley.Code `json:"code"`
		Detail string      `json:"detail"`
	}
	if json.NewDecoder(resp.Body).Decode(&problem) != nil || problem.Code == "" {
		return fmt.Errorf("no WebSocket there: the answer is %s", resp.Status)
	}
	e := parley.Errorf(problem.Code, "%s", problem.Detail)
	if s, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		e.Retry = time.Duration(s) * time.Second
	}
	return e
}

func (s *socket) Heard() time.Time { return time.Unix(0, s.heard.Load()) }

func (s *socket) ReadFrame() ([]byte, error) {
	const keep = 64 << 10
	if s.in = s.in[:0]; cap(s.in) > keep {
		s.in = nil
	}
	kind, r, err := s.conn.Reader(s.ctx)
	if err != nil {
		return nil, endOf(err)
	}
	if kind != websocket.MessageText {
		return nil, errors.New("a message that is no text")
	}
	for {
		s.heard.Store(time.Now().UnixNano())
		if len(s.in) == cap(s.in) {
			s.in = append(s.in, 0)[:len(s.in)]
		}
		n, err := r.Read(s.in[len(s.in):cap(s.in)])
		s.in = s.in[:len(s.in)+n]
		switch {
		case errors.Is(err, io.EOF):
			s.heard.Store(time.Now().UnixNano())
			return s.in, nil
		case err != nil:
			return nil, endOf(err)
		}
	}
}

// endOf tells an end that the server has made from one that happened.
func endOf(err error) error {
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return fmt.Errorf("%w: %d %s", errEnded, closed.Code, closed.Reason)
	case errors.Is(err, io.EOF):
		return errEnded
	}
	return err
}

func (s *socket) WriteFrames(frames [][]byte) error {
	for _, f := range frames {
		if err := s.conn.Write(s.ctx, websocket.MessageText, f); err != nil {
			return err
		}
	}
	return nil
}

func (s *socket) Close() {
	s.stop()
	_ = s.conn.CloseNow() // what it had to say, read or write has said
}
