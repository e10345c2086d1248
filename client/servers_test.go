package client_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley/client"
	"parley/wire"
)

// A server of a cluster tells where the others are: a client that loses it goes there, and nowhere
// that is spoken to in another way.
func TestAClientGoesToTheNodesItWasToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := func(p *peer) {
			p.say(`{"op":"welcome","ref":%s,"user":"ada","servers":["a:8000","b:8001","tls://c:8002","ws://d:80/ws","no address"]}`, p.hear(wire.Hello))
		}
		dial := script(t, told, told, told, func(p *peer) { told(p); p.wait() })
		var mu sync.Mutex
		var dialled []string
		c, err := client.Connect(t.Context(), "a", client.WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialled = append(dialled, addr)
			return dial(ctx, addr)
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		<-time.After(2 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"a:8000", "b:8001", "a:8000", "b:8001"}; !slices.Equal(dialled[:min(4, len(dialled))], want) {
			t.Errorf("it went to %v, want %v", dialled, want)
		}
	})
}

// A node that goes away says where the others are now: its clients go there at once, though the welcome
// knew of nobody.
func TestAClientGoesWhereAGoodbyeSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left time.Time
		back := make(chan time.Duration, 1)
		dial := script(t, func(p *peer) {
			p.welcome()
			left = time.Now()
			p.say(`{"op":"error","code":"unavailable","message":"going away","retry_ms":40,"servers":["b:8001","tls://c:8002"]}`, wire.Op{})
		}, func(p *peer) {
			back <- time.Since(left)
			p.welcome()
			p.wait()
		})
		addrs := make(chan string, 2)
		c, err := client.Connect(t.Context(), "a", client.WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			addrs <- addr
			return dial(ctx, addr)
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if wait := <-back; wait != 40*time.Millisecond {
			t.Errorf("it came back after %v", wait)
		}
		if <-addrs != "a:8000" || <-addrs != "b:8001" {
			t.Error("it went elsewhere")
		}
	})
}
