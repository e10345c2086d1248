package session_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"parley/wire"
)

// soon asks until the answer has text in it: what is sent becomes a job a moment later.
func (p *peer) soon(op, text string) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		p.do(op, `{"op":"ping","ref":"asked"}`)
		if strings.Contains(p.want(`{"op":"pong","ref":"asked"}`), text) {
			return
		}
	}
	p.t.Fatalf("%s is never answered with %s", op, text)
}

func TestGroupsAreListedAndRemoved(t *testing.T) {
	server := newServer(t)
	ada := newPeer(t, server, wire.JSONLines{}, "ada")
	ada.do(`{"op":"groups","room":"r","ref":1}`)
	ada.want(`{"op":"groups","ref":1,"room":"r","groups":[]}`)
	ada.do(`{"op":"send","room":"r","body":"one"}`, `{"op":"take","room":"r","group":"g","ref":2}`)
	job := ada.job(`"body":"one"`)
	ada.soon(`{"op":"groups","room":"r","ref":3}`, `"groups":[{"group":"g","pending":1,"taken":1,"dead":0,"sessions":1}]`)
	ada.do(`{"op":"remove","room":"r","group":"g","ref":4}`)
	ada.want(`{"op":"error","ref":4,"code":"conflict"`)
	ada.do(`{"op":"stop","room":"r","group":"g"}`, `{"op":"remove","room":"r","group":"g","ref":5}`)
	ada.want(`{"op":"removed","ref":5,"room":"r","group":"g"}`)
	ada.do(fmt.Sprintf(`{"op":"done","room":"r","job":%q,"ref":6}`, job), `{"op":"remove","room":"r","group":"g","ref":7}`)
	ada.want(`{"op":"error","ref":6,"code":"not_found"`)
	ada.want(`{"op":"error","ref":7,"code":"not_found"`)
	ada.do(`{"op":"take","room":"r","group":"g","ref":8}`)
	ada.job(`"body":"one"`) // another group of the same name, which has all there is
}

func TestReadersAreListedAndRemoved(t *testing.T) {
	server := newServer(t)
	ada := newPeer(t, server, wire.JSONLines{}, "ada")
	ada.do(`{"op":"send","room":"r","body":"one"}`, `{"op":"join","room":"r","reader":"billing","after":0,"ref":1}`)
	ada.want(`"body":"one"`)
	ada.do(`{"op":"done","room":"r","seq":1,"ref":2}`)
	ada.want(`{"op":"ack","ref":2`)
	ada.do(`{"op":"readers","room":"r","ref":3}`, `{"op":"remove","room":"r","reader":"billing","ref":4}`)
	ada.want(`{"op":"readers","ref":3,"room":"r","readers":[{"reader":"billing","seq":1}],"more":false}`)
	ada.want(`{"op":"error","ref":4,"code":"conflict"`)
	ada.do(`{"op":"leave","room":"r"}`, `{"op":"remove","room":"r","reader":"billing","ref":5}`)
	ada.want(`{"op":"removed","ref":5,"room":"r","reader":"billing"}`)
	ada.do(`{"op":"readers","room":"r","ref":6}`, `{"op":"hooks","ref":7}`)
	ada.want(`{"op":"readers","ref":6,"room":"r","readers":[],"more":false}`)
	ada.want(`{"op":"hooks","ref":7,"hooks":[]}`)
	ada.do(`{"op":"join","room":"r","reader":"billing","after":0,"ref":8}`)
	ada.want(`"body":"one"`)
}
