package client_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/client"
	"parley/wire"
)

// tokenFor looks like a token to who reads nothing but its end.
func tokenFor(life time.Duration) string {
	payload := fmt.Sprintf(`{"sub":"ada","exp":%d}`, time.Now().Add(life).Unix())
	return "x." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + fmt.Sprint(time.Now().UnixNano())
}

// welcomes answers every hello and ping, until the client is gone.
func (p *peer) welcomes(shown func(token string)) {
	for {
		line, err := p.in.ReadBytes('\n')
		if err != nil {
			return
		}
		op, err := wire.ParseOp(line)
		switch {
		case err != nil || op.Kind != wire.Hello && op.Kind != wire.Ping:
			p.t.Errorf("the client says %s (%v)", line, err)
		case op.Kind == wire.Hello:
			shown(op.Token)
			p.say(`{"op":"welcome","ref":%s,"user":"ada"}`, op)
		default:
			p.say(`{"op":"pong","ref":%s}`, op)
		}
	}
}

func TestATokenIsRenewedOnTheSameConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown []string
		var at []time.Duration // since the one before
		begun := time.Now()
		dial := script(t, func(p *peer) {
			p.welcomes(func(token string) {
				shown, at = append(shown, token), append(at, time.Since(begun))
				begun = time.Now()
			})
		})
		var given []string
		c, err := client.Connect(t.Context(), "a", client.WithDialer(dial), client.WithTokenFunc(func(context.Context) (string, error) {
			given = append(given, tokenFor(10*time.Second))
			return given[len(given)-1], nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		sleepFor(t, 60*time.Second)
		c.Close()
		synctest.Wait()
		if !slices.Equal(shown, given) || len(shown) < 6 {
			t.Errorf("shown %d tokens, given %d", len(shown), len(given))
		}
		for _, d := range at[1:] {
			if d < 8*time.Second-time.Second || d > 9*time.Second {
				t.Errorf("after %v, of 10 s", d)
			}
		}
	})
}

// sleepFor lets the bubble's time pass.
func sleepFor(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

func TestATokenFunctionThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hellos := 0
		dial := script(t, func(p *peer) { p.welcomes(func(string) { hellos++ }) })
		calls := 0
		c, err := client.Connect(t.Context(), "a", client.WithDialer(dial), client.WithTokenFunc(func(context.Context) (string, error) {
			if calls++; calls == 2 || calls == 3 {
				return "", errors.New("no network")
			}
			return tokenFor(10 * time.Minute), nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sleepFor(t, 9*time.Minute+50*time.Second)
		synctest.Wait()
		if calls != 4 || hellos != 2 || c.Status().State != client.Connected {
			t.Errorf("%d calls, %d hellos, %v", calls, hellos, c.Status())
		}
	})
}

// A function that gives the same token again, or one whose end nobody can know, is not asked on and on.
func TestTokensThatCannotBeRenewed(t *testing.T) {
	for name, token := range map[string]func() string{
		"the same":  sync.OnceValue(func() string { return tokenFor(time.Minute) }),
		"opaque":    func() string { return "pk_billing_x" },
		"no object": func() string { return "a.W10.c" },
		"no base64": func() string { return "a.!.c" },
		"long over": func() string { return tokenFor(-time.Hour) },
		"for ever":  func() string { return "a." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1e300}`)) + ".c" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := script(t, func(p *peer) { p.welcomes(func(string) {}) })
				calls := 0
				c, err := client.Connect(t.Context(), "a", client.WithDialer(dial), client.WithTokenFunc(func(context.Context) (string, error) {
					calls++
					return token(), nil
				}))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				sleepFor(t, 70*time.Second)
				synctest.Wait()
				most := 1
				if name == "the same" {
					most = 10 // each time a fifth of what is left remains
				}
				if calls > most {
					t.Errorf("asked %d times", calls)
				}
			})
		})
	}
}

// ended plays a server that ends the session as the token does.
func ended(p *peer) {
	p.say(`{"op":"welcome","ref":%s,"user":"ada"}`, p.hear(wire.Hello))
	p.say(`{"op":"error","code":"unauthorized","message":"your token has ended"}`, wire.Op{})
}

func TestAFixedTokenThatEndsIsTheClientsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.Connect(t.Context(), "a", client.WithDialer(script(t, ended, (*peer).welcome)), client.WithToken("t"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Ping(t.Context())
		if !isCode(parley.Unauthorized)(err) || !strings.Contains(err.Error(), "your token has ended") {
			t.Errorf("got %v", err)
		}
		if st := c.Status(); st.State != client.Closed || !isCode(parley.Unauthorized)(st.Err) {
			t.Errorf("it is %+v", st)
		}
	})
}

func TestATokenFunctionIsAskedAgainAfterUnauthorized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := func(p *peer) {
			p.say(`{"op":"error","ref":%s,"code":"unauthorized","message":"revoked"}`, p.hear(wire.Hello))
		}
		calls := 0
		c, err := client.Connect(t.Context(), "a", client.WithDialer(script(t, ended, refuse, func(p *peer) {
			hello := p.hear(wire.Hello)
			if hello.Token != "t3" {
				t.Errorf("shown %s", hello.Token)
			}
			p.say(`{"op":"welcome","ref":%s,"user":"ada"}`, hello)
			p.say(`{"op":"pong","ref":%s}`, p.hear(wire.Ping))
			p.wait()
		})), client.WithTokenFunc(func(context.Context) (string, error) {
			calls++
			return fmt.Sprintf("t%d", calls), nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		synctest.Wait()
		if _, err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestARoomThatOneIsPutOutOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.Connect(t.Context(), "a", client.WithDialer(script(t, func(p *peer) {
			p.welcome()
			p.say(`{"op":"joined","ref":%s,"room":"ops","seq":0}`, p.hear(wire.Join))
			p.say(`{"op":"left","room":"ops"}`, wire.Op{})
			p.say(`{"op":"error","code":"denied","message":"you may not be in ops any more"}`, wire.Op{})
			p.wait()
		})))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, err := range c.Room("ops").Messages(t.Context()) {
			if !isCode(parley.Denied)(err) {
				t.Errorf("got %v", err)
			}
			break
		}
	})
}
