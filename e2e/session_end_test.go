package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
)

// A session ends with what it was let in by, on whatever it came: with its token, or when its user is
// revoked, by a reload or by an operation. It is told why.

// guest is a session on one transport, in the room lobby.
type guest struct {
	way string
	end func() (why string, err error) // waits until the session is over, and gives the code it was told
}

// let has a user in on every transport.
func let(t *testing.T, s *server, token string) []guest {
	t.Helper()
	return []guest{letJSON(t, s, token), letPlain(t, s, token), letSocket(t, s, token), letStream(t, s, token)}
}

func letJSON(t *testing.T, s *server, token string) guest {
	c, err := reach(s.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.hangUp)
	if err := c.say(fmt.Sprintf(`{"op":"hello","token":%q}`+"\n"+`{"op":"join","room":"lobby"}`+"\n", token)); err != nil {
		t.Fatal(err)
	}
	for joined := false; !joined; {
		line, err := c.readLine()
		if err != nil {
			t.Fatal(err)
		}
		joined = strings.HasPrefix(line, `{"op":"joined"`)
	}
	return guest{"tcp", func() (code string, err error) {
		for {
			line, err := c.readLine()
			if err != nil {
				return code, over(err)
			}
			var f frame
			if json.Unmarshal([]byte(line), &f) == nil && f.Op == "error" {
				code = f.Code
			}
		}
	}}
}

// over is nil where a connection has ended, and the error where the wait for that has.
func over(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func letPlain(t *testing.T, s *server, token string) guest {
	c := dial(t, s)
	if err := c.say("/auth " + token + "\n"); err != nil {
		t.Fatal(err)
	}
	for shown := false; !shown; {
		line, err := c.readLine()
		if err != nil {
			t.Fatal(err)
		}
		shown = strings.HasPrefix(line, "* you are ")
	}
	return guest{"plain", func() (code string, err error) {
		for {
			line, err := c.readLine()
			if err != nil {
				return code, over(err)
			}
			if found := refusal.FindStringSubmatch(line); found != nil {
				code = found[1]
			}
		}
	}}
}

func letSocket(t *testing.T, s *server, token string) guest {
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	t.Cleanup(cancel)
	c, _, err := websocket.Dial(ctx, "ws://"+s.webAddress()+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	if err := c.Write(ctx, websocket.MessageText, []byte(`{"op":"join","room":"lobby"}`)); err != nil {
		t.Fatal(err)
	}
	if _, data, err := c.Read(ctx); err != nil || !strings.HasPrefix(string(data), `{"op":"joined"`) {
		t.Fatalf("%s, %v", data, err)
	}
	return guest{"websocket", func() (code string, err error) {
		for {
			_, data, err := c.Read(ctx)
			if status := websocket.CloseStatus(err); err != nil && status != websocket.StatusPolicyViolation {
				return code, fmt.Errorf("the close frame has the status %d: %w", status, err)
			} else if err != nil {
				return code, nil
			}
			var f frame
			if json.Unmarshal(data, &f) == nil && f.Op == "error" {
				code = f.Code
			}
		}
	}}
}

func letStream(t *testing.T, s *server, token string) guest {
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.webAddress()+"/rooms/lobby/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	in := bufio.NewScanner(resp.Body)
	return guest{"sse", func() (code string, err error) {
		for in.Scan() {
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				var f frame
				if json.Unmarshal([]byte(data), &f) == nil && f.Op == "error" {
					code = f.Code
				}
			}
		}
		return code, over(in.Err())
	}}
}

// wantEnds waits until all are over, and wants that each was told why.
func wantEnds(t *testing.T, guests []guest) {
	t.Helper()
	var g errgroup.Group
	for _, c := range guests {
		g.Go(func() error {
			code, err := c.end()
			if err != nil {
				return fmt.Errorf("%s: %w", c.way, err)
			}
			if code != "unauthorized" {
				return fmt.Errorf("%s: it was told %q, want unauthorized", c.way, code)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

var inLobby = []grant{{"lobby", []string{"join", "send", "history", "members"}}}

func TestSessionsEndWithTheirToken(t *testing.T) {
	t.Parallel()
	s := guarded(t, gateConfig)
	s.start()
	short := sign(t, map[string]any{
		"iss": "https://id.example", "aud": "parley", "sub": "ada", "parley": inLobby,
		"exp": time.Now().Add(3 * time.Second).Unix(),
	})
	wantEnds(t, let(t, s, short))
}

func TestARevokedUserIsOut(t *testing.T) {
	t.Parallel()
	s := guarded(t, gateConfig)
	s.start()
	bob := tokenFor(t, "bob", inLobby)
	witness := letJSON(t, s, tokenFor(t, "ada", inLobby)) // who is not revoked stays

	t.Run("by a reload", func(t *testing.T) {
		guests := let(t, s, bob)
		config := strings.Replace(gateConfig, "users: [mallory]", "users: [mallory, bob]", 1)
		if err := os.WriteFile(filepath.Join(s.dir, "parley.yml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		s.process.signal(syscall.SIGHUP)
		wantEnds(t, guests)
		if code, _ := webWay(t, s, principal{token: bob}).(*web).do(http.MethodGet, "/rooms/lobby", ""); code != "unauthorized" {
			t.Errorf("a request of the revoked is answered with %q", code)
		}
	})
	t.Run("by an operation", func(t *testing.T) {
		eve := tokenFor(t, "eve", inLobby)
		guests := let(t, s, eve)
		root, err := reach(s.address())
		if err != nil {
			t.Fatal(err)
		}
		defer root.hangUp()
		f := &frames{t: t, read: root.readLine, say: func(text string) error { return root.say(text + "\n") }}
		f.open(tokenFor(t, "root", []grant{{"**", []string{"admin"}}}))
		if got := f.ask(`{"op":"revoke","user":"eve"}`); got.Op != "revoked" {
			t.Fatalf("%s %s", got.Op, got.Message)
		}
		wantEnds(t, guests)
		s.kill()
		s.start() // it was stored, as any message
		if code, _ := webWay(t, s, principal{token: eve}).(*web).do(http.MethodGet, "/rooms/lobby", ""); code != "unauthorized" {
			t.Errorf("after a restart a request of the revoked is answered with %q", code)
		}
	})
	if code, err := witness.end(); code != "" || err != nil {
		t.Errorf("who was not revoked was told %q, %v", code, err)
	}
}
