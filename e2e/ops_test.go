package e2e_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"
)

// Every operation and its answer, in one conversation: nothing here ends the session.
func TestOperations(t *testing.T) {
	t.Parallel()
	c := hello(t, serve(t), "ada")
	steps := []struct{ send, want string }{
		{`{"op":"ping","ref":5}`, `{"op":"pong","ref":5}`},
		{`{"op":"ping","ref":"five"}`, `{"op":"pong","ref":"five"}`},
		{`{"op":"ping"}`, `{"op":"pong"}`},
		{`{"op":"history","room":"new"}`, `{"op":"page","room":"new","messages":[],"more":false}`},
		{`{"op":"members","room":"new"}`, `{"op":"members","room":"new","members":[],"count":0}`},
		{`{"op":"rooms","ref":0}`, `{"op":"rooms","ref":0,"rooms":[],"more":false}`},
		{`{"op":"join","room":"new","ref":1}`, `{"op":"joined","ref":1,"room":"new","seq":0}`},
		{`{"op":"join","room":"new","ref":2}`, `{"op":"error","ref":2,"code":"conflict"}`},
		{`{"op":"members","room":"new","ref":3}`, `{"op":"members","ref":3,"members":[{"user":"ada"}],"count":1}`},
		{`{"op":"leave","room":"other","ref":4}`, `{"op":"error","ref":4,"code":"not_found"}`},
		{`{"op":"leave","room":"new","ref":5}`, `{"op":"left","ref":5,"room":"new"}`},
		{`{"op":"leave","room":"new","ref":6}`, `{"op":"error","ref":6,"code":"not_found"}`},
		{`{"op":"hello","name":"ada l.","ref":7}`, `{"op":"welcome","ref":7,"user":"ada l."}`},
		{`{"op":"hello","ref":8}`, `{"op":"welcome","ref":8,"user":"ada l."}`},
		{`{"op":"send","room":"new","body":"hi","ref":9}`, `{"op":"ack","ref":9,"room":"new"}`},
		{`{"op":"dance","ref":10}`, `{"op":"error","ref":10,"code":"bad_request"}`},
		{"\r", ``},
		{"", ``},
		{`{"op":"ping","ref":11}` + "\r", `{"op":"pong","ref":11}`},
	}
	for _, step := range steps {
		c.send("%s", step.send)
		if step.want != "" {
			c.expect("%s", step.want)
		}
	}
}

// What is not right is bad_request, with the ref where it could be read, and the session goes on.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	c := hello(t, serve(t), "ada")
	deep := strings.Repeat("[", 501) + strings.Repeat("]", 501)
	bad := []string{
		`{"op":"ping","ref":1,"ref":2}`,
		`{"op":"ping","op":"ping"}`,
		`{"OP":"ping","ref":1}`,
		`{"ref":1}`,
		`{"op":7,"ref":1}`,
		`{"op":"ping","ref":{}}`, `{"op":"ping","ref":null}`, `{"op":"ping","ref":true}`,
		`{"op":"ping","ref":"` + strings.Repeat("r", 1100) + `"}`,
		`{"op":"ping"`, `ping`, `[]`, `"ping"`, `{"op":"ping"}{}`, `{'op':'ping'}`,
		"{\"op\":\"ping\",\"x\":\"\xff\",\"ref\":1}",
		`{"op":"hello","name":"","ref":1}`, `{"op":"hello","name":7,"ref":1}`, `{"op":"hello","name":null,"ref":1}`,
		`{"op":"hello","name":"` + strings.Repeat("n", 65) + `","ref":1}`,
		`{"op":"hello","name":"a\u0000b","ref":1}`, `{"op":"hello","name":"\u202eada","ref":1}`, `{"op":"hello","name":" ","ref":1}`,
		`{"op":"join","ref":1}`, `{"op":"join","room":7,"ref":1}`,
		`{"op":"join","room":"r","after":-1,"ref":1}`, `{"op":"join","room":"r","after":1.5,"ref":1}`, `{"op":"join","room":"r","after":"1","ref":1}`,
		`{"op":"join","room":"r","last":0,"ref":1}`, `{"op":"join","room":"r","last":1000001,"ref":1}`,
		`{"op":"join","room":"r","since":"yesterday","ref":1}`, `{"op":"join","room":"r","since":"-10m","ref":1}`,
		`{"op":"join","room":"r","after":1,"last":2,"ref":1}`, `{"op":"join","room":"r","last":2,"since":"1m","ref":1}`,
		`{"op":"join","room":"r","echo":"no","ref":1}`,
		`{"op":"send","room":"r","ref":1}`, `{"op":"send","room":"r","body":"","ref":1}`, `{"op":"send","room":"r","body":7,"ref":1}`,
		`{"op":"send","room":"r","body":null,"ref":1}`, `{"op":"send","body":"x","ref":1}`,
		`{"op":"send","room":"r","type":"html","body":"x","ref":1}`,
		`{"op":"send","room":"r","type":"binary","body":"AP8","ref":1}`, `{"op":"send","room":"r","type":"binary","body":"A_8=","ref":1}`,
		`{"op":"send","room":"r","type":"binary","body":"AP8=\n","ref":1}`,
		`{"op":"send","room":"r","type":"json","body":` + deep + `,"ref":1}`,
		`{"op":"send","room":"r","body":"x","id":"","ref":1}`, `{"op":"send","room":"r","body":"x","id":"é","ref":1}`,
		`{"op":"send","room":"r","body":"x","id":"` + strings.Repeat("i", 129) + `","ref":1}`, `{"op":"send","room":"r","body":"x","id":"a\nb","ref":1}`,
		`{"op":"history","room":"r","limit":0,"ref":1}`, `{"op":"history","room":"r","limit":1001,"ref":1}`,
		`{"op":"history","room":"r","before":1,"after":1,"ref":1}`, `{"op":"history","room":"r","before":"x","ref":1}`,
		`{"op":"leave","ref":1}`, `{"op":"members","ref":1}`, `{"op":"rooms","limit":0,"ref":1}`,
		`{"op":"send","room":"r","body":"x","ref":1` + strings.Repeat(`,"x":1`, 1) + strings.Repeat(`,"y":1`, 2) + `}`,
	}
	noRef := regexp.MustCompile(`^\{"op":"error","code"`)
	for _, op := range bad {
		c.send("%s", op)
		f := c.expect(`{"op":"error","code":"bad_request"}`)
		if strings.HasSuffix(op, `"ref":1}`) && json.Valid([]byte(op)) && string(f.Ref) != "1" && !noRef.MatchString(op) {
			t.Errorf("%.100q: answered without its ref: %s", op, f.raw)
		}
	}
	c.want(`{"op":"history","room":"r"}`, `{"op":"page","messages":[]}`)
	c.want(`{"op":"members","room":"r"}`, `{"op":"members","count":0}`)
}

