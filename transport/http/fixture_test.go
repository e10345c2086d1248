package httpapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley"
	"parley/ask"
	"parley/auth"
	"parley/internal/certtest"
	"parley/internal/logtest"
	"parley/room"
	"parley/session"
	"parley/transport/http"
	"parley/transport/sock"
	"parley/transport/sse"
	"parley/wire"
	"parley/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secure, if not nil, has fixtures speak TLS: tests of TestOverTLS run one by one.
var secure *certtest.Authority

// fixture is a server on a log in memory.
type fixture struct {
	t    *testing.T
	desk *ask.Desk
	log  *logtest.Memory
	web  *httpapi.Server
	addr string

	listed []string                         // origins
	hooks  atomic.Pointer[[]wire.HookEntry] // that there are

	listener *sock.Listener
	client   *http.Transport
}

func serve(t *testing.T, config httpapi.Config) *fixture {
	t.Helper()
	return serveFor(t, config, nil)
}

// serveFor is serve where an authority says who may do what.
func serveFor(t *testing.T, config httpapi.Config, authority *auth.Authority) *fixture {
	t.Helper()
	return serveGuarded(t, config, authority, slog.New(slog.DiscardHandler), func(*httpapi.Server) {})
}

// serveWith serves once set has changed what no configuration does.
func serveWith(t *testing.T, config httpapi.Config, set func(*httpapi.Server)) *fixture {
	t.Helper()
	return serveGuarded(t, config, nil, slog.New(slog.DiscardHandler), set)
}

func serveGuarded(t *testing.T, config httpapi.Config, authority *auth.Authority, logger *slog.Logger, set func(*httpapi.Server)) *fixture {
	t.Helper()
	log := logtest.New(logtest.Options{})
	hub := room.NewHub(log, room.Config{Logger: logger})
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	books := work.New(work.Config{Log: log, Journals: log, Rooms: hub, Logger: logger})
	go func() {
		defer close(stopped)
		var running sync.WaitGroup
		running.Go(func() { _ = books.Run(ctx) })
		_ = hub.Run(ctx)
		running.Wait()
	}()
	sessions := &session.Server{Log: log, Hub: hub, Work: books.Books(), Desk: ask.New(), Limits: parley.DefaultLimits(), Logger: logger, Auth: authority}
	events, err := sse.NewServer(sessions, sse.Config{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	config.Events, config.Logger = events, logger
	web := httpapi.NewServer(sessions, config)
	set(web)
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, log: log, desk: sessions.Desk, web: web, addr: l.Addr().String(), listed: config.Origins, client: new(http.Transport)}
	f.hooks.Store(new([]wire.HookEntry))
	sessions.Hooks = func() []wire.HookEntry { return *f.hooks.Load() }
	f.listener = sock.Listen(l, sock.ListenerConfig{Logger: logger})
	if secure != nil {
		f.client.TLSClientConfig = secure.Client()
		tlsConfig := secure.Server()
		tlsConfig.NextProtos = []string{"http/1.1"}
		f.listener = sock.Listen(l, sock.ListenerConfig{TLS: tlsConfig, NotTLS: httpapi.NotTLS, Logger: logger})
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(f.listener) }()
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		drain, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		web.Drain(drain)
		events.Drain(drain)
		if err := <-served; err != nil {
			t.Error(err)
		}
		cancel()
		<-stopped
	})
	return f
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (f *fixture) scheme() string {
	if secure != nil {
		return "https"
	}
	return "http"
}

// ask makes a request; headers are "Name: value".
func (f *fixture) ask(method, path, body string, headers ...string) answer {
	f.t.Helper()
	req, err := http.NewRequest(method, f.scheme()+"://"+f.addr+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Add(name, value); name == "Host" {
			req.Host = value
		}
	}
	resp, err := f.client.RoundTrip(req) // no redirects
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return f.read(method, path, resp)
}

// read reads an answer and holds it against the description.
func (f *fixture) read(method, path string, resp *http.Response) answer {
	f.t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if resp.StatusCode >= 400 && method != http.MethodHead {
		var p struct {
			Status int
			Code   parley.Code
			Detail string
		}
		if err := json.Unmarshal(b, &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
			f.t.Errorf("%s %s: %d with %s, no problem", method, path, resp.StatusCode, b)
		}
		if p.Status != resp.StatusCode || p.Code == "" || p.Detail == "" {
			f.t.Errorf("%s %s: a problem without status, code or detail: %s", method, path, b)
		}
	}
	if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Vary") != "Origin" {
		f.t.Errorf("%s %s: headers %v", method, path, resp.Header)
	}
	f.checkShared(method+" "+path, resp)
	checkDocumented(f.t, method, path, resp.StatusCode)
	return answer{resp.StatusCode, resp.Header, b}
}

// checkShared sees that an answer is shared with listed origins, and with no others.
func (f *fixture) checkShared(what string, resp *http.Response) {
	f.t.Helper()
	want, policy := "", "same-origin"
	if origin := resp.Request.Header.Get("Origin"); slices.Contains(f.listed, origin) {
		want, policy = origin, "cross-origin"
	}
	if got := resp.Header.Values("Access-Control-Allow-Origin"); strings.Join(got, " ") != want {
		f.t.Errorf("%s is shared with %q, want %q", what, got, want)
	}
	if got := resp.Header.Get("Access-Control-Expose-Headers"); (got == "Retry-After") != (want != "") {
		f.t.Errorf("%s exposes %q", what, got)
	}
	if got := resp.Header.Get("Cross-Origin-Resource-Policy"); got != policy {
		f.t.Errorf("%s has the resource policy %q, want %q", what, got, policy)
	}
	if got := resp.Header.Get("Access-Control-Allow-Credentials"); got != "" {
		f.t.Errorf("%s allows credentials: %q", what, got)
	}
}

// code is the code of a problem.
func (a answer) code() parley.Code {
	var p struct{ Code parley.Code }
	_ = json.Unmarshal(a.body, &p)
	return p.Code
}

// texts are the bodies of a page, as they stand.
func (a answer) texts(t *testing.T) []string {
	t.Helper()
	var page struct {
		Messages []struct{ Body json.RawMessage }
	}
	if err := json.Unmarshal(a.body, &page); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	texts := []string{}
	for _, m := range page.Messages {
		texts = append(texts, string(m.Body))
	}
	return texts
}

// raw writes bytes to a connection and reads all answers until it is closed.
func (f *fixture) raw(request string) []int {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	if secure != nil {
		nc = tls.Client(nc, secure.Client())
	}
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	go func() { _, _ = io.Copy(nc, strings.NewReader(request)) }()
	var statuses []int
	for r := bufio.NewReader(nc); ; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			if !slices.Contains([]error{io.EOF, io.ErrUnexpectedEOF}, err) && len(statuses) == 0 {
				f.t.Errorf("no answer: %v", err)
			}
			return statuses
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var p struct {
			Status int
			Code   parley.Code
		}
		if resp.StatusCode >= 400 && (json.Unmarshal(body, &p) != nil || p.Status != resp.StatusCode || p.Code == "" ||
			resp.Header.Get("Content-Type") != "application/problem+json") {
			f.t.Errorf("%d with %s, no problem: %s", resp.StatusCode, resp.Header, body)
		}
		statuses = append(statuses, resp.StatusCode)
	}
}
