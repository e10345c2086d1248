package e2e_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// entry is a message as it stands in frames and pages.
type entry struct {
	Room string          `json:"room"`
	Seq  uint64          `json:"seq"`
	Prev uint64          `json:"prev"`
	ID   string          `json:"id"`
	From string          `json:"from"`
	At   string          `json:"at"`
	Type string          `json:"type"`
	Body json.RawMessage `json:"body"`
}

// text gives the body of a text message.
func (e *entry) text() string {
	var s string
	if err := json.Unmarshal(e.Body, &s); err != nil {
		return string(e.Body)
	}
	return s
}

// frame is what a server sends: all fields of all frames.
type frame struct {
	Op  string          `json:"op"`
	Ref json.RawMessage `json:"ref"`
	entry
	After     uint64  `json:"after"`
	Next      uint64  `json:"next"`
	Duplicate bool    `json:"duplicate"`
	Messages  []entry `json:"messages"`
	More      bool    `json:"more"`
	User      string  `json:"user"`
	Code      string  `json:"code"`
	Message   string  `json:"message"`
	RetryMS   int64   `json:"retry_ms"`

	raw string
}

// speaker is a client of JSON lines. One goroutine may read while another writes.
type speaker struct {
	*peer
	welcome *frame
}

// speak connects, says hello and reads until the welcome that answers it.
func speak(addr, name string) (*speaker, error) {
	p, err := reach(addr)
	if err != nil {
		return nil, err
	}
	s := &speaker{peer: p}
	if err := s.hello(name); err != nil {
		p.hangUp()
		return nil, err
	}
	return s, nil
}

func (s *speaker) hello(name string) error {
	ref := strconv.Quote(rand.Text())
	if err := s.say(fmt.Sprintf(`{"op":"hello","name":%q,"ref":%s}`+"\n", name, ref)); err != nil {
		return err
	}
	for {
		line, err := s.readLine()
		if err != nil {
			return fmt.Errorf("waiting for the welcome: %w", err)
		}
		var f frame
		if json.Unmarshal([]byte(line), &f) == nil && f.Op == "welcome" && string(f.Ref) == ref {
			f.raw = line
			s.welcome = &f
			return nil
		}
	}
}

// next waits for a frame.
func (s *speaker) next() (*frame, error) {
	line, err := s.readLine()
	if err != nil {
		return nil, err
	}
	f := &frame{raw: line}
	if err := json.Unmarshal([]byte(line), f); err != nil {
		return nil, fmt.Errorf("%.200q is no frame: %w", line, err)
	}
	return f, nil
}

// jsonClient is a speaker in a test. What it meets that must not be ends the test.
type jsonClient struct {
	*speaker
	t     testing.TB
	refs  int
	early []*frame // came while an answer was waited for
}

// hello connects a JSON client.
func hello(t testing.TB, s *server, name string) *jsonClient {
	t.Helper()
	sp, err := speak(s.address(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sp.hangUp)
	return &jsonClient{speaker: sp, t: t}
}

// within is the client as part of a subtest.
func (c *jsonClient) within(t testing.TB) *jsonClient {
	same := *c
	same.t = t
	return &same
}

// send writes an operation.
func (c *jsonClient) send(format string, args ...any) {
	c.t.Helper()
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	if err := c.say(format + "\n"); err != nil {
		c.t.Fatal(err)
	}
}

// next waits for the next frame.
func (c *jsonClient) next() *frame {
	c.t.Helper()
	if len(c.early) > 0 {
		f := c.early[0]
		c.early = c.early[1:]
		return f
	}
	f, err := c.speaker.next()
	if err != nil {
		c.t.Fatalf("waiting for a frame: %v", err)
	}
	return f
}

// ask sends an operation, given without its ref, and waits for its answer. Other frames that come
// meanwhile stay for next.
func (c *jsonClient) ask(format string, args ...any) *frame {
	c.t.Helper()
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	c.refs++
	ref := fmt.Sprintf(`"ask-%d"`, c.refs)
	c.send("%s", strings.TrimSuffix(format, "}")+`,"ref":`+ref+`}`)
	for {
		f, err := c.speaker.next()
		if err != nil {
			c.t.Fatalf("waiting for the answer to %.200s: %v", format, err)
		}
		if string(f.Ref) == ref {
			return f
		}
		c.early = append(c.early, f)
	}
}

// want asks and compares the answer with want, see [frame.like].
func (c *jsonClient) want(op, want string) *frame {
	c.t.Helper()
	f := c.ask("%s", op)
	if err := f.like(want); err != nil {
		c.t.Fatalf("%.200s: %v", op, err)
	}
	return f
}

// expect waits for a frame like want.
func (c *jsonClient) expect(want string, args ...any) *frame {
	c.t.Helper()
	if len(args) > 0 {
		want = fmt.Sprintf(want, args...)
	}
	f := c.next()
	if err := f.like(want); err != nil {
		c.t.Fatal(err)
	}
	return f
}

// publish sends a text message and gives its seq.
func (c *jsonClient) publish(room, body string) uint64 {
	c.t.Helper()
	f := c.ask(`{"op":"send","room":%q,"body":%q}`, room, body)
	if f.Op != "ack" {
		c.t.Fatalf("a send to %s was answered with %s", room, f.raw)
	}
	return f.Seq
}

// like says how a frame differs from a JSON object: what stands there, at any depth, must stand in
// the frame, equal. An error must have a sentence too.
func (f *frame) like(want string) error {
	w, err := decode(want)
	if err != nil {
		return err
	}
	g, err := decode(f.raw)
	if err != nil {
		return err
	}
	if path := missing(w, g); path != "" {
		return fmt.Errorf("got %.400s, want %s in it: %s differs", f.raw, want, path)
	}
	if f.Op == "error" && f.Message == "" {
		return fmt.Errorf("%s: an error without a sentence", f.raw)
	}
	return nil
}

// decode reads a JSON object; numbers count as they are written.
func decode(text string) (v map[string]any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%.400s: %w", text, err)
	}
	return v, nil
}

// missing names the first part of want that is not in got; "" where all of it is.
func missing(want, got map[string]any) string {
	for key, w := range want {
		g, ok := got[key]
		wo, isObject := w.(map[string]any)
		switch gotObject, both := g.(map[string]any); {
		case isObject && both:
			if path := missing(wo, gotObject); path != "" {
				return key + "." + path
			}
		case !ok || !reflect.DeepEqual(w, g):
			return key
		}
	}
	return ""
}
