package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// filledRoom is a room that a test has filled: the seqs of its messages, whose bodies are "ROOM INDEX".
type filledRoom struct {
	name string
	seqs []uint64
}

// fill stores n more messages, with some of other rooms between them so that seqs are not
// contiguous.
func (r *filledRoom) fill(c *jsonClient, n int) {
	c.t.Helper()
	for range n {
		i := len(r.seqs)
		for j := range i % 3 {
			c.publish(fmt.Sprintf("%s-other-%d", r.name, j), "between")
		}
		r.seqs = append(r.seqs, c.publish(r.name, fmt.Sprintf("%s %d", r.name, i)))
	}
}

// frame is how message i looks, without its op.
func (r *filledRoom) frame(i int) string {
	prev := uint64(0)
	if i > 0 {
		prev = r.seqs[i-1]
	}
	return fmt.Sprintf(`{"room":%q,"seq":%d,"prev":%d,"body":"%s %d"}`, r.name, r.seqs[i], prev, r.name, i)
}

// readBy waits until c has got the messages from..to, in order, with their prevs.
func (r *filledRoom) readBy(c *jsonClient, from, to int) {
	c.t.Helper()
	for i := from; i < to; i++ {
		f := c.expect("%s", r.frame(i))
		if f.Op != "message" {
			c.t.Fatal(f.raw)
		}
	}
}

// behind finds the first message behind a position.
func (r *filledRoom) behind(position uint64) int {
	for i, seq := range r.seqs {
		if seq > position {
			return i
		}
	}
	return len(r.seqs)
}

func TestJoinFromAnyPosition(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada := hello(t, s, "ada")
	r := &filledRoom{name: "r"}
	r.fill(ada, 30)
	n := func() int { return len(r.seqs) }
	began := time.Now().Add(-time.Minute)
	tests := map[string]func() (start string, from int){
		"live":              func() (string, int) { return ``, n() },
		"after 0":           func() (string, int) { return `,"after":0`, 0 },
		"after the first":   func() (string, int) { return fmt.Sprintf(`,"after":%d`, r.seqs[0]), 1 },
		"after some":        func() (string, int) { return fmt.Sprintf(`,"after":%d`, r.seqs[14]), 15 },
		"after the newest":  func() (string, int) { return fmt.Sprintf(`,"after":%d`, r.seqs[n()-1]), n() },
		"after another's":   func() (string, int) { return fmt.Sprintf(`,"after":%d`, r.seqs[14]+1), r.behind(r.seqs[14] + 1) },
		"last 1":            func() (string, int) { return `,"last":1`, n() - 1 },
		"last 10":           func() (string, int) { return `,"last":10`, n() - 10 },
		"last of too many":  func() (string, int) { return `,"last":1000000`, 0 },
		"since an hour":     func() (string, int) { return `,"since":"1h"`, 0 },
		"since a time":      func() (string, int) { return `,"since":"` + began.Format(time.RFC3339Nano) + `"`, 0 },
		"since a time, UTC": func() (string, int) { return `,"since":"` + began.UTC().Format(time.RFC3339) + `"`, 0 },
		"since what is ahead": func() (string, int) {
			return `,"since":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"`, n()
		},
	}
	// A server started again reads from its disk what this one has in memory.
	for _, restarted := range []bool{false, true} {
		if restarted {
			s.kill()
			s.start()
			ada = hello(t, s, "ada")
		}
		for name, tt := range tests {
			t.Run(fmt.Sprintf("%s, restarted=%t", name, restarted), func(t *testing.T) {
				bob := hello(t, s, "bob")
				start, from := tt()
				bob.want(`{"op":"join","room":"r"`+start+`}`, fmt.Sprintf(`{"op":"joined","room":"r","seq":%d}`, r.seqs[n()-1]))
				r.fill(ada.within(t), 1)
				r.readBy(bob, from, n())
			})
		}
	}
}

// A position beyond the newest message waits for the seqs behind it.
func TestJoinBeyondTheNewest(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := hello(t, s, "ada"), hello(t, s, "bob")
	seq := ada.publish("r", "0")
	bob.want(fmt.Sprintf(`{"op":"join","room":"r","after":%d}`, seq+2), fmt.Sprintf(`{"op":"joined","seq":%d}`, seq))
	for {
		last := ada.publish("r", "1")
		if last > seq+2 {
			bob.expect(`{"op":"message","seq":%d}`, last)
			return
		}
	}
}

// A session resumes where it was, in each of several rooms, and leaves and joins as it likes.
func TestResume(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := hello(t, s, "ada"), hello(t, s, "bob")
	a, b := &filledRoom{name: "a"}, &filledRoom{name: "b"}
	bob.want(`{"op":"join","room":"a"}`, `{"op":"joined","seq":0}`)
	bob.want(`{"op":"join","room":"b"}`, `{"op":"joined","seq":0}`)
	a.fill(ada, 5)
	a.readBy(bob, 0, 5)
	b.fill(ada, 5)
	b.readBy(bob, 0, 5)
	bob.hangUp()
	a.fill(ada, 7)
	b.fill(ada, 3)

	bob = hello(t, s, "bob")
	bob.want(fmt.Sprintf(`{"op":"join","room":"a","after":%d}`, a.seqs[4]), fmt.Sprintf(`{"op":"joined","seq":%d}`, a.seqs[11]))
	a.readBy(bob, 5, 12)
	bob.want(fmt.Sprintf(`{"op":"join","room":"b","after":%d}`, b.seqs[4]), `{"op":"joined"}`)
	b.readBy(bob, 5, 8)
	bob.want(`{"op":"leave","room":"a"}`, `{"op":"left"}`)
	a.fill(ada, 2)
	bob.want(fmt.Sprintf(`{"op":"join","room":"a","after":%d}`, a.seqs[11]), `{"op":"joined"}`)
	a.readBy(bob, 12, 14)
}

