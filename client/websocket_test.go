package client_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/client"
	"parley/internal/logtest"
	"parley/room"
	"parley/session"
	"parley/transport/ws"
)

// webServer is a server that speaks WebSocket, over a log of the test's.
func webServer(t *testing.T, log parley.Log) *httptest.Server {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	hub := room.NewHub(log, room.Config{Logger: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hub.Run(ctx)
	}()
	door, err := ws.NewServer(&session.Server{Log: log, Hub: hub, Limits: parley.DefaultLimits(), Logger: quiet}, ws.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", door)
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		drain, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		door.Drain(drain)
		web.Close()
		cancel()
		<-done
	})
	return web
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// converse has a client send to a room what it then reads from it.
func converse(ctx context.Context, t *testing.T, c *client.Client) {
	t.Helper()
	lobby := c.Room("lobby")
	const messages = 100
	for i := range messages {
		if _, err := lobby.Publish(ctx, []byte(fmt.Sprint(i, strings.Repeat(" more", i*40)))); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for m, err := range lobby.Messages(ctx, client.After(0)) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(m.Body), fmt.Sprint(n)) {
			t.Fatalf("message %d is %.20q", n, m.Body)
		}
		if n++; n == messages {
			return
		}
	}
}

func TestWebSocketLink(t *testing.T) {
	ctx := patient(t)
	web := webServer(t, logtest.New(logtest.Options{}))
	c, err := client.Connect(ctx, "ws"+strings.TrimPrefix(web.URL, "http"), client.WithName("ada"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if user := c.Status().User; user != "ada" {
		t.Errorf("the client is %q", user)
	}
	converse(ctx, t, c)
}

// Where one server is gone, another is taken.
func TestWebSocketLinkTakesAnotherServer(t *testing.T) {
	ctx := patient(t)
	log := logtest.New(logtest.Options{})
	// Two servers cannot follow one room of this log: the first has drained when the second comes.
	first := make(chan *httptest.Server, 1)
	t.Run("first", func(t *testing.T) { first <- webServer(t, log) })
	gone := <-first
	_, err := client.Connect(ctx, "ws"+strings.TrimPrefix(gone.URL, "http"))
	if !errors.Is(err, client.ErrConnect) {
		t.Errorf("a server that is gone: %v", err)
	}
	second := webServer(t, log)
	both := strings.ReplaceAll(gone.URL+"/ws,"+second.URL+"/ws", "http:", "ws:")
	c, err := client.Connect(ctx, both)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	converse(ctx, t, c)
}

// Over TLS, which something in front of the server ends.
func TestWebSocketLinkOverTLS(t *testing.T) {
	ctx := patient(t)
	web := webServer(t, logtest.New(logtest.Options{}))
	target, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	defer front.Close()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", roots) // read once, by the first who needs it: nobody else here does
	c, err := client.Connect(ctx, "wss"+strings.TrimPrefix(front.URL, "https"))
	if err != nil {
		t.Fatal(err)
	}
	converse(ctx, t, c)
	c.Close()
}

// What the server answers to a handshake is what the caller learns.
func TestWebSocketHandshakeIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   func(error) bool
	}{
		"denied": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"code":"denied","detail":"not from there"}`)
		}, isCode(parley.Denied)},
		"unavailable": {func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprint(w, `{"code":"unavailable","detail":"going away"}`)
		}, func(err error) bool {
			var e *parley.Error
			return isConnect(err) && errors.As(err, &e) && e.Retry == 3*time.Second
		}},
		"no Parley": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, isConnect},
		"a page":    {func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, "<html>") }, isConnect},
		"elsewhere": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/ws")
			w.WriteHeader(http.StatusFound)
		}, func(err error) bool { return isConnect(err) && strings.Contains(err.Error(), "302") }},
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w) }))
			defer web.Close()
			_, err := client.Connect(patient(t), strings.Replace(web.URL, "http", "ws", 1))
			if err == nil || !c.want(err) {
				t.Error(err)
			}
		})
	}
}
