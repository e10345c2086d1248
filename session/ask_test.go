package session_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"parley"
	"parley/wire"
)

// question waits for a question with the body and gives its name.
func (p *peer) question(body string) string {
	p.t.Helper()
	p.want(fmt.Sprintf(`"body":%q}`, body))
	p.mu.Lock()
	all := p.got.String()[:p.read-1]
	p.mu.Unlock()
	f, err := wire.ParseFrame([]byte(all[lastLine(all):]))
	if err != nil || f.Op != "question" {
		p.t.Fatalf("%s is no question: %v", all, err)
	}
	return f.Question
}

func lastLine(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '\n' {
			return i + 1
		}
	}
	return 0
}

func TestAskAndAnswer(t *testing.T) {
	server := newServer(t)
	ada, bob := newPeer(t, server, wire.JSONLines{}, "ada"), newPeer(t, server, wire.JSONLines{}, "bob")
	ada.do(`{"op":"ask","room":"r","body":"?","ref":1}`)
	ada.want(`{"op":"error","ref":1,"code":"no_responders"`)
	bob.do(`{"op":"serve","room":"r","ref":2}`, `{"op":"serve","room":"r","ref":3}`)
	bob.want(`{"op":"serving","ref":2,"room":"r"}`)
	bob.want(`{"op":"error","ref":3,"code":"conflict"`)
	ada.do(`{"op":"ask","room":"r","body":"how?","ref":4}`)
	q := bob.question("how?")
	ada.do(fmt.Sprintf(`{"op":"answer","room":"r","question":%q,"body":"mine","ref":5}`, q))
	ada.want(`{"op":"error","ref":5,"code":"not_found"`)
	bob.do(fmt.Sprintf(`{"op":"answer","room":"r","question":%q,"type":"json","body":{"a":1}}`, q))
	ada.want(`{"op":"answer","ref":4,"room":"r","from":"bob","type":"json","body":{"a":1}}`)
	ada.want(`{"op":"answered","ref":4,"room":"r","count":1}`)
	ada.do(`{"op":"ask","room":"r","body":"gone?","ref":6}`)
	bob.question("gone?")
	bob.Close()
	ada.want(`{"op":"error","ref":6,"code":"no_responders"`)
}

func TestStopServing(t *testing.T) {
	server := newServer(t)
	bob := newPeer(t, server, wire.JSONLines{}, "bob")
	bob.do(`{"op":"stop","room":"r","ref":1}`)
	bob.want(`{"op":"error","ref":1,"code":"not_found"`)
	bob.do(`{"op":"serve","room":"r"}`, `{"op":"ask","room":"r","body":"me?","ref":2}`)
	q := bob.question("me?")
	bob.do(`{"op":"stop","room":"r","ref":3}`, `{"op":"ask","room":"r","body":"again?","ref":4}`)
	bob.want(`{"op":"stopped","ref":3,"room":"r"}`)
	bob.want(`{"op":"error","ref":4,"code":"no_responders"`)
	bob.do(fmt.Sprintf(`{"op":"answer","room":"r","question":%q,"body":"yes"}`, q))
	bob.want(`{"op":"answered","ref":2,"room":"r","count":1}`)
	bob.do(`{"op":"serve","room":"r","ref":5}`)
	bob.want(`{"op":"serving","ref":5`)
}

func TestCallersAsk(t *testing.T) {
	server := newServer(t)
	bob := newPeer(t, server, wire.JSONLines{}, "bob")
	caller, err := server.Caller(context.Background(), netip.AddrPort{}, "", "ada")
	if err != nil {
		t.Fatal(err)
	}
	op := &wire.Op{Kind: wire.Ask, Room: "r", Body: []byte("?"), Most: 1, Timeout: 50 * time.Millisecond}
	if _, err := server.Ask(context.Background(), caller, op); parley.AsError(err).Code != parley.NoResponders {
		t.Error(err)
	}
	bob.do(`{"op":"serve","room":"r"}`)
	if _, err := server.Ask(context.Background(), caller, op); parley.AsError(err).Code != parley.Timeout {
		t.Error(err)
	}
	bob.question("?")
	op.Timeout = 20 * time.Second
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		answers, err := server.Ask(context.Background(), caller, op)
		if err != nil || len(answers) != 1 || string(answers[0].Body) != "yes" || answers[0].From != "bob" {
			t.Error(answers, err)
		}
	}()
	q := bob.question("?")
	bob.do(fmt.Sprintf(`{"op":"answer","room":"r","question":%q,"body":"yes"}`, q))
	<-ended
}
