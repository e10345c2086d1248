package session_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley"
	"parley/audit"
	"parley/auth"
	"parley/internal/logtest"
	"parley/session"
	"parley/wire"
)

const secret = "a secret of thirty-two bytes, or more"

// guard puts grants into force: nobody may do anything but who proves who they are.
func guard(t *testing.T, s *session.Server, anonymous auth.Grants) {
	t.Setenv("PARLEY_TEST_SECRET", secret)
	a, err := auth.New(t.Context(), auth.Settings{
		Auth: &auth.Config{
			Issuer: "https://id.example", Audience: "parley",
			Keys: []auth.KeyConfig{{Alg: "HS256", SecretEnv: "PARLEY_TEST_SECRET"}},
		},
		Anonymous: anonymous,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	s.Auth = a
}

// token makes a token that lasts so long; grants are as on the command line.
func token(t *testing.T, user string, lasts time.Duration, grants ...string) string {
	t.Helper()
	var list []auth.Grant
	for _, text := range grants {
		g, err := auth.ParseGrant(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, g)
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://id.example", "aud": "parley", "sub": user, "exp": time.Now().Add(lasts).Unix(), "parley": list,
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func grantsOf(t *testing.T, texts ...string) (list auth.Grants) {
	t.Helper()
	for _, text := range texts {
		g, err := auth.ParseGrant(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, g)
	}
	return list
}

// stranger is a session that has said nothing yet.
func stranger(t *testing.T, s *session.Server) *peer {
	p := makePeer(t)
	p.Session = s.New(p, wire.JSONLines{})
	t.Cleanup(p.Close)
	return p
}

// refusedAt carries out an operation at which the session must end.
func (p *peer) refusedAt(line string) {
	p.t.Helper()
	op, err := wire.ParseOp([]byte(line))
	if err == nil {
		err = p.Do(context.Background(), &op)
	}
	if !errors.Is(err, session.ErrRefused) {
		p.t.Errorf("%s: %v, want that it is refused", line, err)
	}
}

// leaves waits until the session was dismissed.
func (p *peer) leaves() {
	p.t.Helper()
	select {
	case <-p.left:
	case <-time.After(20 * time.Second):
		p.t.Fatal("the session goes on")
	}
}

func TestATokenSaysWho(t *testing.T) {
	server := newServer(t)
	guard(t, server, nil)
	ada := stranger(t, server)
	ada.do(`{"op":"join","room":"lobby","ref":1}`)
	ada.want(`{"op":"error","ref":1,"code":"unauthorized","message":"say first who you are: a token is needed"}`)
	ada.do(`{"op":"rooms","ref":0}`) // every room would be looked at
	ada.want(`{"op":"error","ref":0,"code":"unauthorized",`)
	ada.do(`{"op":"hello","name":"bob","ref":2,"token":"` + token(t, "ada", time.Hour, "join,send=lobby", "members=**") + `"}`)
	ada.want(`{"op":"welcome","ref":2,"user":"ada",`)
	ada.do(`{"op":"join","room":"lobby","ref":3}`, `{"op":"join","room":"ops","ref":4}`, `{"op":"join","room":"lobby","last":1,"ref":5}`)
	ada.want(`{"op":"joined","ref":3,"room":"lobby","seq":0}`)
	ada.want(`{"op":"error","ref":4,"code":"denied","message":"you may not join ops"}`)
	ada.want(`{"op":"error","ref":5,"code":"denied","message":"you may not read what was said in lobby"}`)
	ada.do(`{"op":"hello","name":"bob","ref":6}`)
	ada.want(`{"op":"welcome","ref":6,"user":"ada",`)
	ada.do(`{"op":"hello","ref":7,"token":"` + token(t, "bob", time.Hour, "join=**") + `"}`)
	ada.want(`{"op":"error","ref":7,"code":"conflict","message":"this session is ada's: connect again to be somebody else"}`)
	ada.refusedAt(`{"op":"hello","token":"x.y.z","ref":8}`)
	ada.want(`{"op":"error","ref":8,"code":"unauthorized",`)
	stranger(t, server).refusedAt(`{"op":"hello","name":"ada"}`)
}

func TestAGivenNameIsNobodys(t *testing.T) {
	server := newServer(t)
	guard(t, server, grantsOf(t, "join,send,members=lobby"))
	eve := stranger(t, server)
	if user := eve.User(); !strings.HasPrefix(user, "~guest-") {
		t.Errorf("a guest is called %s", user)
	}
	eve.do(`{"op":"hello","name":"ada","ref":1}`, `{"op":"hello","name":"~ada","ref":2}`)
	eve.want(`{"op":"welcome","ref":1,"user":"~ada",`)
	eve.want(`{"op":"welcome","ref":2,"user":"~ada",`)
	eve.do(`{"op":"hello","name":"`+strings.Repeat("n", parley.MaxUserName)+`","ref":3}`, `{"op":"join","room":"ops","ref":4}`)
	eve.want(`{"op":"error","ref":3,"code":"bad_request",`)
	eve.want(`{"op":"error","ref":4,"code":"denied",`)
	eve.do(`{"op":"join","room":"lobby","ref":5}`, `{"op":"send","room":"lobby","body":"hi"}`)
	eve.want(`"from":"~ada"`)
}

func TestFewerGrantsTakeRoomsAway(t *testing.T) {
	server := newServer(t)
	guard(t, server, nil)
	ada := stranger(t, server)
	ada.do(`{"op":"hello","token":"`+token(t, "ada", time.Hour, "join,members=**")+`"}`,
		`{"op":"join","room":"a","ref":1}`, `{"op":"join","room":"b","presence":true,"ref":2}`, `{"op":"join","room":"c","ref":3}`)
	ada.want(`"ref":3,"room":"c"`)
	ada.do(`{"op":"hello","ref":4,"token":"` + token(t, "ada", time.Hour, "join=a", "join=b") + `"}`)
	passed := ada.want(`{"op":"error","code":"denied","message":"you may not be in c any more"}`)
	if ada.In("b") || ada.In("c") || !ada.In("a") || !strings.Contains(passed, `{"op":"left","room":"b"}`) {
		t.Errorf("the wrong rooms were left: %s", passed)
	}
}

func TestASessionEndsWithItsToken(t *testing.T) {
	server := newServer(t)
	guard(t, server, nil)
	ada, long := stranger(t, server), stranger(t, server)
	long.do(`{"op":"hello","token":"` + token(t, "ada", 2*time.Second, "join=**") + `"}`)
	long.do(`{"op":"hello","token":"` + token(t, "ada", time.Hour, "join=**") + `"}`) // in time
	ada.do(`{"op":"hello","token":"` + token(t, "ada", 2*time.Second, "join=**") + `"}`)
	ada.want(`"welcome"`)
	ada.want(`{"op":"error","code":"unauthorized","message":"your token has ended: connect again with a new one"}`)
	ada.leaves()
	select {
	case <-long.left:
		t.Error("a session with a new token has ended too")
	default:
	}
}

func TestWhoSaysNothingEnds(t *testing.T) {
	server := newServer(t)
	server.Limits.Handshake = 50 * time.Millisecond
	guard(t, server, nil)
	eve := stranger(t, server)
	eve.want(`{"op":"error","code":"unauthorized","message":"nobody said who this is in time: a token is needed"}`)
	eve.leaves()
}

func TestRevoke(t *testing.T) {
	var lines record
	server := newServer(t)
	server.Audit = audit.New(slog.NewTextHandler(&lines, nil))
	guard(t, server, nil)
	wait, stop := followRevocations(t, server)
	root, ada, mallory := stranger(t, server), stranger(t, server), stranger(t, server)
	bad := token(t, "mallory", time.Hour, "join=**")
	root.do(`{"op":"hello","token":"` + token(t, "root", time.Hour, "admin,join=**") + `"}`)
	ada.do(`{"op":"hello","token":"`+token(t, "ada", time.Hour, "join=**", "admin=lobby")+`"}`,
		`{"op":"revoke","user":"root","ref":1}`)
	ada.want(`{"op":"error","ref":1,"code":"denied",`)
	mallory.do(`{"op":"hello","token":"`+bad+`"}`, `{"op":"join","room":"lobby"}`)
	mallory.want(`"joined"`)
	root.do(`{"op":"revoke","user":"mallory","ref":2}`)
	root.want(`{"op":"revoked","ref":2}`)
	mallory.want(`{"op":"error","code":"unauthorized","message":"your access has been revoked"}`)
	mallory.leaves()
	mallory.Close()
	stranger(t, server).refusedAt(`{"op":"hello","token":"` + bad + `"}`)
	root.do(`{"op":"rooms","ref":3}`)
	root.want(`{"op":"rooms","ref":3,`)
	if strings.Contains(root.got.String(), "$revoked") {
		t.Error("revocations are listed as a room")
	}
	stop()
	wait()

	again := &session.Server{Log: server.Log, Hub: server.Hub, Limits: server.Limits, Logger: server.Logger}
	guard(t, again, nil)
	wait, stop = followRevocations(t, again)
	defer func() { stop(); wait() }()
	stranger(t, again).refusedAt(`{"op":"hello","token":"` + bad + `"}`)
	root = stranger(t, again)
	root.do(`{"op":"hello","token":"`+token(t, "root", time.Hour, "admin=**")+`"}`, `{"op":"revoke","user":"mallory","lift":true,"ref":4}`)
	root.want(`{"op":"revoked","ref":4}`)
	for tries := 0; ; tries++ { // it is in force when the log has brought it back
		if _, err := again.Auth.Check(t.Context(), bad); err == nil {
			break
		} else if tries > 1e6 {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"msg=connected", "msg=granted", "msg=refused", "msg=acted", "op=revoke of=mallory", "msg=ended"} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("the audit log lacks %s:\n%s", want, lines.String())
		}
	}
	if strings.Contains(lines.String(), bad) {
		t.Error("the audit log holds a token")
	}
}

// What is revoked stays so, however few messages or however short a time the log keeps.
func TestRevocationsOutliveRetention(t *testing.T) {
	log := logtest.New(logtest.Options{RetainMessages: 1})
	server := newServerOn(t, log)
	guard(t, server, nil)
	wait, stop := followRevocations(t, server)
	root := stranger(t, server)
	root.do(`{"op":"hello","token":"` + token(t, "root", time.Hour, "admin=**") + `"}`)
	for _, user := range []string{"mallory", "trudy", "eve"} {
		root.do(`{"op":"revoke","user":"` + user + `"}`)
		root.want(`"revoked"`)
	}
	root.do(`{"op":"revoke","user":"trudy","lift":true}`, `{"op":"revoke","key":"billing"}`)
	root.want(`"revoked"`)
	root.want(`"revoked"`)
	stop()
	wait()

	again := newServerOn(t, log)
	guard(t, again, nil)
	ctx, cancel := context.WithCancel(t.Context())
	wait, err := again.FollowRevocations(ctx, time.Nanosecond) // what there is is old at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); wait() }()
	for user, revoked := range map[string]bool{"mallory": true, "trudy": false, "eve": true} {
		_, err := again.Auth.Check(t.Context(), token(t, user, time.Hour, "join=**"))
		if (err != nil) != revoked {
			t.Errorf("%s: %v", user, err)
		}
	}
	for tries := 0; ; tries++ { // it is written anew
		page, err := log.Read(t.Context(), "$revoked", 0, 10)
		if err == nil && len(page.Messages) == 1 && page.Messages[0].From == "" {
			break
		}
		if tries > 1e7 {
			t.Fatal(err, page.Messages)
		}
	}
}

// Two nodes revoke somebody at the same time, so that the second does not know of the first. Both are
// revoked, and stay so when retention has left nothing of the first.
func TestRevocationsOfTwoNodes(t *testing.T) {
	log := logtest.New(logtest.Options{RetainMessages: 2})
	revoke := func(body string) {
		stored := make(chan error, 1)
		d := parley.Draft{Room: "$revoked", ID: body, Type: parley.JSON, Body: []byte(body)}
		if err := log.Append(t.Context(), d, func(_ parley.Receipt, err error) { stored <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-stored; err != nil {
			t.Fatal(err)
		}
	}
	revoke(`{"user":"mallory","users":["mallory"],"keys":[],"after":0}`)
	revoke(`{"user":"trudy","users":["trudy"],"keys":[],"after":0}`)
	refused := func(s *session.Server, users ...string) {
		t.Helper()
		for _, user := range users {
			if _, err := s.Auth.Check(t.Context(), token(t, user, time.Hour, "join=**")); err == nil {
				t.Errorf("%s comes in", user)
			}
		}
	}
	begin := func() (s *session.Server, end func()) {
		s = newServerOn(t, log)
		guard(t, s, nil)
		wait, stop := followRevocations(t, s)
		return s, func() { stop(); wait() }
	}
	server, end := begin()
	refused(server, "mallory", "trudy")
	var page parley.Page
	for tries := 0; page.Messages == nil || !strings.Contains(string(page.Messages[1].Body), `"users":["mallory","trudy"]`); tries++ {
		var err error
		if page, err = log.Read(t.Context(), "$revoked", 0, 10); err != nil || tries > 1e7 {
			t.Fatal(err, page.Messages) // it has to be written anew
		}
	}
	revoke(`{"user":"eve","users":["eve","mallory"],"keys":[],"after":1}`)
	root := stranger(t, server)
	root.do(`{"op":"hello","token":"`+token(t, "root", time.Hour, "admin=**")+`"}`, `{"op":"revoke","key":"billing"}`)
	root.want(`"revoked"`)
	refused(server, "mallory", "trudy", "eve")
	end()
	server, end = begin()
	defer end()
	refused(server, "mallory", "trudy", "eve")
}

// record keeps what is written.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func followRevocations(t *testing.T, s *session.Server) (wait, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	wait, err := s.FollowRevocations(ctx, time.Hour)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	return wait, cancel
}
