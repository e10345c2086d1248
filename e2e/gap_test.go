package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// Where retention has removed what is asked for, the server says so.
func TestGap(t *testing.T) {
	t.Parallel()
	s := serve(t, "--retain-messages", "10")
	ada := hello(t, s, "ada")
	r := &filledRoom{name: "r"}
	r.fill(ada, 30)
	last := r.seqs[29]
	tests := map[string]struct {
		start string
		gap   uint64 // after which position; 0 = none
		from  int
	}{
		"after one that is gone":         {fmt.Sprintf(`,"after":%d`, r.seqs[2]), r.seqs[2], 20},
		"after 1":                        {`,"after":1`, 1, 20},
		"after the one before the first": {fmt.Sprintf(`,"after":%d`, r.seqs[18]), r.seqs[18], 20},
		"after one that is there":        {fmt.Sprintf(`,"after":%d`, r.seqs[20]), 0, 21},
		"after 0":                        {`,"after":0`, 0, 20},
		"last 5":                         {`,"last":5`, 0, 25},
		"last 100":                       {`,"last":100`, 0, 20},
		"since":                          {`,"since":"1h"`, 0, 20},
		"live":                           {``, 0, 30},
	}
	for _, restarted := range []bool{false, true} {
		if restarted {
			s.kill()
			s.start()
		}
		for name, tt := range tests {
			t.Run(fmt.Sprintf("%s, restarted=%t", name, restarted), func(t *testing.T) {
				c := hello(t, s, "bob")
				c.want(`{"op":"join","room":"r"`+tt.start+`}`, fmt.Sprintf(`{"op":"joined","seq":%d}`, last))
				if tt.gap > 0 {
					c.expect(`{"op":"gap","room":"r","after":%d,"next":%d}`, tt.gap, r.seqs[tt.from])
				}
				for i := tt.from; i < 30; i++ {
					f := c.expect(`{"op":"message","seq":%d}`, r.seqs[i])
					if i > tt.from && f.Prev != r.seqs[i-1] {
						t.Errorf("prev of %d is %d, want %d", f.Seq, f.Prev, r.seqs[i-1])
					}
				}
				c.want(`{"op":"ping"}`, `{"op":"pong"}`)
				if len(c.early) > 0 {
					t.Errorf("and then came %s", c.early[0].raw)
				}
			})
		}
	}
	ada = hello(t, s, "ada")
	page := ada.want(`{"op":"history","room":"r","limit":100}`, `{"op":"page","more":false}`)
	if len(page.Messages) != 10 || page.Messages[0].Seq != r.seqs[20] {
		t.Errorf("%d messages are left, the first %d", len(page.Messages), page.Messages[0].Seq)
	}
	plain := dial(t, s)
	plain.send("/join r")
	plain.expect("* joined r")
	plain.send("/since 1")
	for i := 20; i < 30; i++ {
		plain.expectPrefix(fmt.Sprintf("* %d ada: ", r.seqs[i]))
	}
	plain.expect("* 10 messages of r")
}

// A reader that retention overtakes in mid-stream is told from where to where it misses messages,
// and nothing else is missing.
func TestGapInMidStream(t *testing.T) {
	t.Parallel()
	s := serve(t, "--retain-messages", "50")
	slow := hello(t, s, "slow")
	slow.want(`{"op":"join","room":"r"}`, `{"op":"joined","seq":0}`)
	ada := hello(t, s, "ada")
	const n = 900 // of 48 KiB: more than the system keeps for a connection
	body := strings.Repeat("x", 48<<10)
	seqs := make([]uint64, 0, n)
	for i := range n {
		ada.send(`{"op":"send","room":"r","body":%q}`, body)
		if i >= 64 {
			seqs = append(seqs, ada.expect(`{"op":"ack"}`).Seq)
		}
	}
	for range 64 {
		seqs = append(seqs, ada.expect(`{"op":"ack"}`).Seq)
	}
	r := &filledRoom{name: "r", seqs: seqs}
	seen, gaps := uint64(0), 0
	for seen < seqs[n-1] {
		switch f := slow.next(); f.Op {
		case "gap":
			next := f.Next
			if f.After != seen || next <= seen || r.behind(next) == r.behind(next-1) {
				t.Fatalf("behind seq %d came %s", seen, f.raw)
			}
			gaps++
			// The first message behind it is the one it names.
			m := slow.expect(`{"op":"message","seq":%d}`, next)
			seen = m.Seq
		case "message":
			if f.Prev != seen {
				t.Fatalf("behind seq %d came %d with prev %d and no gap", seen, f.Seq, f.Prev)
			}
			seen = f.Seq
		default:
			t.Fatal(f.raw)
		}
	}
	if gaps == 0 {
		t.Errorf("a reader %d messages behind in a room that keeps 50 got no gap", n)
	}
}