func TestHistoryPages(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada := hello(t, s, "ada")
	r := &filledRoom{name: "r"}
	r.fill(ada, 120)
	tests := map[string]struct {
		ask      string
		from, to int
		more     bool
	}{
		"the newest page":        {``, 70, 120, true},
		"limit":                  {`,"limit":7`, 113, 120, true},
		"all":                    {`,"limit":1000`, 0, 120, false},
		"exactly all":            {`,"limit":120`, 0, 120, false},
		"all but one":            {`,"limit":119`, 1, 120, true},
		"after 0":                {`,"after":0`, 0, 50, true},
		"after":                  {fmt.Sprintf(`,"after":%d,"limit":10`, r.seqs[9]), 10, 20, true},
		"after, to the end":      {fmt.Sprintf(`,"after":%d,"limit":10`, r.seqs[109]), 110, 120, false},
		"after, at the end":      {fmt.Sprintf(`,"after":%d`, r.seqs[119]), 120, 120, false},
		"after, beyond":          {`,"after":9007199254740991`, 120, 120, false},
		"after another's seq":    {fmt.Sprintf(`,"after":%d,"limit":1`, r.seqs[9]+1), r.behind(r.seqs[9] + 1), r.behind(r.seqs[9]+1) + 1, true},
		"before":                 {fmt.Sprintf(`,"before":%d,"limit":10`, r.seqs[110]), 100, 110, true},
		"before, to the start":   {fmt.Sprintf(`,"before":%d,"limit":10`, r.seqs[10]), 0, 10, false},
		"before, at the start":   {fmt.Sprintf(`,"before":%d`, r.seqs[0]), 0, 0, false},
		"before 0":               {`,"before":0`, 0, 0, false},
		"before, beyond":         {`,"before":9007199254740991,"limit":2`, 118, 120, true},
		"before, with few there": {fmt.Sprintf(`,"before":%d,"limit":10`, r.seqs[3]), 0, 3, false},
	}
	// Once from the disk, once with the room in memory, once after a crash.
	for _, state := range []string{"quiet", "joined", "restarted"} {
		switch state {
		case "joined":
			member := hello(t, s, "bob")
			member.want(`{"op":"join","room":"r"}`, `{"op":"joined"}`)
		case "restarted":
			s.kill()
			s.start()
		}
		for name, tt := range tests {
			t.Run(name+", "+state, func(t *testing.T) {
				c := hello(t, s, "eve")
				page := c.want(`{"op":"history","room":"r"`+tt.ask+`}`, fmt.Sprintf(`{"op":"page","room":"r","more":%t}`, tt.more))
				if got := len(page.Messages); got != tt.to-tt.from {
					t.Fatalf("got %d messages, want %d", got, tt.to-tt.from)
				}
				for i := range page.Messages {
					f := page.entryFrame(i)
					if err := f.like(r.frame(tt.from + i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// entryFrame gives a message of a page as a frame of its own.
func (f *frame) entryFrame(i int) *frame {
	var page struct {
		Messages []json.RawMessage `json:"messages"`
	}
	if err := json.Unmarshal([]byte(f.raw), &page); err != nil {
		return &frame{raw: err.Error()}
	}
	return &frame{raw: string(page.Messages[i])}
}

// Bodies of a page are bounded together; it then ends early and says that there is more.
func TestHistoryPageOfLargeBodies(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := hello(t, s, "ada")
	const n = 40
	body := strings.Repeat("0123456789abcdef", 60<<10/16)
	for range n {
		c.publish("big", body)
	}
	seen, after := 0, uint64(0)
	for more := true; more; {
		page := c.want(fmt.Sprintf(`{"op":"history","room":"big","after":%d,"limit":1000}`, after), `{"op":"page"}`)
		if len(page.raw) > 2<<20 || len(page.Messages) == 0 {
			t.Fatalf("a page of %d messages and %d bytes", len(page.Messages), len(page.raw))
		}
		for _, m := range page.Messages {
			if m.Prev != after {
				t.Fatalf("prev is %d, want %d", m.Prev, after)
			}
			after = m.Seq
			seen++
		}
		more = page.More
	}
	if seen != n {
		t.Errorf("read %d messages forwards, want %d", seen, n)
	}
	seen, before := 0, after+1
	for more := true; more; {
		page := c.want(fmt.Sprintf(`{"op":"history","room":"big","before":%d,"limit":1000}`, before), `{"op":"page"}`)
		if len(page.Messages) == 0 {
			t.Fatal("an empty page in the middle")
		}
		before, more = page.Messages[0].Seq, page.More
		seen += len(page.Messages)
	}
	if seen != n {
		t.Errorf("read %d messages backwards, want %d", seen, n)
	}
}
