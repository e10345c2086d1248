package e2e_test

import (
	"fmt"
	"testing"
)

// The same id of the same sender in the same room is stored once, whatever happens in between.
func TestSameIDIsStoredOnce(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const send = `{"op":"send","room":"r","id":"a-1","body":"once"}`
	ada := hello(t, s, "ada")
	first := ada.want(send, `{"op":"ack","room":"r"}`)
	if first.Duplicate {
		t.Error("the first is called a duplicate")
	}
	again := fmt.Sprintf(`{"op":"ack","room":"r","seq":%d,"duplicate":true}`, first.Seq)
	ada.want(send, again)
	ada.want(`{"op":"send","room":"r","id":"a-1","type":"json","body":{"another":"body"}}`, again)

	// Others' ids, and its own elsewhere, are others.
	bob := hello(t, s, "bob")
	if f := bob.want(send, `{"op":"ack"}`); f.Duplicate || f.Seq == first.Seq {
		t.Errorf("another sender's id: %s", f.raw)
	}
	if f := ada.want(`{"op":"send","room":"R","id":"a-1","body":"once"}`, `{"op":"ack","room":"R"}`); f.Duplicate {
		t.Errorf("the id in another room: %s", f.raw)
	}
	ada.publish("r", "without an id")
	ada.publish("r", "without an id")

	ada.hangUp()
	ada = hello(t, s, "ada")
	ada.want(send, again)
	for range 2 {
		s.kill()
		s.start()
		ada = hello(t, s, "ada")
		ada.want(send, again)
	}
	if code := s.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.start()
	ada = hello(t, s, "ada")
	ada.want(send, again)

	var bodies []string
	for _, m := range ada.ask(`{"op":"history","room":"r"}`).Messages {
		bodies = append(bodies, m.From+": "+m.text())
	}
	if got := fmt.Sprintf("%q", bodies); got != `["ada: once" "bob: once" "ada: without an id" "ada: without an id"]` {
		t.Errorf("the room holds %s", got)
	}
}

// A name given later, in plain lines or JSON, is the same sender.
func TestSameNameIsTheSameSender(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const send = `{"op":"send","room":"r","id":"1","body":"x"}`
	one, two := hello(t, s, "ada"), hello(t, s, "eve")
	seq := one.want(send, `{"op":"ack"}`).Seq
	two.want(`{"op":"hello","name":"ada"}`, `{"op":"welcome","user":"ada"}`)
	two.want(send, fmt.Sprintf(`{"op":"ack","seq":%d,"duplicate":true}`, seq)) // while the older session lingers
	two.want(`{"op":"hello","name":"Ada"}`, `{"op":"welcome","user":"Ada"}`)
	if f := two.want(send, `{"op":"ack"}`); f.Duplicate {
		t.Errorf("Ada is not ada, but: %s", f.raw)
	}
	// One name in two forms of Unicode is one name.
	two.want(`{"op":"hello","name":"Zoe\u0308"}`, `{"op":"welcome","user":"Zoë"}`)
	seq = two.want(send, `{"op":"ack"}`).Seq
	one.want(`{"op":"hello","name":"Zo\u00eb"}`, `{"op":"welcome","user":"Zoë"}`)
	one.want(send, fmt.Sprintf(`{"op":"ack","seq":%d,"duplicate":true}`, seq))
}

// A retry that overtakes the answer to the first try.
func TestSameIDInFlight(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := hello(t, s, "ada"), hello(t, s, "bob")
	bob.want(`{"op":"join","room":"r"}`, `{"op":"joined"}`)
	const n = 200
	for i := range n {
		ada.send(`{"op":"send","room":"r","id":"id-%d","body":"x","ref":1}`+"\n"+
			`{"op":"send","room":"r","id":"id-%d","body":"x","ref":2}`, i, i)
	}
	var first, second []uint64
	for range 2 * n {
		f := ada.expect(`{"op":"ack"}`)
		if string(f.Ref) == "1" {
			first = append(first, f.Seq)
		} else {
			second = append(second, f.Seq)
		}
	}
	if fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("the first tries got %v, the second %v", first, second)
	}
	for i, seq := range first {
		bob.expect(`{"op":"message","seq":%d,"id":"id-%d"}`, seq, i)
	}
	last := ada.publish("r", "the end")
	bob.expect(`{"op":"message","seq":%d,"body":"the end"}`, last)
}

// Beyond the window an id is as good as new.
func TestIDIsForgottenAfterItsWindow(t *testing.T) {
	t.Parallel()
	s := serve(t, "--dedupe", "300ms")
	ada := hello(t, s, "ada")
	const send = `{"op":"send","room":"r","id":"a-1","body":"once"}`
	first := ada.want(send, `{"op":"ack"}`)
	eventually(t, "the id is new again", func() bool {
		f := ada.want(send, `{"op":"ack"}`)
		if f.Duplicate != (f.Seq == first.Seq) {
			t.Fatalf("first %s, then %s", first.raw, f.raw)
		}
		return !f.Duplicate
	})
}
