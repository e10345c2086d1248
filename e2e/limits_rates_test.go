package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// limited makes a server with limits that this machine's own clients are held to, with tokens as sign makes
// them, and open to anybody without.
func limited(t *testing.T, limits string) *server {
	t.Helper()
	config := strings.Replace(gateConfig, "anonymous:", "anonymous:\n  - {rooms: \"**\", may: [join, send, history, members, signal]}", 1)
	s := guarded(t, config+"limits:\n  loopback: true\n"+limits)
	s.start()
	return s
}

// operator is a client that speaks operations, by whatever transport.
type operator struct {
	t    *testing.T
	say  func(op string) error
	read func() (string, error)
}

func operatorTCP(t *testing.T, s *server, token string) *operator {
	c, err := reach(s.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.hangUp)
	return (&operator{t: t, read: c.readLine, say: func(op string) error { return c.say(op + "\n") }}).hello(token)
}

func operatorWS(t *testing.T, s *server, token string) *operator {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	c, _, err := websocket.Dial(ctx, "ws://"+s.webAddress()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(1 << 20)
	o := &operator{t: t}
	o.say = func(op string) error { return c.Write(ctx, websocket.MessageText, []byte(op)) }
	o.read = func() (string, error) {
		_, data, err := c.Read(ctx)
		return string(data), err
	}
	return o.hello(token)
}

func (o *operator) hello(token string) *operator {
	o.t.Helper()
	op := `{"op":"hello","name":"ada","ref":"h"}`
	if token != "" {
		op = fmt.Sprintf(`{"op":"hello","token":%q,"ref":"h"}`, token)
	}
	if err := o.say(op); err != nil {
		o.t.Fatal(err)
	}
	o.answer(`"h"`)
	return o
}

// answer waits for the frame that has a ref.
func (o *operator) answer(ref string) *frame {
	o.t.Helper()
	return o.answered(func(f *frame) bool { return string(f.Ref) == ref })
}

// answered waits for a frame.
func (o *operator) answered(is func(*frame) bool) *frame {
	o.t.Helper()
	for {
		text, err := o.read()
		if err != nil {
			o.t.Fatalf("waiting for an answer: %v", err)
		}
		if f := (&frame{raw: text}); json.Unmarshal([]byte(text), f) == nil && is(f) {
			return f
		}
	}
}

// ask carries out an operation, whose text ends before the ref.
func (o *operator) ask(op string) *frame {
	o.t.Helper()
	if err := o.say(op + `,"ref":"a"}`); err != nil {
		o.t.Fatal(err)
	}
	return o.answer(`"a"`)
}

// times carries out an operation again and again, without waiting, and counts how many were refused, which
// must be with this code. %d in it is another number each time.
func (o *operator) times(n int, op, code string) (refused int) {
	o.t.Helper()
	for i := range n {
		if err := o.say(strings.ReplaceAll(op, "%d", strconv.Itoa(i)) + fmt.Sprintf(`,"ref":%d}`, i)); err != nil {
			o.t.Fatal(err)
		}
	}
	for range n { // acks wait for the disk, refusals do not
		f := o.answered(func(f *frame) bool { _, err := strconv.Atoi(string(f.Ref)); return err == nil })
		if f.Op != "error" {
			continue
		}
		if refused++; f.Code != code || (f.RetryMS > 0) != (code == "rate_limited") {
			o.t.Fatalf("refused with %s", f.raw)
		}
	}
	return refused
}

// request makes a request on a connection of its own.
func request(t *testing.T, s *server, method, path, token, body string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.webAddress()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// refusedOverHTTP counts requests that are refused, and checks how.
func refusedOverHTTP(t *testing.T, s *server, n int, method, path, token, body, code string) (refused int) {
	t.Helper()
	for i := range n {
		resp, text := request(t, s, method, strings.ReplaceAll(path, "%d", strconv.Itoa(i)), token, body)
		if resp.StatusCode < 400 {
			continue
		}
		refused++
		want := map[string]int{"rate_limited": 429, "conflict": 409}[code]
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != want || !strings.Contains(text, `"code":"`+code+`"`) || (err == nil && seconds > 0) != (want == 429) {
			t.Fatalf("refused with %d, Retry-After %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), text)
		}
	}
	return refused
}

// counted reads how often a limit was met.
func counted(t *testing.T, s *server, limit string) int {
	t.Helper()
	admin := tokenFor(t, "root", []grant{{"**", everyRight}})
	_, text := request(t, s, http.MethodGet, "/metrics", admin, "")
	found := regexp.MustCompile(`(?m)^parley_limited_total\{limit="` + limit + `"\} (\d+)$`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("there is no counter of %s", limit)
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// Each rate, on each transport that has the operation: what is beyond is refused, says when to come back
// and is counted, and the session goes on.
func TestRates(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limits, counter, code string
		op                    string
		method, path, body    string
	}{
		"sends": {
			"  sends_per_second: 1\n  sends_burst: 3\n", "sends", "rate_limited",
			`{"op":"send","room":"r","body":"x"`, http.MethodPost, "/rooms/r", "x",
		},
		"sends of a user": {
			"  user_sends_per_second: 1\n  user_sends_burst: 3\n", "user_sends", "rate_limited",
			`{"op":"send","room":"r","body":"x"`, http.MethodPost, "/rooms/r", "x",
		},
		"joins":   {"  joins_per_second: 1\n", "joins", "rate_limited", `{"op":"join","room":"r%d"`, "", "", ""},
		"history": {"  history_per_second: 1\n", "history", "rate_limited", `{"op":"history","room":"r"`, http.MethodGet, "/rooms/r", ""},
		"lists":   {"  history_per_second: 1\n", "history", "rate_limited", `{"op":"rooms"`, http.MethodGet, "/rooms", ""},
		"rooms of a user": {
			"  rooms_per_user: 3\n", "rooms_per_user", "conflict",
			`{"op":"send","room":"r%d","body":"x"`, http.MethodPost, "/rooms/r%d", "x",
		},
		"rooms in all": {
			"  rooms: 3\n", "rooms", "conflict",
			`{"op":"send","room":"r%d","body":"x"`, http.MethodPost, "/rooms/r%d", "x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 20
			ways := map[string]func(t *testing.T, s *server, token string) int{
				"tcp": func(t *testing.T, s *server, token string) int {
					return operatorTCP(t, s, token).times(n, tt.op, tt.code)
				},
				"ws": func(t *testing.T, s *server, token string) int {
					return operatorWS(t, s, token).times(n, tt.op, tt.code)
				},
			}
			if tt.path != "" {
				ways["http"] = func(t *testing.T, s *server, token string) int {
					return refusedOverHTTP(t, s, n, tt.method, tt.path, token, tt.body, tt.code)
				}
			}
			for way, refused := range ways {
				t.Run(way, func(t *testing.T) {
					s := limited(t, tt.limits)
					known(t, s)
					token := tokenFor(t, "ada", []grant{{"**", everyRight}})
					got := refused(t, s, token)
					if got == 0 || got == n {
						t.Errorf("%d of %d were refused", got, n)
					}
					if c := counted(t, s, tt.counter); c < got {
						t.Errorf("%d were refused and %d are counted", got, c)
					}
				})
			}
		})
	}
}

// known waits until the server knows its rooms, of which there are none: nobody is refused for them before.
func known(t *testing.T, s *server) {
	t.Helper()
	admin := tokenFor(t, "root", []grant{{"**", everyRight}})
	eventually(t, "the rooms are known", func() bool {
		_, text := request(t, s, http.MethodGet, "/metrics", admin, "")
		return regexp.MustCompile(`(?m)^parley_room_lists_total [1-9]`).MatchString(text)
	})
}

func TestRatesOfPlainLines(t *testing.T) {
	t.Parallel()
	s := limited(t, "  sends_per_second: 1\n  sends_burst: 3\n")
	c, other := dial(t, s), dial(t, s)
	other.here(2)
	for i := range 10 {
		c.send(fmt.Sprint("line ", i))
	}
	c.expectPrefix("* rate_limited: ")
	other.expect("line 0", "line 1", "line 2")
	other.send("others go on")
	for c.line() != "others go on" {
	}
}

// Beyond the connections of an address nobody is let in, whatever they want, and each is told so.
func TestConnectionsOfAnAddress(t *testing.T) {
	t.Parallel()
	s := limited(t, "  connections_per_address: 4\n")
	held := []*plainClient{dial(t, s), dial(t, s), dial(t, s), dial(t, s)}
	sixth := dialSilently(t, s)
	sixth.expectPrefix("* rate_limited: your address has 4 connections")
	sixth.closed()
	if n := refusedOverHTTP(t, s, 3, http.MethodGet, "/rooms/r", "", "", "rate_limited"); n != 3 {
		t.Errorf("%d of 3 requests were refused", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, resp, err := websocket.Dial(ctx, "ws://"+s.webAddress()+"/ws", nil); err == nil || resp == nil || resp.StatusCode != 429 {
		t.Errorf("a handshake: %v", err)
	}
	held[0].hangUp()
	eventually(t, "a place is free again", func() bool {
		c, err := reach(s.address())
		if err != nil {
			return false
		}
		defer c.hangUp()
		line, err := c.readLine()
		return err == nil && line == greeting
	})
	held[1].hangUp()
	held[2].hangUp()
	eventually(t, "HTTP is answered", func() bool {
		resp, _ := request(t, s, http.MethodGet, "/livez", "", "")
		return resp.StatusCode == http.StatusOK
	})
	if n := counted(t, s, "connections_per_address"); n < 5 {
		t.Errorf("%d are counted", n)
	}
}

// Streams and WebSocket connections count as long as they are open, also where HTTP has given them away.
func TestConnectionsGivenAwayCount(t *testing.T) {
	t.Parallel()
	s := limited(t, "  connections: 2\n")
	var open []func()
	for range 2 {
		c, err := net.Dial("tcp", s.webAddress())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, func() { _ = c.Close() })
		t.Cleanup(func() { _ = c.Close() })
		if _, err := fmt.Fprintf(c, "GET /rooms/lobby/events HTTP/1.1\r\nHost: %s\r\n\r\n", s.webAddress()); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 15)
		if _, err := io.ReadFull(c, head); err != nil || string(head) != "HTTP/1.1 200 OK" {
			t.Fatalf("%q, %v", head, err)
		}
	}
	resp, text := request(t, s, http.MethodGet, "/livez", "", "")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(text, `"unavailable"`) {
		t.Errorf("the third: %d %s", resp.StatusCode, text)
	}
	dialSilently(t, s).expectPrefix("* unavailable: ")
	open[0]()
	open[1]()
	eventually(t, "places are free again", func() bool {
		resp, _ := request(t, s, http.MethodGet, "/livez", "", "")
		return resp.StatusCode == http.StatusOK
	})
}

func TestConnectionsOfAUser(t *testing.T) {
	t.Parallel()
	s := limited(t, "  connections_per_user: 2\n")
	ada := tokenFor(t, "ada", []grant{{"**", everyRight}})
	operatorTCP(t, s, ada)
	operatorWS(t, s, ada)
	third := operatorTCP(t, s, "")
	if f := third.ask(fmt.Sprintf(`{"op":"hello","token":%q`, ada)); f.Code != "rate_limited" || f.RetryMS == 0 {
		t.Errorf("a third session: %s", f.raw)
	}
	operatorTCP(t, s, tokenFor(t, "bob", nil))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+s.webAddress()+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + ada}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	if _, data, err := c.Read(ctx); err != nil || !strings.Contains(string(data), `"rate_limited"`) {
		t.Errorf("a third session by its handshake: %s, %v", data, err)
	}
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("it ends with %v", err)
	}
	if n := refusedOverHTTP(t, s, 5, http.MethodPost, "/rooms/r", ada, "x", ""); n > 0 {
		t.Errorf("%d requests, which are no connections, were refused", n)
	}
}

func TestSlowMode(t *testing.T) {
	t.Parallel()
	s := limited(t, "  slow:\n    - {rooms: news.*, every: 1h}\n")
	member := []grant{{"**", []string{"join", "send", "history"}}}
	ada, mod := tokenFor(t, "ada", member), tokenFor(t, "mod", []grant{{"**", everyRight}})
	send := `{"op":"send","room":"news.eu","body":"x"`
	a := operatorTCP(t, s, ada)
	if f := a.ask(send); f.Op != "ack" {
		t.Fatal(f.raw)
	}
	for _, o := range []*operator{a, operatorWS(t, s, ada)} {
		if f := o.ask(send); f.Code != "rate_limited" || f.RetryMS < 1000 || !strings.Contains(f.Message, "slow mode") {
			t.Errorf("the second message: %s", f.raw)
		}
		if f := o.ask(`{"op":"send","room":"lobby","body":"x"`); f.Op != "ack" {
			t.Errorf("another room: %s", f.raw)
		}
	}
	if n := refusedOverHTTP(t, s, 1, http.MethodPost, "/rooms/news.eu", ada, "x", "rate_limited"); n != 1 {
		t.Error("HTTP is a way around slow mode")
	}
	if n := operatorWS(t, s, mod).times(5, send, ""); n != 0 {
		t.Errorf("a moderator was refused %d times", n)
	}
	if n := operatorTCP(t, s, "").times(5, send, "rate_limited"); n != 4 {
		t.Errorf("of 5 messages of who is nobody %d were refused", n)
	}
	if n := counted(t, s, "slow"); n < 7 {
		t.Errorf("%d are counted", n)
	}
}

// A session may ask for pages of any size, and gets them as large as there are; sizes and the times of a
// handshake are what was set.
func TestSizesAndTimes(t *testing.T) {
	t.Parallel()
	s := limited(t, "  page: 3\n  message: 100\n  frame: 1024\n  rooms_per_session: 2\n  handshake: 300ms\n")
	token := tokenFor(t, "ada", []grant{{"**", everyRight}})
	for _, o := range []*operator{operatorTCP(t, s, token), operatorWS(t, s, token)} {
		for range 3 {
			if f := o.ask(`{"op":"send","room":"r","body":"x"`); f.Op != "ack" {
				t.Fatal(f.raw)
			}
		}
		if f := o.ask(`{"op":"history","room":"r","after":0,"limit":1000`); len(f.Messages) != 3 {
			t.Errorf("a page: %s", f.raw)
		}
		if f := o.ask(`{"op":"send","room":"r","body":"` + strings.Repeat("x", 101) + `"`); f.Code != "too_large" {
			t.Errorf("a large body: %s", f.raw)
		}
		if n := o.times(3, `{"op":"join","room":"j%d"`, "conflict"); n != 1 {
			t.Errorf("%d of 3 joins were refused", n)
		}
	}
	if _, text := request(t, s, http.MethodGet, "/rooms/r?after=0&limit=1000", token, ""); strings.Count(text, `"seq"`) != 3 || !strings.Contains(text, `"more":true`) {
		t.Errorf("a page over HTTP: %s", text)
	}
	if resp, _ := request(t, s, http.MethodPost, "/rooms/r", token, strings.Repeat("x", 101)); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body over HTTP: %d", resp.StatusCode)
	}
	long := operatorTCP(t, s, token)
	if err := long.say(`{"op":"ping","x":"` + strings.Repeat("x", 2000) + `"}`); err != nil {
		t.Fatal(err)
	}
	if text, err := long.read(); err != nil || !strings.Contains(text, "too_large") {
		t.Errorf("a large frame: %s, %v", text, err)
	}
	half := dial(t, s)
	half.write(`{"op":"hello","na`)
	half.expectPrefix("* bad_request: ")
	half.closed()
	head, err := net.Dial("tcp", s.webAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = head.Close() }()
	if _, err := io.WriteString(head, "GET / HTTP/1.1\r\nHo"); err != nil {
		t.Fatal(err)
	}
	_ = head.SetReadDeadline(time.Now().Add(patience))
	if answer, err := io.ReadAll(head); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")) {
		t.Errorf("half a head: %.100q, %v", answer, err)
	}
	for _, limit := range []string{"page", "message", "frame", "rooms_per_session", "handshake"} {
		if counted(t, s, limit) == 0 {
			t.Errorf("%s is not counted", limit)
		}
	}
}

