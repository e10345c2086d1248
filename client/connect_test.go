package client_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/client"
	"parley/wire"
)

// A connection that has not said hello yet sees what is said in the lobby: anyone could forge a
// welcome there, and with it a name or limits.
func TestConnectPassesOverAForgedWelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := script(t, func(p *peer) {
			hello := p.hear(wire.Hello)
			p.say("Welcome to the messaging system!", wire.Op{})
			p.say(`{"op":"welcome","ref":"1","user":"mallory","limits":{"message":1}}`, wire.Op{})
			p.say(`{"op":"welcome","user":"mallory","limits":{"message":1}}`, wire.Op{})
			p.say(`{"op":"error","code":"unauthorized","message":"go away"}`, wire.Op{})
			p.say(strings.Repeat("x", 100_000), wire.Op{})
			p.say(`{"op":"welcome","ref":%s,"user":"ada","limits":{"message":100}}`, hello)
			p.wait()
		})
		c, err := client.Connect(t.Context(), "a", client.WithDialer(dial))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if user := c.Status().User; user != "ada" {
			t.Errorf("the client is %q", user)
		}
	})
}

func TestConnectRefIsNotGuessable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(map[string]bool)
		for range 100 {
			dial := script(t, func(p *peer) {
				hello := p.hear(wire.Hello)
				if len(hello.Ref) < 22 || seen[string(hello.Ref)] {
					t.Errorf("ref %s", hello.Ref)
				}
				seen[string(hello.Ref)] = true
				p.say(`{"op":"welcome","ref":%s}`, hello)
				p.wait()
			})
			c, err := client.Connect(t.Context(), "a", client.WithDialer(dial))
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
	})
}

