package session_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/auth"
	"parley/session"
	"parley/wire"
)

// said stores a message in a room, as of somebody who may.
func said(t *testing.T, s *session.Server, room, body string) uint64 {
	t.Helper()
	done := make(chan parley.Receipt, 1)
	d := parley.Draft{Room: room, ID: "x", From: "system", Body: []byte(body)}
	if err := s.Log.Append(t.Context(), d, func(r parley.Receipt, err error) {
		if err != nil {
			t.Error(err)
		}
		done <- r
	}); err != nil {
		t.Fatal(err)
	}
	return (<-done).Seq
}

// messages gives the rooms and bodies of the message frames in what a peer was written.
func messages(t *testing.T, lines string) (all []string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var f struct{ Op, Room, Body string }
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if f.Op == "message" {
			all = append(all, f.Room+" "+f.Body)
		}
	}
	return all
}

// gather waits for n messages that count, and gives them.
func (p *peer) gather(n int, counts func(string) bool) (got []string) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); len(got) < n; {
		p.do(`{"op":"ping","ref":"gather"}`)
		for _, m := range messages(p.t, p.want(`{"op":"pong","ref":"gather"`)) {
			if counts(m) {
				got = append(got, m)
			}
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("of %d messages came %q", n, got)
		}
	}
	return got
}

// What a member of a pattern is shown is what its grants let it join, and of the past what they let it read, whatever
// the pattern and the grants.
func TestPatternsShowWhatGrantsAllow(t *testing.T) {
	server := newServer(t)
	guard(t, server, nil)
	rooms := []string{"a", "b", "a.x", "a.y", "b.x", "a.x.t", "a.y.t", "b.x.t", "a.x.u", "a.x.t.v"}
	for _, room := range append([]string{"$revoked"}, rooms...) {
		said(t, server, room, "past")
	}
	patterns := []string{"*", "**", "a.*", "a.**", "*.x", "a.*.t", "*.x.**", "*.*", "b.**", "*.*.t"}
	grants := [][]string{
		{"join,history=**"},
		{"join=**"},
		{"join=a.**", "history=**"},
		{"join,history=a.x"},
		{"join=a.*", "history=*.x"},
		{"join=a.x.**", "join,history=b.**", "send=**"},
		{"history=a.**", "join=*.x", "join=a"},
		{"send=**"},
		{"join=b", "history=a.**"},
		{"join=*.*.t", "history=a.*.*", "join,history=a.y"},
	}
	n := 0
	for _, pattern := range patterns {
		for _, given := range grants {
			for _, replay := range []bool{false, true} {
				n++
				t.Run(fmt.Sprint(pattern, " ", given, " ", replay), func(t *testing.T) {
					shows(t, server, pattern, grantsOf(t, given...), given, replay, rooms, fmt.Sprint("now ", n))
				})
			}
		}
	}
}

