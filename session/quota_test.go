package session_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"parley"
	"parley/quota"
	"parley/session"
	"parley/wire"
)

// limit gives a server limits that its clients, which are on loopback, are held to.
func limit(t *testing.T, s *session.Server, change func(*parley.Limits)) {
	t.Helper()
	l := parley.DefaultLimits()
	l.Loopback = true
	change(&l)
	q, err := quota.New(l)
	if err != nil {
		t.Fatal(err)
	}
	s.Quota = q
}

// A user's sends are counted over all sessions, too.
func TestRatesOfUsers(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	limit(t, server, func(l *parley.Limits) { l.UserSendsPerSecond, l.UserSendsBurst = 1, 2 })
	p := newPeer(t, server, wire.JSONLines{}, "ada")
	for i := range 50 {
		p.do(fmt.Sprintf(`{"op":"send","room":"r","body":"x","ref":%d}`, i), `{"op":"done","room":"r","reader":"a","seq":1}`)
	}
	p.do(`{"op":"ping","ref":"end"}`)
	all := p.want(`"pong"`)
	refused := strings.Count(all, `"code":"rate_limited"`)
	if refused == 0 || server.Quota.Met()[quota.UserSends] != int64(refused) {
		t.Errorf("%d were refused, and %d counted: %.400s", refused, server.Quota.Met()[quota.UserSends], all)
	}
}

// Callers of HTTP pass the same quota.
func TestRatesOfCallers(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	limit(t, server, func(l *parley.Limits) { l.SendsPerSecond, l.SendsBurst, l.HistoryPerSecond, l.Page = 1, 2, 1, 3 })
	from := netip.MustParseAddrPort("127.0.0.1:1")
	caller := func(name string) session.Caller {
		c, err := server.Caller(t.Context(), from, "", name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	send := func(name string) error {
		_, _, err := server.Send(t.Context(), caller(name), &wire.Op{Kind: wire.Send, Room: "r", Body: []byte("x")})
		return err
	}
	var refused error
	for i := 0; i < 20 && refused == nil; i++ {
		refused = send("ada")
	}
	if e := parley.AsError(refused); refused == nil || e.Code != parley.RateLimited || e.Retry <= 0 {
		t.Errorf("twenty sends: %v", refused)
	}
	for range 2 {
		if err := send("bob"); err != nil {
			t.Error(err)
		}
	}
	page, err := server.Page(t.Context(), caller("bob"), &wire.Op{Kind: wire.History, Room: "r", Limit: 1000})
	if err != nil || len(page.Messages) != 3 || !page.More {
		t.Errorf("a page of %d, more %v, %v", len(page.Messages), page.More, err)
	}
	refused = nil
	for i := 0; i < 20 && refused == nil; i++ {
		_, _, refused = server.Members(t.Context(), caller("bob"), &wire.Op{Kind: wire.Members, Room: "r"})
	}
	if parley.AsError(refused).Code != parley.RateLimited {
		t.Errorf("twenty lists: %v", refused)
	}
}

func TestLimitsThatChangeAreThoseThatCount(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	limit(t, server, func(*parley.Limits) {})
	p := newPeer(t, server, wire.JSONLines{}, "ada")
	l := *server.Quota.Limits()
	l.Message, l.Rooms = 10, 1
	apply, err := server.Quota.Prepare(l)
	if err != nil {
		t.Fatal(err)
	}
	apply()
	p.do(`{"op":"send","room":"r","body":"more than ten bytes","ref":1}`,
		`{"op":"join","room":"a"}`, `{"op":"join","room":"b","ref":2}`, `{"op":"hello","ref":3}`)
	p.want(`{"op":"error","ref":1,"code":"too_large","message":"a body has at most 10 bytes; this one has 19"}`)
	p.want(`{"op":"error","ref":2,"code":"conflict"`)
	p.want(`"limits":{"message":10,`)
	met := server.Quota.Met()
	if met[quota.Message] != 1 || met[quota.RoomsPerSession] != 1 {
		t.Errorf("counted: %v", met)
	}
}
