package session_test

import (
	"net"
	"testing"
	"time"

	"parley/wire"
)

// Where nobody has to say who they are, only who is surely on the same machine may end a server.
func TestWhoMayDrainAnOpenServer(t *testing.T) {
	for name, c := range map[string]struct {
		from string
		enc  wire.Encoding
		may  bool
	}{
		"lines from this machine":        {"127.0.0.1", wire.JSONLines{}, true},
		"lines from this machine, by v6": {"::1", wire.JSONLines{}, true},
		"lines from another":             {"192.0.2.7", wire.JSONLines{}, false},
		"a page, or behind a proxy":      {"127.0.0.1", wire.WS{}, false},
	} {
		server, drained := newServer(t), 0
		server.Drain = func() { drained++ }
		p := makePeer(t)
		p.at = &net.TCPAddr{IP: net.ParseIP(c.from), Port: 20000}
		p.Session = server.New(p, c.enc)
		account, err := server.Connect(p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		p.Charge(account)
		p.do(`{"op":"drain","ref":1}`)
		switch _, lines := c.enc.(wire.JSONLines); {
		case c.may:
			p.want(`{"op":"draining","ref":1}`)
		case lines:
			p.want(`{"op":"error","ref":1,"code":"denied"`)
		}
		if drained != map[bool]int{true: 1}[c.may] {
			t.Errorf("%s: drained %d times", name, drained)
		}
		p.Close()
	}
}

func TestDrainTakesTheAdminGrant(t *testing.T) {
	server, drained := newServer(t), 0
	server.Drain = func() { drained++ }
	guard(t, server, nil)
	ada, root := stranger(t, server), stranger(t, server)
	ada.do(`{"op":"drain","ref":1}`)
	ada.want(`{"op":"error","ref":1,"code":"unauthorized"`)
	ada.do(`{"op":"hello","token":"`+token(t, "ada", time.Hour, "admin=lobby")+`"}`, `{"op":"drain","ref":2}`)
	ada.want(`{"op":"error","ref":2,"code":"denied"`)
	if drained != 0 {
		t.Fatal("drained by who may not")
	}
	root.do(`{"op":"hello","token":"`+token(t, "root", time.Hour, "admin=**")+`"}`, `{"op":"drain","ref":3}`)
	root.want(`{"op":"draining","ref":3}`)
	if drained != 1 {
		t.Errorf("drained %d times", drained)
	}
}