func shows(t *testing.T, server *session.Server, pattern string, grants auth.Grants, given []string, replay bool, rooms []string, body string) {
	p, err := parley.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var want []string // of the past and the present
	joins, reads := false, false
	for _, room := range rooms {
		if !p.Match(room) || !grants.Allows(auth.Join, room) {
			continue
		}
		joins = true
		if grants.Allows(auth.History, room) {
			reads = true
			if replay {
				want = append(want, room+" past")
			}
		}
	}
	peer := stranger(t, server)
	defer peer.Close()
	peer.do(`{"op":"hello","ref":1,"token":"` + token(t, "ada", time.Hour, given...) + `"}`)
	peer.want(`{"op":"welcome"`)
	join := `{"op":"join","room":"` + pattern + `","ref":2}`
	if replay {
		join = `{"op":"join","room":"` + pattern + `","after":0,"ref":2}`
	}
	peer.do(join)
	if !joins || replay && !reads {
		peer.want(`{"op":"error","ref":2,"code":"denied","message":"you may not `)
		return
	}
	peer.want(`{"op":"joined","ref":2,"room":"` + pattern + `","seq":0`)
	for _, room := range append([]string{"$revoked"}, rooms...) {
		said(t, server, room, body)
		if room != "$revoked" && p.Match(room) && grants.Allows(auth.Join, room) {
			want = append(want, room+" "+body)
		}
	}
	got := peer.gather(len(want), func(m string) bool { return strings.HasSuffix(m, " past") || strings.HasSuffix(m, " "+body) })
	peer.do(`{"op":"leave","room":"` + pattern + `","ref":3}`)
	got = append(got, messages(t, peer.want(`{"op":"left","ref":3`))...)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("shown:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Grants that change change at once what a pattern shows.
func TestPatternsShowWhatIsGrantedNow(t *testing.T) {
	server := newServer(t)
	guard(t, server, nil)
	peer := stranger(t, server)
	say := func(body string) {
		for _, room := range []string{"a.x", "a.y", "a.z"} {
			said(t, server, room, body)
		}
	}
	hello := func(grants ...string) (passed string) {
		peer.do(`{"op":"hello","ref":1,"token":"` + token(t, "ada", time.Hour, grants...) + `"}`)
		return peer.want(`{"op":"welcome"`)
	}
	// shown says something more, and gives what came up to that.
	shown := func(room, last string) (got []string) {
		said(t, server, room, last)
		for !slices.Contains(got, room+" "+last) {
			got = append(got, peer.gather(1, func(string) bool { return true })...)
		}
		slices.Sort(got)
		return got
	}
	want := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	hello("join=a.x")
	peer.do(`{"op":"join","room":"a.*","ref":2}`)
	peer.want(`{"op":"joined","ref":2`)
	say("1")
	want("of a.x", shown("a.x", "1 too"), "a.x 1", "a.x 1 too")
	hello("join=a.y")
	say("2")
	want("of a.y", shown("a.y", "2 too"), "a.y 2", "a.y 2 too")
	hello("join=a.y", "send=**") // what is shown is the same
	say("3")
	want("of a.y again", shown("a.y", "3 too"), "a.y 3", "a.y 3 too")
	peer.do(`{"op":"join","room":"a.y","ref":3}`)
	peer.want(`{"op":"joined","ref":3`)
	passed := hello("join=b")
	for _, told := range []string{
		`{"op":"left","room":"a.*"}`, `"denied","message":"you may not be in a.* any more"`, `{"op":"left","room":"a.y"}`,
	} {
		if !strings.Contains(passed, told) {
			t.Errorf("%s was not told:\n%s", told, passed)
		}
	}
	say("4")
	hello("join=a.z")
	peer.do(`{"op":"join","room":"a.*","ref":4}`)
	peer.want(`{"op":"joined","ref":4`)
	say("5")
	want("of a.z", shown("a.z", "5 too"), "a.z 5", "a.z 5 too")
	server.Auth.Revoke([]string{"ada"}, nil)
	server.Recheck()
	peer.leaves()
}

// A pattern and a room that it covers are two: what is said in the room comes for each.
func TestAPatternBesideItsRoom(t *testing.T) {
	server := newServer(t)
	ada, bob := newPeer(t, server, wire.JSONLines{}, "ada"), newPeer(t, server, wire.TextNamed{}, "bob")
	ada.do(`{"op":"join","room":"a.x","ref":1}`, `{"op":"join","room":"a.*","ref":2}`, `{"op":"join","room":"a.*","ref":3}`)
	ada.want(`{"op":"joined","ref":1,"room":"a.x","seq":0}`)
	ada.want(`{"op":"joined","ref":2,"room":"a.*","seq":0,"cursor":"`)
	ada.want(`{"op":"error","ref":3,"code":"conflict","message":"you are in a.* already"}`)
	bob.do(`{"op":"join","room":"a.**"}`)
	bob.want("* joined a.**")
	ada.do(`{"op":"send","room":"a.x","body":"twice","ref":4}`)
	ada.want(`"body":"twice"`)
	ada.want(`"body":"twice"`)
	bob.want("[a.x] ada: twice")
	ada.do(`{"op":"leave","room":"a.*","ref":5}`, `{"op":"leave","room":"a.*","ref":6}`)
	ada.want(`{"op":"left","ref":5,"room":"a.*"}`)
	ada.want(`{"op":"error","ref":6,"code":"not_found","message":"you are not in a.*"}`)

	ada.do(`{"op":"members","room":"a.x","ref":7}`, `{"op":"rooms","ref":8}`)
	ada.want(`{"op":"members","ref":7,"room":"a.x","members":[{"user":"ada"}],"count":1}`)
	ada.want(`{"op":"rooms","ref":8,"rooms":[{"room":"a.x","seq":1,"messages":1,"members":1}],"more":false}`)

	// Without echo, a member of a pattern does not get what its session sends.
	ada.do(`{"op":"join","room":"*.x","echo":false,"ref":9}`, `{"op":"leave","room":"a.x","ref":10}`,
		`{"op":"send","room":"a.x","body":"unheard","ref":11}`)
	ada.want(`{"op":"ack","ref":11`)
	said(t, server, "a.x", "heard")
	if passed := ada.want(`"heard"`); strings.Contains(passed, "unheard") {
		t.Errorf("it came back:\n%s", passed)
	}
}

// What is no join does not reach a pattern, however it was made.
func TestNothingIsSentToAPattern(t *testing.T) {
	server := newServer(t)
	ada := newPeer(t, server, wire.JSONLines{}, "ada")
	for _, kind := range []wire.Kind{wire.Send, wire.History, wire.Members, wire.Signal} {
		op := wire.Op{Kind: kind, Room: "a.*", Body: []byte("x"), Limit: 1}
		if err := ada.Do(t.Context(), &op); err != nil {
			t.Fatal(err)
		}
		ada.want(`"code":"bad_request","message":"a.* is a pattern`)
	}
}

// Who may join some rooms of a pattern and read the past of others is told which right it lacks.
func TestADeniedPatternNamesTheRight(t *testing.T) {
	server := newServer(t)
	guard(t, server, nil)
	peer := stranger(t, server)
	peer.do(`{"op":"hello","ref":1,"token":"` + token(t, "ada", time.Hour, "join=a.x", "history=a.y") + `"}`)
	peer.want(`{"op":"welcome"`)
	peer.do(`{"op":"join","ref":2,"room":"a.*","after":0}`)
	peer.want(`{"op":"error","ref":2,"code":"denied","message":"you may not read what was said in a.*"}`)
}
