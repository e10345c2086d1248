package session_test

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/audit"
	"parley/auth"
	"parley/session"
	"parley/wire"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:1")

// settings are those of guard.
func settings(anonymous auth.Grants) auth.Settings {
	return auth.Settings{
		Auth: &auth.Config{
			Issuer: "https://id.example", Audience: "parley",
			Keys: []auth.KeyConfig{{Alg: "HS256", SecretEnv: "PARLEY_TEST_SECRET"}},
		},
		Anonymous: anonymous,
	}
}

// open has nobody say who they are, until other settings are put into force.
func open(t *testing.T, s *session.Server) {
	t.Helper()
	t.Setenv("PARLEY_TEST_SECRET", secret)
	a, err := auth.New(t.Context(), auth.Settings{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	s.Auth = a
}

// reload puts other settings into force.
func reload(t *testing.T, s *session.Server, to auth.Settings) {
	t.Helper()
	if err := s.Auth.Replace(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	s.Recheck()
}

// Sessions of when anyone might do anything are nobody's when that ends: their rights are gone, and a
// name that they gave themselves may be a user's.
func TestSessionsFromBeforeThereWereGrants(t *testing.T) {
	server := newServer(t)
	open(t, server)
	eve := stranger(t, server)
	eve.do(`{"op":"hello","name":"ada"}`, `{"op":"join","room":"secret"}`)
	eve.want(`"joined"`)
	reload(t, server, settings(grantsOf(t, "send=lobby")))
	eve.leaves()
	eve.want(`"code":"unauthorized"`)
	for _, line := range []string{
		`{"op":"send","room":"lobby","body":"I am ada"}`, `{"op":"revoke","user":"root"}`, `{"op":"history","room":"secret"}`,
	} {
		eve.refusedAt(line)
	}
	if eve.In("secret") {
		t.Error("the session is in a room that nobody is let into")
	}
}

// The other way round a session goes on, but a name that it was given then is no proof afterwards.
func TestANameGivenMeanwhileIsNoUsers(t *testing.T) {
	server := newServer(t)
	open(t, server)
	reload(t, server, settings(grantsOf(t, "join,send=lobby")))
	eve, bob := stranger(t, server), stranger(t, server)
	eve.do(`{"op":"join","room":"lobby"}`)
	bob.do(`{"op":"join","room":"lobby"}`)
	reload(t, server, auth.Settings{})
	eve.do(`{"op":"hello","name":"ada"}`, `{"op":"ping"}`)
	eve.want(`"user":"ada"`)
	reload(t, server, settings(grantsOf(t, "join,send=lobby")))
	eve.leaves()
	select {
	case <-bob.left:
		t.Error("a session whose name bears the mark has ended")
	default:
	}
	eve.refusedAt(`{"op":"send","room":"lobby","body":"I am ada"}`)
}

// What a client has sent, and we have read, before it was dismissed is not carried out after that; nor
// is it shown anything more.
func TestADismissedSessionDoesNothingMore(t *testing.T) {
	server := newServer(t)
	guard(t, server, nil)
	ada, mallory := stranger(t, server), stranger(t, server)
	ada.do(`{"op":"hello","token":"`+token(t, "ada", time.Hour, "join,send=**")+`"}`, `{"op":"join","room":"lobby"}`)
	mallory.do(`{"op":"hello","token":"`+token(t, "mallory", time.Hour, "join,send,history=**")+`"}`, `{"op":"join","room":"lobby"}`)
	mallory.want(`"joined"`)
	server.Auth.Revoke([]string{"mallory"}, nil)
	server.Recheck()
	mallory.leaves()
	for _, line := range []string{
		`{"op":"send","room":"lobby","body":"still here"}`, `{"op":"join","room":"ops","last":10}`, `{"op":"history","room":"lobby"}`,
		`{"op":"hello","token":"` + token(t, "ada", time.Hour, "join,send=**") + `"}`,
	} {
		mallory.refusedAt(line)
	}
	ada.do(`{"op":"send","room":"lobby","body":"now that she is gone"}`)
	ada.want(`now that she is gone`)
	if got := mallory.got.String(); strings.Contains(got, "now that") {
		t.Errorf("a dismissed session is shown\n%s", got)
	}
	if passed := mallory.want(`"code":"unauthorized"`); strings.Contains(passed, `"ack"`) || strings.Contains(ada.got.String(), "still here") {
		t.Error("a dismissed session has sent something")
	}
}

// A stream that is dismissed before it has begun is shown nothing: neither what is said nor what was.
func TestADismissedStreamIsShownNothing(t *testing.T) {
	server := newServer(t)
	guard(t, server, nil)
	caller, err := server.Caller(t.Context(), loopback, token(t, "mallory", time.Hour, "join,history=**"), "")
	if err != nil {
		t.Fatal(err)
	}
	server.Auth.Revoke([]string{"mallory"}, nil)
	p := stranger(t, server)
	p.Be(caller)
	p.leaves()
	op := wire.Op{Kind: wire.Join, Room: "lobby", Start: wire.Start{Last: 10}}
	if err := p.Listen(t.Context(), &op, 0, func(dst []byte, _ uint64) []byte { return dst }); err == nil || p.In("lobby") {
		t.Errorf("a dismissed stream is in a room: %v", err)
	}
}

// A client that does not read why it is dismissed is cut.
func TestADismissedSessionEndsInTime(t *testing.T) {
	server := newServer(t)
	guard(t, server, nil)
	deaf := &deafPeer{peer: makePeer(t), aborted: make(chan struct{})}
	deaf.Session = server.New(deaf, wire.JSONLines{})
	t.Cleanup(deaf.Close)
	t.Cleanup(deaf.Abort)
	deaf.do(`{"op":"hello","token":"` + token(t, "mallory", time.Hour, "join=**") + `"}`)
	server.Auth.Revoke([]string{"mallory"}, nil)
	server.Recheck()
	deaf.leaves()
	select {
	case <-deaf.aborted:
	case <-time.After(30 * time.Second):
		t.Error("a client that reads nothing holds its connection for ever")
	}
}

// deafPeer reads nothing.
type deafPeer struct {
	*peer
	aborted chan struct{}
	once    sync.Once
}

func (p *deafPeer) TryWrite([]byte) (int, error) { return 0, nil }

func (p *deafPeer) WaitWritable() error {
	<-p.aborted
	return net.ErrClosed
}

func (p *deafPeer) Abort() { p.once.Do(func() { close(p.aborted) }) }

// Somebody who was found before a change of what is granted, and becomes a session after it, may do
// what is granted now.
func TestASessionBeginsWithWhatIsGrantedNow(t *testing.T) {
	server := newServer(t)
	key, hash, err := auth.NewAPIKey("billing")
	if err != nil {
		t.Fatal(err)
	}
	with := func(anonymous auth.Grants, grants ...string) auth.Settings {
		return auth.Settings{
			Auth:      &auth.Config{APIKeys: []auth.APIKeyConfig{{Name: "billing", Hash: hash, Grants: grantsOf(t, grants...)}}},
			Anonymous: anonymous,
		}
	}
	open(t, server)
	reload(t, server, with(grantsOf(t, "join=lobby"), "join,history=**"))
	for name, credential := range map[string]string{"an API key": key, "nobody": ""} {
		t.Run(name, func(t *testing.T) {
			reload(t, server, with(grantsOf(t, "join=lobby"), "join,history=**"))
			caller, err := server.Caller(t.Context(), loopback, credential, "")
			if err != nil {
				t.Fatal(err)
			}
			reload(t, server, with(grantsOf(t, "join=hall"), "join=hall"))
			p := stranger(t, server)
			p.Be(caller)
			if p.MayJoin("lobby") || !p.MayJoin("hall") {
				t.Error("the session may do what was granted before")
			}
		})
	}
}

// Who sends something over HTTP may take long about it: what counts is who it is when it is stored.
func TestACallerIsWhoItIsNow(t *testing.T) {
	server := newServer(t)
	open(t, server)
	send := &wire.Op{Kind: wire.Send, Room: "lobby", Type: parley.Text, Body: []byte("hi")}
	given, err := server.Caller(t.Context(), loopback, "", "ada")
	if err != nil {
		t.Fatal(err)
	}
	reload(t, server, settings(grantsOf(t, "send=lobby")))
	if _, _, err := server.Send(t.Context(), given, send); parley.AsError(err).Code != parley.Unauthorized {
		t.Errorf("who has given itself a user's name sends: %v", err)
	}
	mallory, err := server.Caller(t.Context(), loopback, token(t, "mallory", time.Hour, "send=lobby"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := server.Send(t.Context(), mallory, send); err != nil {
		t.Fatal(err)
	}
	server.Auth.Revoke([]string{"mallory"}, nil)
	if _, _, err := server.Send(t.Context(), mallory, send); parley.AsError(err).Code != parley.Unauthorized {
		t.Errorf("who is revoked sends: %v", err)
	}
}

// Grants change while a client says how it wants to be written to.
func TestGrantsChangeWhileAClientIsRead(t *testing.T) {
	var lines record
	server := newServer(t)
	server.Audit = audit.New(slog.NewTextHandler(&lines, nil))
	key, hash, err := auth.NewAPIKey("billing")
	if err != nil {
		t.Fatal(err)
	}
	with := func(grants ...string) auth.Settings {
		return auth.Settings{Auth: &auth.Config{APIKeys: []auth.APIKeyConfig{{Name: "billing", Hash: hash, Grants: grantsOf(t, grants...)}}}}
	}
	open(t, server)
	reload(t, server, with("join=a"))
	p := stranger(t, server)
	p.do(`{"op":"hello","token":"` + key + `"}`)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			p.Use(wire.TextNamed{})
			p.Use(wire.JSONLines{})
		}
	}()
	for range 20 {
		reload(t, server, with("join=a"))
	}
	<-done
	if n := strings.Count(lines.String(), "msg=granted"); n != 21 {
		t.Errorf("%d lines say what was granted, want 21", n)
	}
}