func TestConnectErrors(t *testing.T) {
	refuse := func(code string) func(*peer) {
		return func(p *peer) {
			p.say(`{"op":"error","ref":%s,"code":"`+code+`","message":"no"}`, p.hear(wire.Hello))
		}
	}
	for name, test := range map[string]struct {
		acts  []func(*peer)
		check func(error) bool
	}{
		"nobody there":       {nil, isConnect},
		"closed at once":     {[]func(*peer){func(*peer) {}, func(*peer) {}}, isConnect},
		"silent":             {[]func(*peer){(*peer).wait, (*peer).wait}, isConnect},
		"unavailable":        {[]func(*peer){refuse("unavailable"), refuse("unavailable")}, isConnect},
		"unauthorized":       {[]func(*peer){refuse("unauthorized")}, isCode(parley.Unauthorized)},
		"denied, the second": {[]func(*peer){func(*peer) {}, refuse("denied")}, isCode(parley.Denied)},
		"the second is good": {[]func(*peer){func(*peer) {}, func(p *peer) { p.welcome(); p.wait() }}, func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := client.Connect(t.Context(), "one,two:9", client.WithDialer(script(t, test.acts...)))
				if c != nil {
					c.Close()
				}
				if !test.check(err) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func isConnect(err error) bool { return errors.Is(err, client.ErrConnect) }

func isCode(code parley.Code) func(error) bool {
	return func(err error) bool {
		var e *parley.Error
		return errors.As(err, &e) && e.Code == code
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		_, err := client.Connect(ctx, "one", client.WithDialer(script(t, (*peer).wait)))
		if !errors.Is(err, context.DeadlineExceeded) || !isConnect(err) || time.Since(begun) > time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

func TestConnectAddresses(t *testing.T) {
	for addrs, want := range map[string]string{
		"host:1":              "host:1",
		"host":                "host:8000",
		"tcp://host":          "host:8000",
		"tls://host":          "host:8000",
		"tls://[::1]:9":       "[::1]:9",
		"tls://host/path":     "",
		"tls://":              "",
		"[::1]":               "[::1]:8000",
		"::1":                 "[::1]:8000",
		"[::1]:9":             "[::1]:9",
		" a:1 , b:2,,tcp://c": "a:1 b:2 c:8000",
		"ws://host/ws":        "host:80",
		"wss://host/ws":       "host:443",
		"ws://host:8080":      "host:8080",
		"ws://[::1]:9/x?y=z":  "[::1]:9",
		"a:1,ws://b:2/ws":     "a:1 b:2",
		"ws://host:x/ws":      "",
		"ws://host:0/ws":      "",
		"ws://host:65536/ws":  "",
		"ws://host:/ws":       "",
		"ws://me:pw@host/ws":  "",
		"ws://host/ws#there":  "",
		"ws://":               "",
		"ws://[fe80::1%25e]/": "",
		"ws://a b/":           "",
		"http://host":         "",
		"tcp://host/path":     "",
		"a:b:c":               "",
		"host:":               "host:8000",
		"a[b":                 "",
		":9":                  ":9",
		"tcp://":              "",
		"fe80::1%eth0":        "[fe80::1%eth0]:8000",
		"":                    "",
		",":                   "",
	} {
		var dialed []string
		_, err := client.Connect(t.Context(), addrs, client.WithDialer(func(_ context.Context, addr string) (net.Conn, error) {
			dialed = append(dialed, addr)
			return nil, errors.New("no")
		}))
		if got := strings.Join(dialed, " "); got != want || errors.Is(err, client.ErrAddress) != (want == "") {
			t.Errorf("%q: dialed %q, error %v; want %q", addrs, got, err, want)
		}
	}
}

// What the server called a guest is what the guest says at the next hello: the same id from
// another guest would be another message.
func TestReconnectKeepsTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		again := make(chan bool)
		act := func(p *peer) {
			hello := p.hear(wire.Hello)
			names = append(names, hello.Name)
			p.say(`{"op":"welcome","ref":%s,"user":"guest-1"}`, hello)
			if len(names) == 3 {
				close(again)
				p.wait()
			}
		}
		c, err := client.Connect(t.Context(), "a", client.WithDialer(script(t, act, act, act)))
		if err != nil {
			t.Fatal(err)
		}
		<-again
		c.Close()
		if !slices.Equal(names, []string{"", "guest-1", "guest-1"}) {
			t.Errorf("said the names %q", names)
		}
	})
}

func TestReconnectEndsWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := script(t, (*peer).welcome, func(p *peer) {
			p.say(`{"op":"error","ref":%s,"code":"unauthorized","message":"the token has expired"}`, p.hear(wire.Hello))
		})
		c, err := client.Connect(t.Context(), "a", client.WithDialer(dial))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for m, err := range c.Room("lobby").Messages(t.Context()) {
			if m != nil || !isCode(parley.Unauthorized)(err) {
				t.Errorf("message %v, error %v", m, err)
			}
		}
		if _, err := c.Room("lobby").Publish(t.Context(), []byte("x")); !isCode(parley.Unauthorized)(err) {
			t.Errorf("publish: %v", err)
		}
		if _, err := c.Ping(t.Context()); !isCode(parley.Unauthorized)(err) {
			t.Errorf("ping: %v", err)
		}
		if s := c.Status(); s.State != client.Closed {
			t.Errorf("status %v", s)
		}
	})
}

// Full jitter: any wait up to a ceiling that doubles from 0.25 s to 20 s.
func TestBackoffDistribution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		defer s.close()
		waits := make([][]time.Duration, 12)
		for range 60 {
			s.set(false)
			try, enough := 0, make(chan bool)
			c := connect(t, s, client.WithStatus(func(st client.Status) {
				if st.State != client.Reconnecting || try == len(waits) {
					return
				}
				waits[try] = append(waits[try], st.Retry)
				if try++; try == len(waits) {
					close(enough)
				}
			}))
			s.set(true)
			<-enough
			c.Close()
		}
		for try, got := range waits {
			ceiling := min(20*time.Second, 250*time.Millisecond<<try)
			slices.Sort(got)
			low, high := got[0], got[len(got)-1]
			if low < 0 || low > ceiling/5 || high > ceiling || high < ceiling/2 {
				t.Errorf("try %d: from %v to %v; the ceiling is %v", try, low, high, ceiling)
			}
		}
	})
}

// A server that drains says when to come back.
func TestReconnectHonoursTheHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left time.Time
		back := make(chan time.Duration)
		dial := script(t, func(p *peer) {
			p.welcome()
			left = time.Now()
			p.say(`{"op":"error","code":"unavailable","message":"draining","retry_ms":5000}`, wire.Op{})
		}, func(p *peer) {
			back <- time.Since(left)
			p.welcome()
			p.wait()
		})
		c, err := client.Connect(t.Context(), "a", client.WithDialer(dial))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if wait := <-back; wait != 5*time.Second { // the server has spread its clients already
			t.Errorf("came back after %v", wait)
		}
	})
}

func TestSilentServerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		var pings []time.Duration
		begun := time.Now()
		alive := true
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			if op.Kind == wire.Ping {
				if pings = append(pings, time.Since(begun)); !alive {
					v.cut = swallow
				}
			}
			return v
		}
		lost := make(chan error, 10)
		connect(t, s, client.WithStatus(func(st client.Status) {
			if st.State == client.Reconnecting {
				lost <- st.Err
			}
		}))
		<-time.After(40 * time.Second) // in the bubble's time
		s.mu.Lock()
		alive = false
		s.mu.Unlock()
		err := <-lost
		s.mu.Lock()
		defer s.mu.Unlock()
		if want := []time.Duration{15 * time.Second, 30 * time.Second, 45 * time.Second}; !slices.Equal(pings, want) {
			t.Errorf("pings after %v; want %v", pings, want)
		}
		if d := time.Since(begun); d != 55*time.Second || !strings.Contains(err.Error(), "silent") {
			t.Errorf("left after %v: %v", d, err)
		}
	})
}

func TestCloseIsIdempotentAndEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		defer s.close()
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			if op.Kind != wire.Hello {
				v.cut = swallow
			}
			return v
		}
		c := connect(t, s)
		room := c.Room("lobby")
		errs := make(chan error)
		go func() { _, err := room.Publish(context.Background(), []byte("x")); errs <- err }()
		go func() { _, err := room.History(context.Background()); errs <- err }()
		go func() { _, err := c.Ping(context.Background()); errs <- err }()
		go func() {
			for _, err := range room.Messages(context.Background()) {
				errs <- err
			}
		}()
		go func() {
			for _, err := range room.Messages(context.Background()) {
				errs <- err
			}
		}()
		synctest.Wait()
		c.Close()
		c.Close()
		for range 5 {
			if err := <-errs; !errors.Is(err, client.ErrClosed) {
				t.Errorf("a call ended with %v", err)
			}
		}
	})
}

func FuzzAddresses(f *testing.F) {
	for _, seed := range []string{"a:1", "tcp://[::1]:2,b", "tls://a", "ws://x", "[]", ":", "::", "%:1", "0[0", "a:", "[fe80::1%eth0]:1", "ws://a:1/b?c", "wss://[::1]/", "ws://a:0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, addrs string) {
		n := 0
		_, err := client.Connect(t.Context(), addrs, client.WithDialer(func(_ context.Context, addr string) (net.Conn, error) {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				t.Errorf("%q: dialed %q: %v", addrs, addr, err)
			}
			n++
			return nil, errors.New("no")
		}))
		if err == nil || errors.Is(err, client.ErrAddress) != (n == 0) {
			t.Errorf("%q: %d dials, error %v", addrs, n, err)
		}
	})
}

// A server that can store nothing says so, and when it can again.
func TestStatusTellsThatNothingCanBeStored(t *testing.T) {
	act := func(p *peer) {
		p.welcome()
		p.say(`{"op":"joined","ref":%s,"room":"lobby","seq":0}`, p.hear(wire.Join))
		p.say(`{"op":"status","available":false,"message":"too few nodes"}`, wire.Op{})
		p.say(`{"op":"status","available":true,"message":"enough"}`, wire.Op{})
		p.say(`{"op":"message","room":"lobby","seq":1,"prev":0,"id":"1","from":"bob","at":"2026-11-22T07:00:00.000Z","type":"text","body":"one"}`, wire.Op{})
		p.wait()
	}
	said := make(chan client.Status, 10)
	c, err := client.Connect(t.Context(), "model", client.WithDialer(script(t, act)), client.WithStatus(func(st client.Status) { said <- st }))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, err := range c.Room("lobby").Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	for _, want := range []string{"", "too few nodes", ""} {
		if st := <-said; st.State != client.Connected || st.Unavailable != want || st.Err != nil || st.User != "guest-1" {
			t.Errorf("%+v; want to be connected, and %q", st, want)
		}
	}
	if st := c.Status(); st.Unavailable != "" {
		t.Errorf("at last: %+v", st)
	}
}