// A ref comes back as it was written.
func TestRefs(t *testing.T) {
	t.Parallel()
	c := hello(t, serve(t), "ada")
	for _, ref := range []string{`1`, `-1.50`, `1e3`, `12345678901234567890123`, `""`, `"é\u00e9\n"`, `"` + strings.Repeat("r", 1000) + `"`} {
		c.send(`{"op":"ping","ref":%s}`, ref)
		if f := c.next(); string(f.Ref) != ref {
			t.Errorf("ref %s came back as %s", ref, f.Ref)
		}
	}
}

func TestMessageFields(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := hello(t, s, "ada"), hello(t, s, "bob")
	bob.want(`{"op":"join","room":"lobby"}`, `{"op":"joined","seq":0}`)
	before := time.Now()
	first := ada.publish("lobby", "hi")
	f := bob.expect(`{"op":"message","room":"lobby","seq":%d,"prev":0,"from":"ada","type":"text","body":"hi"}`, first)
	var fields map[string]any
	if err := json.Unmarshal([]byte(f.raw), &fields); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	if got := strings.Join(names, " "); got != "at body from id op prev room seq type" {
		t.Errorf("a message has the fields %s", got)
	}
	at, err := time.Parse("2006-01-02T15:04:05.000Z", f.At)
	if err != nil || at.Before(before.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("at is %q (%v)", f.At, err)
	}
	if f.ID == "" {
		t.Error("a message without an id")
	}
	second := ada.want(`{"op":"send","room":"lobby","id":"a-1","body":"again"}`, `{"op":"ack","room":"lobby"}`).Seq
	bob.expect(`{"op":"message","seq":%d,"prev":%d,"id":"a-1"}`, second, first)
	ada.want(`{"op":"hello","name":"Ada L."}`, `{"op":"welcome","user":"Ada L."}`)
	ada.publish("lobby", "as another")
	bob.expect(`{"op":"message","from":"Ada L.","prev":%d}`, second)
}

// Bodies come as they were sent, whatever their type.
func TestBodies(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := hello(t, s, "ada"), hello(t, s, "bob")
	bob.want(`{"op":"join","room":"r"}`, `{"op":"joined"}`)
	tests := []struct{ kind, sent, got string }{
		{"text", `"two\nlines\r\n\t\u0000"`, `"two\nlines\r\n\t\u0000"`},
		{"text", `"\u00e9\ud83d\ude42 \u202e\""`, `"é🙂 ` + "\u202e" + `\""`},
		{"text", `"\ud83d alone"`, `"` + "\ufffd" + ` alone"`},
		{"json", `{ "b" : 1.50 , "a":[ 1,2 ], "a":1e400 }`, `{"b":1.50,"a":[1,2],"a":1e400}`},
		{"json", `null`, `null`},
		{"json", `""`, `""`},
		{"json", `"a\u0062 \/"`, `"a\u0062 \/"`},
		{"json", strings.Repeat("[", 500) + strings.Repeat("]", 500), strings.Repeat("[", 500) + strings.Repeat("]", 500)},
		{"binary", `"AP+A"`, `"AP+A"`},
		{"binary", `"AA=="`, `"AA=="`},
	}
	for _, tt := range tests {
		ada.want(fmt.Sprintf(`{"op":"send","room":"r","type":%q,"body":%s}`, tt.kind, tt.sent), `{"op":"ack"}`)
		f := bob.expect(`{"op":"message","type":%q}`, tt.kind)
		if !strings.HasSuffix(f.raw, `"body":`+tt.got+"}") {
			t.Errorf("the %s body %s came as %s", tt.kind, tt.sent, f.Body)
		}
	}
	page := bob.ask(`{"op":"history","room":"r"}`)
	for i, tt := range tests {
		if string(page.Messages[i].Body) != tt.got || page.Messages[i].Type != tt.kind {
			t.Errorf("the %s body %s stands in a page as %s", tt.kind, tt.sent, page.Messages[i].Body)
		}
	}
	// What a plain client says, in both forms.
	plain := dial(t, s)
	plain.send("/join r")
	plain.expect("* joined r")
	plain.send("valid é")
	bob.expect(`{"op":"message","type":"text","body":"valid é"}`)
	plain.send("\xff\x00")
	bob.expect(`{"op":"message","type":"binary","body":"/wA="}`)
	plain.send("a\x00b")
	bob.expect(`{"op":"message","type":"binary","body":"YQBi"}`)
}

