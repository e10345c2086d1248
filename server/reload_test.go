package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/auth"
	"parley/server"
)

// said keeps what a logger writes.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// reloadable runs a server that is reloaded by reload, which returns when that is done.
func reloadable(t *testing.T, c server.Config) (addresses server.Addresses, log *said, reload func(server.Config)) {
	t.Helper()
	log = new(said)
	ctx, cancel := context.WithCancel(context.Background())
	configs, ready, ended := make(chan server.Config), make(chan server.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- server.Run(ctx, c, server.Options{
			Logger: slog.New(slog.NewTextHandler(log, nil)), Reload: configs, Ready: func(a server.Addresses) { ready <- a },
		})
	}()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case addresses = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return addresses, log, func(c server.Config) {
		configs <- c
		configs <- c // it takes one when the one before is done
	}
}

// talker is a client that speaks JSON lines.
type talker struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	ref  int
}

func talk(t *testing.T, addr string) *talker {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &talker{t: t, conn: conn, in: bufio.NewReader(conn)}
	c.ask(`"op":"hello","name":"ada"`, `"op":"welcome"`)
	return c
}

// ask does an operation and wants part in its answer.
func (c *talker) ask(op, part string) {
	c.t.Helper()
	c.ref++
	if _, err := fmt.Fprintf(c.conn, "{%s,\"ref\":%d}\n", op, c.ref); err != nil {
		c.t.Fatal(err)
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v", op, err)
		}
		if !strings.Contains(line, fmt.Sprintf(`"ref":%d,`, c.ref)) && !strings.Contains(line, fmt.Sprintf(`"ref":%d}`, c.ref)) {
			continue
		}
		if !strings.Contains(line, part) {
			c.t.Errorf("%s is answered %s want %s", op, line, part)
		}
		return
	}
}

func grants(t *testing.T, list ...string) auth.Grants {
	t.Helper()
	all := auth.Grants{}
	for _, text := range list {
		g, err := auth.ParseGrant(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

// answersTo says whether HTTP answers to a host's name.
func answersTo(t *testing.T, addr, host string) bool {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

const (
	send = `"op":"send","room":"lobby","body":"hi"`
	join = `"op":"join","room":"lobby"`
)

func TestReloadChangesWhatHoldsAndKeepsSessions(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	c.Anonymous = grants(t, "join,send=lobby")
	addresses, log, reload := reloadable(t, c)
	ada := talk(t, addresses.TCP)
	ada.ask(join, `"op":"joined"`)
	ada.ask(send, `"op":"ack"`)
	if answersTo(t, addresses.HTTP, "chat.example") {
		t.Error("it answers to a name that is not its own")
	}

	c.Anonymous, c.Hostnames = grants(t, "join=lobby"), []string{"chat.example"}
	reload(c)
	ada.ask(send, `"code":"denied"`)
	ada.ask(join, `"code":"conflict"`) // it is there still
	if !answersTo(t, addresses.HTTP, "chat.example") {
		t.Error("it does not answer to its new name")
	}

	c.Anonymous, c.Hostnames = grants(t, "join,send=lobby"), nil
	reload(c)
	ada.ask(send, `"op":"ack"`)
	if answersTo(t, addresses.HTTP, "chat.example") {
		t.Error("it answers to the name it had")
	}
	if text := log.String(); strings.Contains(text, "WARN") || strings.Contains(text, "ERROR") {
		t.Error(text)
	}
}

// Who is connected has other limits from the next operation on, and loses nothing.
func TestReloadChangesLimits(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	addresses, _, reload := reloadable(t, c)
	ada := talk(t, addresses.TCP)
	ada.ask(join, `"op":"joined"`)
	ada.ask(send, `"op":"ack"`)
	c.Limits.Message = 1
	reload(c)
	ada.ask(send, `"code":"too_large"`)
	ada.ask(`"op":"hello"`, `"message":1,`)
	c.Limits = server.Default().Limits
	c.Limits.Slow = []parley.Slow{{Rooms: "**", Every: time.Hour}}
	c.Limits.Loopback = true
	reload(c)
	ada.ask(send, `"op":"ack"`)
	ada.ask(send, `"code":"rate_limited"`)
	c.Limits.Slow = nil
	reload(c)
	for range 3 {
		ada.ask(send, `"op":"ack"`)
	}
	ada.ask(join, `"code":"conflict"`)
}

// Whatever is wrong with it, a configuration that cannot be put into force as a whole is not at all.
func TestBadReloadLeavesTheOldConfiguration(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	c.Anonymous, c.Hostnames = grants(t, "join,send=lobby"), []string{"chat.example"}
	addresses, log, reload := reloadable(t, c)
	ada := talk(t, addresses.TCP)
	for want, spoil := range map[string]func(*server.Config){
		"limits.page: 1 to 1000, not 0": func(c *server.Config) { c.Limits.Page = 0 },
		"origins[0]: ":                  func(c *server.Config) { c.Origins = []string{"*"} },
		"auth.keys[0].secret_file: open nowhere: ": func(c *server.Config) {
			c.Auth = &auth.Config{Issuer: "i", Audience: "a", Keys: []auth.KeyConfig{{Alg: "HS256", SecretFile: "nowhere"}}}
		},
	} {
		bad := c
		bad.Hostnames, bad.Anonymous = []string{"other.example"}, grants(t)
		spoil(&bad)
		reload(bad)
		if !strings.Contains(log.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, log)
		}
		ada.ask(send, `"op":"ack"`)
		if !answersTo(t, addresses.HTTP, "chat.example") || answersTo(t, addresses.HTTP, "other.example") {
			t.Errorf("%s: half of it holds", want)
		}
	}
	if strings.Contains(log.String(), "is reloaded") {
		t.Errorf("it says that it was reloaded:\n%s", log)
	}
}

// What waits for the next start is named, the rest changes.
func TestReloadNamesWhatCannotChange(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	addresses, log, reload := reloadable(t, c)
	c.TCP, c.Retain.Messages, c.Limits.Lag, c.Hostnames = "127.0.0.1:1", 7, 1<<20, []string{"chat.example"}
	reload(c)
	if want := `wait for the next start" keys="limits.lag retain.messages tcp"`; !strings.Contains(log.String(), want) {
		t.Errorf("no %s in\n%s", want, log)
	}
	if !answersTo(t, addresses.HTTP, "chat.example") {
		t.Error("the rest has not changed")
	}
	talk(t, addresses.TCP).ask(send, `"op":"ack"`)
}
