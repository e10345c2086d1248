package e2e_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := hello(t, s, "ada")
	const limit = 64 << 10
	bytes := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for name, tt := range map[string]struct{ fits, exceeds string }{
		"text":    {`"body":"` + strings.Repeat("x", limit) + `"`, `"body":"` + strings.Repeat("x", limit+1) + `"`},
		"escaped": {`"body":"` + strings.Repeat(`\n`, limit) + `"`, `"body":"` + strings.Repeat(`\n`, limit+1) + `"`},
		"json":    {`"type":"json","body":"` + strings.Repeat("x", limit-2) + `"`, `"type":"json","body":"` + strings.Repeat("x", limit-1) + `"`},
		"binary":  {`"type":"binary","body":"` + bytes(limit) + `"`, `"type":"binary","body":"` + bytes(limit+1) + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.within(t)
			c.want(`{"op":"send","room":"r",`+tt.exceeds+`}`, `{"op":"error","code":"too_large"}`)
			c.want(`{"op":"send","room":"r",`+tt.fits+`}`, `{"op":"ack"}`)
		})
	}
	page := c.want(`{"op":"history","room":"r"}`, `{"op":"page","more":false}`)
	if len(page.Messages) != 4 {
		t.Errorf("%d messages are stored, want the 4 that fit", len(page.Messages))
	}
}

func TestFrameLimit(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const limit = 256 << 10
	ping := func(size int) string {
		const frame = `{"op":"ping","ref":1,"x":""}`
		return strings.Replace(frame, `""`, `"`+strings.Repeat("x", size-len(frame))+`"`, 1)
	}
	fits := hello(t, s, "ada")
	fits.send("%s", ping(limit))
	fits.expect(`{"op":"pong","ref":1}`)
	fits.send("%s\r", ping(limit))
	fits.expect(`{"op":"pong","ref":1}`)
	for name, text := range map[string]string{
		"one byte more": ping(limit+1) + "\n",
		"without end":   strings.Repeat("x", limit+2),
	} {
		t.Run(name, func(t *testing.T) {
			c := hello(t, s, "bob")
			if err := c.say(text); err != nil {
				t.Fatal(err)
			}
			c.expect(`{"op":"error","code":"too_large"}`)
			(&plainClient{peer: c.peer, t: t}).closed()
		})
	}
}

func TestRoomsOfASessionAreLimited(t *testing.T) {
	t.Parallel()
	c := hello(t, serve(t), "ada")
	for i := range 64 {
		c.want(fmt.Sprintf(`{"op":"join","room":"r%d"}`, i), `{"op":"joined"}`)
	}
	c.want(`{"op":"join","room":"one-more"}`, `{"op":"error","code":"conflict"}`)
	c.want(`{"op":"leave","room":"r7"}`, `{"op":"left"}`)
	c.want(`{"op":"join","room":"one-more"}`, `{"op":"joined"}`)
	c.want(`{"op":"members","room":"r7"}`, `{"op":"members","count":0}`)
	for i := range 64 { // all of them are alive
		room := fmt.Sprintf("r%d", i)
		if i != 7 {
			c.publish(room, room)
			c.expect(`{"op":"message","room":%q}`, room)
		}
	}
}

// Ten thousand sends without waiting are all stored and acknowledged, in the order sent.
func TestPipelinedSends(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := hello(t, s, "ada"), hello(t, s, "bob")
	bob.want(`{"op":"join","room":"r"}`, `{"op":"joined"}`)
	const n = 10_000
	var g errgroup.Group
	g.Go(func() error {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `{"op":"send","room":"r","id":"p-%d","body":"%d","ref":%d}`+"\n", i, i, i)
		}
		return ada.say(b.String())
	})
	seqs := make([]uint64, n)
	g.Go(func() error {
		for i := range n {
			f, err := ada.speaker.next()
			if err != nil {
				return err
			}
			if f.Op != "ack" || string(f.Ref) != fmt.Sprint(i) || (i > 0 && f.Seq <= seqs[i-1]) {
				return fmt.Errorf("answer %d is %s", i, f.raw)
			}
			seqs[i] = f.Seq
		}
		return nil
	})
	var got []uint64
	g.Go(func() error {
		for i := range n {
			f, err := bob.speaker.next()
			if err != nil {
				return err
			}
			if f.text() != fmt.Sprint(i) || (i > 0 && f.Prev != got[i-1]) {
				return fmt.Errorf("message %d is %s", i, f.raw)
			}
			got = append(got, f.Seq)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range seqs {
		if seqs[i] != got[i] {
			t.Fatalf("message %d was acknowledged with seq %d and came with %d", i, seqs[i], got[i])
		}
	}
}

// A client that sends without end and reads no answer is not read any more, and costs little.
func TestClientThatReadsNoAcks(t *testing.T) {
	s := newServer(t, nil, lean)
	s.start()
	other := hello(t, s, "bob")
	other.want(`{"op":"join","room":"r"}`, `{"op":"joined"}`)
	mute := hello(t, s, "ada")
	_, before := s.process.memory(t)
	op := `{"op":"send","room":"mute","body":"x","ref":"` + strings.Repeat("r", 1000) + `"}` + "\n" // for long answers
	block := []byte(strings.Repeat(op, 100))
	sent, blocked := 0, false
	for !blocked && sent < 128<<20 {
		_ = mute.SetWriteDeadline(time.Now().Add(2 * time.Second))
		n, err := mute.Write(block)
		sent += n
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			blocked = n == 0
			block = append(block[n%len(block):], block[:n%len(block)]...)
		case err != nil:
			t.Fatal(err)
		}
	}
	if !blocked {
		t.Errorf("the server has taken %d MB of a client that reads nothing", sent>>20)
	}
	other.publish("r", "others go on")
	other.expect(`{"op":"message","body":"others go on"}`)
	_, after := s.process.memory(t)
	if grown := (after - before) >> 20; grown > 100 {
		t.Errorf("the server has grown by %d MB", grown)
	}
	t.Logf("it was read up to %d KB; the server has grown by %d MB", sent>>10, (after-before)>>20)

	// When it reads again, it goes on where it was.
	for i := range 2000 {
		f, err := mute.speaker.next()
		if err != nil || f.Op != "ack" {
			t.Fatalf("answer %d: %+v %v", i, f, err)
		}
	}
}
