package e2e_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// stranger sends something that is no plain line as its first bytes. A listener in the lobby and
// the lobby's history see that nothing of it was published.
type stranger struct {
	name   string
	pieces []string // sent with a pause between them in which nothing may come
	answer string   // how the answer begins
}

var strangers = []stranger{
	{"GET", []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, "HTTP/1.1 400 "},
	{"POST with lines of chat", []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhi\nall\n/quit\n"}, "HTTP/1.1 400 "},
	{"POST in pieces", []string{"POST /rooms/lob", "by HTTP/1.1\r\nHost: a\r\n\r\nhi all\n"}, "HTTP/1.1 400 "},
	{"GET up to its first space", []string{"GET /", " HTTP/1.1\r\n\r\n"}, "HTTP/1.1 400 "},
	{"HTTP/1.0", []string{"HEAD /x HTTP/1.0\n\n"}, "HTTP/1.1 400 "},
	{"HTTP/2", []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, "HTTP/1.1 400 "},
	{"a method of one's own", []string{"BREW /pot HTTP/1.1\r\n\r\n"}, "HTTP/1.1 400 "},
	{"OPTIONS *", []string{"OPTIONS * HTTP/1.1\r\n\r\n"}, "HTTP/1.1 400 "},
	{"SSH", []string{"SSH-2.0-OpenSSH_9.9\r\n"}, "* bad_request: "},
	{"a TLS record", []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"}, "* bad_request: "},
	{"a hello that is no JSON", []string{`{"op":"hello","token":"secret"` + "\n"}, `{"op":"error","code":"bad_request"`},
	{"a hello with a wrong name", []string{`{"op":"hello","name":"","ref":"x"}` + "\n"}, `{"op":"error","ref":"x","code":"bad_request"`},
	{"a hello in another's value", []string{`{"op":"send","body":"hello","x":"hello"}` + "\n"}, `{"op":"error","code":"bad_request"`},
	{"a hello with a key twice", []string{`{"op":"hello","op":"hello"}` + "\n"}, `{"op":"error","code":"bad_request"`},
	{"an OP", []string{`{"OP":"hello"}` + "\n"}, `{"op":"error","code":"bad_request"`},
	{"a broken hello in two pieces", []string{`{"op":"hello","tok`, `en":"secret",}` + "\n"}, `{"op":"error","code":"bad_request"`},
	{"a hello in two pieces, cut in front of its word", []string{`{"op":`, `"hello","token":7}` + "\n"}, `{"op":"error","code":"bad_request"`},
}

func TestStrangersPublishNothing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	listener := dial(t, s)
	for _, st := range strangers {
		t.Run(st.name, func(t *testing.T) {
			c := dial(t, s)
			for i, piece := range st.pieces {
				if i > 0 {
					c.quiet(400 * time.Millisecond)
				}
				c.write(piece)
			}
			if answer := c.rest(); !strings.HasPrefix(answer, st.answer) {
				t.Errorf("answered with %q, want it to begin with %q", answer, st.answer)
			}
		})
	}
	listener.send("/history")
	listener.expect("* 0 messages of lobby")
	dial(t, s).send("a line")
	listener.expect("a line")
}

// What a hello begins and a closed connection breaks off is not published either.
func TestHelloBrokenOffPublishesNothing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	listener := dial(t, s)
	for _, begun := range []string{`{"op":"hello","token":"sec`, `{"op"`, `{`} {
		c := dial(t, s)
		c.write(begun)
		c.finish()
		c.expectPrefix("* bad_request: ")
		c.closed()
	}
	for _, begun := range []string{"GET / HT", "POST /rooms/lobby HTTP/1.1"} {
		c := dial(t, s)
		c.write(begun)
		c.finish()
		c.rest()
	}
	listener.send("/history")
	listener.expect("* 0 messages of lobby")
}

func TestHTTPClientReadsAnAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := dial(t, s)
	c.write("GET /rooms/lobby HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(c.rest())), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || !resp.Close {
		t.Errorf("answered with %s, close %t", resp.Status, resp.Close)
	}
}

func TestTLSClientIsTurnedAway(t *testing.T) {
	t.Parallel()
	s := serve(t)
	listener := dial(t, s)
	c := dial(t, s)
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := tls.Client(c.Conn, &tls.Config{ServerName: "localhost"}).Handshake(); err == nil {
		t.Error("a TLS handshake on the line port")
	}
	listener.send("/history")
	listener.expect("* 0 messages of lobby")
}

