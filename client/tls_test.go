package client_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/client"
	"parley/internal/certtest"
	"parley/internal/logtest"
	"parley/room"
	"parley/session"
	"parley/transport/sock"
	"parley/transport/tcp"
	"parley/transport/ws"
)

// secureServer is a server that speaks lines and WebSocket over TLS.
func secureServer(t *testing.T, authority *certtest.Authority) (lines, web string) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	log := logtest.New(logtest.Options{})
	hub := room.NewHub(log, room.Config{Logger: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hub.Run(ctx)
	}()
	sessions := &session.Server{Log: log, Hub: hub, Limits: parley.DefaultLimits(), Logger: quiet}
	plain, err := tcp.NewServer(sessions, tcp.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := ws.NewServer(sessions, ws.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	listen := func() *sock.Listener {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return sock.Listen(l, sock.ListenerConfig{TLS: authority.Server(), NotTLS: tcp.NotTLS(""), Logger: quiet})
	}
	l, w := listen(), listen()
	var served sync.WaitGroup
	pages := &http.Server{Handler: sockets, ReadHeaderTimeout: time.Minute}
	served.Go(func() { _ = plain.Serve(l) }) // both end since they are closed
	served.Go(func() { _ = pages.Serve(w) })
	t.Cleanup(func() {
		drain, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		_ = l.Close()
		plain.Drain(drain)
		sockets.Drain(drain)
		_ = pages.Close()
		served.Wait()
		cancel()
		<-done
	})
	return l.Addr().String(), w.Addr().String()
}

func TestLinksOverTLS(t *testing.T) {
	ctx := patient(t)
	authority := certtest.New(t)
	lines, web := secureServer(t, authority)
	for _, addr := range []string{"tls://" + lines, "wss://" + web + "/ws"} {
		c, err := client.Connect(ctx, addr, client.WithRoots(authority.Pool()), client.WithName("ada"+addr[:3]))
		if err != nil {
			t.Fatal(err)
		}
		if addr[:3] == "tls" {
			converse(ctx, t, c)
		} else if _, err := c.Room("lobby").Publish(ctx, []byte("too")); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	for name, addr := range map[string]string{
		"nobody vouches for it, lines": "tls://" + lines,
		"nobody vouches for it, web":   "wss://" + web + "/ws",
	} {
		_, err := client.Connect(ctx, addr, client.WithRoots(certtest.New(t).Pool()))
		if !errors.Is(err, client.ErrConnect) || !strings.Contains(err.Error(), "unknown authority") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, port, _ := net.SplitHostPort(lines)
	dial := client.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", lines)
	})
	if _, err := client.Connect(ctx, "tls://other.example:"+port, client.WithRoots(authority.Pool()), dial); !errors.Is(err, client.ErrConnect) ||
		!strings.Contains(err.Error(), "other.example") {
		t.Errorf("another name: %v", err)
	}
	// Who comes without TLS learns what is missing.
	if _, err := client.Connect(ctx, lines); !errors.Is(err, client.ErrConnect) || !strings.Contains(err.Error(), "TLS is spoken here") {
		t.Errorf("without TLS: %v", err)
	}
}
