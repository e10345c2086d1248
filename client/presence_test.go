package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/client"
	"parley/wire"
)

func TestPresenceAndSignalsComeBetweenMessages(t *testing.T) {
	first := func(p *peer) {
		p.welcome()
		op := p.hear(wire.Join)
		if !op.Presence {
			t.Error("the join does not ask for presence")
		}
		p.say(`{"op":"joined","ref":%s,"room":"lobby","seq":0,"members":[{"user":"guest-1"},{"user":"bob"}],"count":2}`, op)
		p.say(`{"op":"presence","room":"other","count":9}`, wire.Op{})
		p.say(`{"op":"presence","room":"lobby","joined":[{"user":"ann"},{"user":"bob"}],"left":[{"user":"nobody"}],"count":3}`, wire.Op{})
		p.say(`{"op":"message","room":"lobby","seq":1,"prev":0,"id":"1","from":"bob","at":"2026-11-22T07:00:00.000Z","type":"text","body":"one"}`, wire.Op{})
		if _, err := p.in.ReadByte(); err == nil { // the test has seen it and hangs up by a signal
			p.say(`{"op":"presence","room":"lobby","count":201}`, wire.Op{})
		}
	}
	second := func(p *peer) {
		p.welcome()
		op := p.hear(wire.Join)
		p.say(`{"op":"joined","ref":%s,"room":"lobby","seq":1,"count":201}`, op)
		p.say(`{"op":"presence","room":"lobby","joined":[{"user":"late"}],"left":[],"count":201}`, wire.Op{})
		p.say(`{"op":"signal","room":"lobby","from":"bob","body":{"typing":true}}`, wire.Op{})
		for range 200 { // more than are kept
			p.say(`{"op":"signal","room":"lobby","from":"bob","body":1}`, wire.Op{})
		}
		p.say(`{"op":"message","room":"lobby","seq":2,"prev":1,"id":"2","from":"bob","at":"2026-11-22T07:00:00.000Z","type":"text","body":"two"}`, wire.Op{})
		p.wait()
	}
	c, err := client.Connect(t.Context(), "model", client.WithDialer(script(t, first, second)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var here client.Presence
	var signals []string
	lobby := c.Room("lobby")
	messages := lobby.Messages(t.Context(), client.OnPresence(func(p client.Presence) { here = p }),
		client.OnSignal(func(s client.Signal) { signals = append(signals, s.From+" "+string(s.Body)) }))
	for m, err := range messages {
		if err != nil {
			t.Fatal(err)
		}
		if m.Seq == 1 {
			want := client.Presence{Users: []string{"ann", "bob", "guest-1"}, Count: 3}
			if diff := cmp.Diff(want, here); diff != "" {
				t.Error(diff)
			}
			go func() { _ = lobby.Signal(context.WithoutCancel(t.Context()), 1) }() // it is lost with the connection
			continue
		}
		if diff := cmp.Diff(client.Presence{Count: 201}, here); diff != "" {
			t.Error(diff)
		}
		if n := len(signals); n == 0 || n > 201 || signals[0] != `bob {"typing":true}` {
			t.Errorf("%d signals, %.80q", n, signals)
		}
		break
	}
}

func TestSignal(t *testing.T) {
	act := func(p *peer) {
		p.welcome()
		op := p.hear(wire.Signal)
		if op.Room != "lobby" || string(op.Body) != `{"typing":true}` {
			t.Errorf("the client signals %s to %s", op.Body, op.Room)
		}
		p.say(`{"op":"pong","ref":%s}`, p.hear(wire.Ping))
		p.say(`{"op":"error","ref":%s,"code":"not_found","message":"you are not in lobby"}`, p.hear(wire.Signal))
		p.say(`{"op":"pong","ref":%s}`, p.hear(wire.Ping))
		p.hear(wire.Signal) // and hangs up
	}
	c, err := client.Connect(t.Context(), "model", client.WithDialer(script(t, act)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lobby := c.Room("lobby")
	if err := lobby.Signal(t.Context(), map[string]bool{"typing": true}); err != nil {
		t.Error(err)
	}
	var refusal *parley.Error
	if err := lobby.Signal(t.Context(), 1); !errors.As(err, &refusal) || refusal.Code != parley.NotFound {
		t.Errorf("got %v, want not_found", err)
	}
	if err := lobby.Signal(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("got %v; the connection is lost", err)
	}
	if err := lobby.Signal(t.Context(), make(chan int)); err == nil {
		t.Error("a channel was signalled")
	}
	if err := c.Room("no room").Signal(t.Context(), fmt.Sprint(1)); err == nil {
		t.Error("a signal went to no room")
	}
}
