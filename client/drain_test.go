package client_test

import (
	"testing"
	"testing/synctest"

	"parley"
	"parley/client"
	"parley/wire"
)

// A server that was told to drain and is gone before it has said so is not told again: that might be
// another one.
func TestDrainIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.Connect(t.Context(), "a,b", client.WithDialer(script(t, func(p *peer) {
			p.welcome()
			p.hear(wire.Drain)
		}, func(p *peer) {
			p.welcome()
			p.say(`{"op":"pong","ref":%s}`, p.hear(wire.Ping)) // and nothing before it
			p.say(`{"op":"error","ref":%s,"code":"denied","message":"you may not do that"}`, p.hear(wire.Drain))
			p.say(`{"op":"draining","ref":%s}`, p.hear(wire.Drain))
			p.wait()
		})))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Drain(t.Context()); err == nil {
			t.Error("nobody has answered, and it is well")
		}
		if _, err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.Drain(t.Context()); !isCode(parley.Denied)(err) {
			t.Errorf("refused, and it says %v", err)
		}
		if err := c.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
