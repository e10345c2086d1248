package tcp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"parley"
	"parley/audit"
	"parley/auth"
	"parley/internal/logtest"
	"parley/room"
	"parley/session"
	"parley/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begun is a connection that has been greeted, of a server where anybody may do what is granted.
func begun(t *testing.T, granted auth.Grants) *conn {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	authority, err := auth.New(t.Context(), auth.Settings{Anonymous: granted}, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = authority.Close() })
	hub := room.NewHub(logtest.New(logtest.Options{}), room.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = hub.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	sessions := &session.Server{Hub: hub, Limits: parley.DefaultLimits(), Logger: logger, Auth: authority}
	s, err := NewServer(sessions, Config{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Drain(context.Background()) })
	c := &conn{server: s}
	if err := s.conns.Prepare(&c.Conn, accepted(t), c); err != nil {
		t.Fatal(err)
	}
	c.session = sessions.New(c, wire.TextBare{})
	t.Cleanup(func() { c.End(context.Background(), session.ErrEnd) })
	if err := c.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// accepted is our side of a connection.
func accepted(t *testing.T) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A client that is silent is looked at once more, to show it the lobby. Whether it may be there or not:
// after that it waits without a deadline, since one that has passed would be met again and again.
func TestASilentClientIsLeftAlone(t *testing.T) {
	for name, granted := range map[string]auth.Grants{
		"in the lobby":     auth.All(),
		"not let in there": {},
	} {
		t.Run(name, func(t *testing.T) {
			c := begun(t, granted)
			if c.Deadline().IsZero() {
				t.Error("a client that says nothing is never shown the lobby")
			}
			if err := c.Late(t.Context()); err != nil {
				t.Fatal(err)
			}
			if at := c.Deadline(); !at.IsZero() {
				t.Errorf("a silent client has a deadline at %v", at)
			}
		})
	}
}

// A connection that comes when the server is going away leaves nothing behind.
func TestAConnectionThatComesTooLate(t *testing.T) {
	var lines bytes.Buffer
	logger := slog.New(slog.DiscardHandler)
	hub := room.NewHub(logtest.New(logtest.Options{}), room.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = hub.Run(ctx) })
	defer running.Wait()
	defer cancel()
	sessions := &session.Server{
		Hub: hub, Limits: parley.DefaultLimits(), Logger: logger, Audit: audit.New(slog.NewTextHandler(&lines, nil)),
	}
	s, err := NewServer(sessions, Config{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	s.Drain(t.Context())
	s.start(accepted(t))
	if got := lines.String(); !strings.Contains(got, "msg=connected") || !strings.Contains(got, "msg=ended") {
		t.Errorf("the session did not end:\n%s", got)
	}
}

// Of who has yet to say who it is no more is kept than that takes.
func TestLittleIsKeptOfAStranger(t *testing.T) {
	line := append([]byte("{"), bytes.Repeat([]byte(" "), session.HelloMost)...)
	if err := begun(t, auth.Grants{}).Take(t.Context(), line); !errors.Is(err, errRefused) {
		t.Errorf("who may do nothing: %v", err)
	}
	if err := begun(t, auth.All()).Take(t.Context(), line); err != nil {
		t.Errorf("who may do something: %v", err)
	}
}
