package session_test

import (
	"errors"
	"net/netip"
	"testing"

	"parley"
	"parley/auth"
	"parley/wire"
)

// A hook whose signature is right may send, also where nobody else may do anything; nothing else.
func TestHooksSend(t *testing.T) {
	server := newServer(t)
	guard(t, server, auth.Grants{})
	from := netip.MustParseAddrPort("127.0.0.1:1")
	c, err := server.HookCaller(from, "hook:x", "lobby", func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	op := &wire.Op{Kind: wire.Send, Room: "lobby", ID: "d-1", Body: []byte("hi")}
	for range 2 {
		if id, r, err := server.Send(t.Context(), c, op); err != nil || id != "d-1" || r.Seq != 1 {
			t.Errorf("%s %+v %v", id, r, err)
		}
	}
	if _, err := server.Page(t.Context(), c, &wire.Op{Kind: wire.History, Room: "lobby", Limit: 1}); err == nil || parley.AsError(err).Code != parley.Denied {
		t.Errorf("a hook reads: %v", err)
	}
}

// Who comes with many wrong signatures is not looked at for a while; a mistake behind a right one is none.
func TestSignaturesAreNotGuessed(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	limit(t, server, func(l *parley.Limits) { l.RefusedLoginsPerSecond = 1 })
	from := netip.MustParseAddrPort("127.0.0.1:1")
	broken, wrong := parley.Errorf(parley.BadRequest, "no JSON"), parley.Errorf(parley.Unauthorized, "wrong")
	for range 50 {
		if _, err := server.HookCaller(from, "hook:x", "lobby", func() error { return broken }); !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	looked, limited := 0, 0
	for range 50 {
		_, err := server.HookCaller(from, "hook:x", "lobby", func() error { looked++; return wrong })
		if err != nil && parley.AsError(err).Code == parley.RateLimited {
			limited++
		}
	}
	if limited == 0 || looked+limited != 50 {
		t.Errorf("%d were looked at, %d limited", looked, limited)
	}
}