func TestEcho(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := hello(t, s, "ada"), hello(t, s, "bob")
	ada.want(`{"op":"join","room":"with"}`, `{"op":"joined"}`)
	ada.want(`{"op":"join","room":"without","echo":false}`, `{"op":"joined"}`)
	ada.publish("with", "mine")
	ada.publish("without", "mine too")
	bob.publish("without", "bob's")
	got := map[string]string{}
	for range 2 {
		f := ada.expect(`{"op":"message"}`)
		got[f.Room] = f.text()
	}
	if got["with"] != "mine" || got["without"] != "bob's" {
		t.Errorf("with echo %q, without %q", got["with"], got["without"])
	}
	// Another session of the same name is somebody else to whom one's own are not shown.
	other := hello(t, s, "ada")
	other.publish("without", "from my other window")
	ada.expect(`{"op":"message","room":"without","body":"from my other window"}`)
	// What it missed is there when it asks.
	again := hello(t, s, "ada")
	again.want(`{"op":"join","room":"without","after":0,"echo":false}`, `{"op":"joined"}`)
	for _, body := range []string{"mine too", "bob's", "from my other window"} {
		again.expect(`{"op":"message","body":%q}`, body)
	}
}

// Operations of a session are carried out in order, and nothing of a room comes behind left.
func TestOrderWithinASession(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := hello(t, s, "ada"), hello(t, s, "bob")
	for i := range 20 {
		bob.publish("r", fmt.Sprint(i))
	}
	ada.send(`{"op":"join","room":"r","after":0,"ref":1}` + "\n" + `{"op":"ping","ref":2}`)
	ada.expect(`{"op":"joined","ref":1}`)
	seen, ponged := 0, false
	for seen < 20 || !ponged {
		switch f := ada.next(); f.Op {
		case "pong":
			ponged = true
		case "message":
			if f.text() != fmt.Sprint(seen) {
				t.Fatalf("message %d is %s", seen, f.raw)
			}
			seen++
		default:
			t.Fatal(f.raw)
		}
	}
	ada.want(`{"op":"leave","room":"r"}`, `{"op":"left"}`)
	bob.publish("r", "nobody hears this")
	ada.want(`{"op":"ping"}`, `{"op":"pong"}`)
	if len(ada.early) > 0 {
		t.Errorf("behind left came %s", ada.early[0].raw)
	}
}

// A client that closes its sending side has all it sent carried out and answered.
func TestHalfCloseIsAnswered(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := hello(t, s, "ada")
	const n = 300
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"op":"send","room":"r","body":"%d","ref":%d}`+"\n", i, i)
	}
	b.WriteString(`{"op":"send","room":"r","body":"whole, without its newline","ref":"last"}`)
	if err := c.say(b.String()); err != nil {
		t.Fatal(err)
	}
	end := &plainClient{peer: c.peer, t: t}
	end.finish()
	for i := range n {
		c.expect(`{"op":"ack","ref":%d}`, i)
	}
	c.expect(`{"op":"ack","ref":"last"}`)
	end.closed()
	page := hello(t, s, "bob").want(`{"op":"history","room":"r","limit":1000}`, `{"op":"page"}`)
	if len(page.Messages) != n+1 {
		t.Errorf("%d messages are stored, want %d", len(page.Messages), n+1)
	}
}

// A message that its sender knows to be stored is with the members too: its copy once came just
// behind the sync, and waited ten seconds for somebody to look.
func TestMembersGetWhatWasJustAcknowledged(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada := hello(t, s, "ada")
	for i := range 300 {
		room := fmt.Sprintf("r%d", i)
		bob := hello(t, s, "bob")
		bob.want(fmt.Sprintf(`{"op":"join","room":%q}`, room), `{"op":"joined"}`)
		ada.publish(room, "x")
		acked := time.Now()
		bob.expect(`{"op":"message"}`)
		if took := time.Since(acked); took > 3*time.Second {
			t.Fatalf("the message came %v behind its ack", took)
		}
		bob.hangUp()
	}
}