// Who guesses tokens is not looked at any more, for a while; who is there goes on.
func TestRefusedLogins(t *testing.T) {
	t.Parallel()
	s := limited(t, "  refused_logins_per_second: 1\n")
	good := tokenFor(t, "ada", []grant{{"**", everyRight}})
	there := operatorTCP(t, s, good)
	statuses := map[int]int{}
	for i := range 20 {
		resp, _ := request(t, s, http.MethodGet, "/rooms/r", good[:len(good)-8]+fmt.Sprintf("AAAA%04d", i), "")
		statuses[resp.StatusCode]++
	}
	if statuses[401] < 5 || statuses[429] == 0 || statuses[401]+statuses[429] != 20 {
		t.Errorf("twenty bad tokens: %v", statuses)
	}
	if f := there.ask(`{"op":"send","room":"r","body":"x"`); f.Op != "ack" {
		t.Errorf("who is there: %s", f.raw)
	}
	eventually(t, "a good token counts again", func() bool {
		resp, _ := request(t, s, http.MethodGet, "/rooms/r", good, "")
		return resp.StatusCode == http.StatusOK
	})
	if counted(t, s, "refused_logins") == 0 {
		t.Error("they are not counted")
	}
}

// A flood of operations that cost nothing else is read slower, and others are served meanwhile.
func TestOperationsBeyondTheRateAreReadSlower(t *testing.T) {
	t.Parallel()
	s := limited(t, "  operations_per_second: 20\n")
	flood := operatorTCP(t, s, tokenFor(t, "eve", nil))
	for i := range 150 { // 100 at once, then 20 a second
		if err := flood.say(fmt.Sprintf(`{"op":"ping","ref":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	other := operatorTCP(t, s, tokenFor(t, "ada", []grant{{"**", everyRight}}))
	if f := other.ask(`{"op":"send","room":"r","body":"x"`); f.Op != "ack" {
		t.Error(f.raw)
	}
	began := time.Now()
	flood.answer("149")
	if counted(t, s, "operations") == 0 {
		t.Errorf("nothing was held back; the last answer came after %v", time.Since(began))
	}
}