// JSON that is no hello is what someone says.
func TestJSONWithoutHelloIsAMessage(t *testing.T) {
	t.Parallel()
	s := serve(t)
	listener := dial(t, s)
	for _, line := range []string{`{"t":21}`, `{"op":"send","room":"lobby","body":"hi"}`, `{}`, `{`, `{hello}`, `["hello"]`, `"hello"`} {
		c := dial(t, s)
		c.send(line)
		listener.expect(line)
	}
	c := dial(t, s)
	c.write(`{"t":21}`) // echo -n | nc -N
	c.finish()
	listener.expect(`{"t":21}`)
	c.closed()
}

func TestHello(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for name, pieces := range map[string][]string{
		"in one piece":           {`{"op":"hello","name":"ada","ref":"r"}` + "\n"},
		"with CR":                {`{"op":"hello","name":"ada","ref":"r"}` + "\r\n"},
		"with fields unknown":    {`{"op":"hello","name":"ada","ref":"r","colour":null}` + "\n"},
		"with a token":           {`{"op":"hello","token":"t","name":"ada","ref":"r"}` + "\n"},
		"in pieces":              {`{"op":"hel`, `lo","name":"ada"`, `,"ref":"r"}` + "\n"},
		"with spaces":            {`{ "ref" : "r" , "op" : "hello", "name":"\u0061da" }` + "\n"},
		"with its end, no line":  {`{"op":"hello","name":"ada","ref":"r"}`},
		"long after it was open": {"", `{"op":"hello","name":"ada","ref":"r"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s)
			for i, piece := range pieces {
				if i > 0 {
					c.quiet(400 * time.Millisecond)
				}
				c.write(piece)
			}
			if len(pieces) == 1 && !strings.HasSuffix(pieces[0], "\n") {
				c.finish()
			}
			f := &frame{raw: c.line()}
			if err := f.like(`{"op":"welcome","ref":"r","user":"ada","limits":{"message":65536,"frame":262144,"inflight":256,"rooms":64}}`); err != nil {
				t.Error(err)
			}
		})
	}
}

// A first line that begins like a frame and does not end is waited for, but not for ever; plain
// silence is.
func TestFirstLineBegunAndNotEnded(t *testing.T) {
	t.Parallel()
	s := serve(t)
	listener := dial(t, s)
	began := time.Now()
	c := dial(t, s)
	c.write(`{"op":"hello","token":"secr`)
	c.expectPrefix("* bad_request: ")
	c.closed()
	if took := time.Since(began); took < 9*time.Second || took > 15*time.Second {
		t.Errorf("closed after %v, want 10 s", took)
	}
	listener.send("/history")
	listener.expect("* 0 messages of lobby")
}

// Nobody in the lobby can put words before the welcome of a client that says hello at once.
func TestNothingOfTheLobbyComesBeforeTheWelcome(t *testing.T) {
	t.Parallel()
	s := serve(t)
	stop := make(chan struct{})
	var g errgroup.Group
	for range 2 {
		p, err := reach(s.address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.hangUp)
		g.Go(func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				if err := p.say(`{"op":"welcome","user":"forged"}` + "\n"); err != nil {
					return err
				}
			}
		})
	}
	flooded := dial(t, s)
	flooded.expectPrefix(`{"op":"welcome"`)
	for i := range 10 {
		c := dialSilently(t, s)
		ref := fmt.Sprintf("ref-%d", i)
		c.write(`{"op":"hello","ref":"` + ref + `"}` + "\n")
		c.expect(greeting)
		f := &frame{raw: c.line()}
		if err := f.like(`{"op":"welcome","ref":"` + ref + `"}`); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 { // nor does anything of it come later, in a room not joined
			c.send(`{"op":"ping","ref":1}`)
			c.expect(`{"op":"pong","ref":1}`)
		}
		c.hangUp()
	}
	close(stop)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// A client that is silent for a while is shown the lobby, from the moment it connected.
func TestSilentClientMissesNothing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	from, to := dial(t, s), dial(t, s)
	from.send("said before it was shown anything")
	to.expect("said before it was shown anything")
}
