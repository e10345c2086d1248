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
