package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/server"
)

// configuration is that of a server of its own.
func configuration(t *testing.T) server.Config {
	c := server.Default()
	c.Data, c.TCP, c.HTTP = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// run runs a server until stop, which gives what Run did; at the latest until the test ends.
func run(t *testing.T, c server.Config) (server.Addresses, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended, ready := make(chan error, 1), make(chan server.Addresses, 1)
	go func() {
		ended <- server.Run(ctx, c, server.Options{
			Logger: slog.New(slog.DiscardHandler), Ready: func(a server.Addresses) { ready <- a },
		})
	}()
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() }) // before its directory is removed
	select {
	case a := <-ready:
		return a, stop
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		panic("unreachable")
	}
}

// get reads what is at a URL.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAllDoorsLeadIntoTheSameRooms(t *testing.T) {
	addresses, stop := run(t, configuration(t))
	base := "http://" + addresses.HTTP

	events, err := http.Get(base + "/rooms/lobby/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = events.Body.Close() }()
	stream := bufio.NewReader(events.Body)
	until := func(want string) {
		t.Helper()
		for {
			line, err := stream.ReadString('\n')
			if err != nil {
				t.Fatalf("no %q: %v", want, err)
			}
			if strings.Contains(line, want) {
				return
			}
		}
	}
	until("id: 0")

	resp, err := http.Post(base+"/rooms/lobby", "text/plain", strings.NewReader("by HTTP"))
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	until(`"body":"by HTTP"`)
	lines, err := net.Dial("tcp", addresses.TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lines.Close() }()
	_, _ = io.WriteString(lines, "by TCP\n")
	until(`"body":"by TCP"`)

	for path, want := range map[string]string{
		"/metrics":     "\nparley_log_appended_total 2\n",
		"/readyz":      `"ready"`,
		"/":            "<html",
		"/parley.js":   "export",
		"/rooms/lobby": `"body":"by TCP"`,
	} {
		for begun := time.Now(); ; { // what members were shown may be counted a moment later
			status, body := get(t, base+path)
			if status == 200 && strings.Contains(body, want) {
				break
			}
			if time.Since(begun) > 20*time.Second {
				t.Fatalf("%s: %d without %q: %.200s", path, status, want, body)
			}
		}
	}
	if status, _ := get(t, base+"/ws"); status == 404 || status == 200 {
		t.Errorf("/ws without an upgrade: %d", status)
	}
	stranger, err := net.Dial("tcp", addresses.TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	_, _ = io.WriteString(stranger, "GET / HTTP/1.1\r\n")
	told, _ := io.ReadAll(stranger)
	if !strings.Contains(string(told), base) {
		t.Errorf("a browser on the line port is not told of %s: %s", base, told)
	}

	http.DefaultClient.CloseIdleConnections()
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the drain took %v", took)
	}
	until("retry: ")
	if _, err := net.Dial("tcp", addresses.HTTP); err == nil {
		t.Error("HTTP is open behind the end")
	}
}

func TestWithoutHTTP(t *testing.T) {
	c := configuration(t)
	c.HTTP = ""
	addresses, stop := run(t, c)
	if addresses.HTTP != "" {
		t.Errorf("HTTP at %s", addresses.HTTP)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeServed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, set := range map[string]func(*server.Config){
		"a port that is taken":    func(c *server.Config) { c.HTTP = taken.Addr().String() },
		"an address for all":      func(c *server.Config) { c.HTTP = "0.0.0.0:0" },
		"no address":              func(c *server.Config) { c.HTTP = "nowhere" },
		"a host's name with port": func(c *server.Config) { c.Hostnames = []string{"https://chat.example"} },
		"every origin":            func(c *server.Config) { c.Origins = []string{"*"} },
		"an origin with a path":   func(c *server.Config) { c.Origins = []string{"https://chat.example/"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := configuration(t)
			set(&c)
			err := server.Run(context.Background(), c, server.Options{
				Logger: slog.New(slog.DiscardHandler), Ready: func(server.Addresses) { t.Error("it is ready") },
			})
			if bad := (*server.ConfigError)(nil); !errors.As(err, &bad) {
				t.Errorf("%v", err)
			}
		})
	}
}

// The list of origins holds for every way in behind the HTTP port.
func TestListedOriginsMayEnterEverywhere(t *testing.T) {
	c := configuration(t)
	c.Origins = []string{"https://Chat.example:443"}
	addresses, stop := run(t, c)
	defer func() {
		http.DefaultClient.CloseIdleConnections()
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	for path, want := range map[string]int{"/rooms": 200, "/rooms/lobby/events": 200, "/ws": 101} {
		for origin, listed := range map[string]bool{"https://chat.example": true, "https://evil.example": false} {
			req, err := http.NewRequest(http.MethodGet, "http://"+addresses.HTTP+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{
				"Origin": {origin}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"},
				"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Version": {"13"},
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if listed && resp.StatusCode != want || !listed && resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %s: %s", path, origin, resp.Status)
			}
			if resp.StatusCode != http.StatusSwitchingProtocols && resp.Header.Get("Vary") != "Origin" {
				t.Errorf("%s from %s: headers %v", path, origin, resp.Header)
			}
		}
	}
}

func TestAddressesInTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "parley.yml")
	if err := os.WriteFile(path, []byte("http: 127.0.0.1:9\nhostnames: [chat.example, other.example]\norigins: [https://chat.example]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := server.Sources{File: path}.Read()
	if err != nil || c.HTTP != "127.0.0.1:9" || len(c.Hostnames) != 2 || len(c.Origins) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
