package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// tooLong says whether a room's name has no place for the room of its dead letters.
func (op *gateOp) tooLong(room string) bool {
	return op.name == "take" && len(room) > 100 && len(room) <= 128
}

// frames is a way that speaks the JSON protocol.
type frames struct {
	t    *testing.T
	code string // why the session did not come about
	say  func(text string) error
	read func() (string, error)
	refs int
}

// open says hello.
func (f *frames) open(token string) way {
	hello := `{"op":"hello"}`
	if token != "" {
		hello = fmt.Sprintf(`{"op":"hello","token":%q}`, token)
	}
	if got := f.ask(hello); got.Op != "welcome" {
		f.code = got.Code
	}
	return f
}

func (f *frames) ask(op string) *frame { return f.askNoting(op, func(*frame) {}) }

// askNoting is ask; other is given what comes before the answer.
func (f *frames) askNoting(op string, other func(*frame)) *frame {
	f.t.Helper()
	f.refs++
	ref := fmt.Sprintf(`"g%d"`, f.refs)
	if err := f.say(strings.TrimSuffix(op, "}") + `,"ref":` + ref + "}"); err != nil {
		f.t.Fatal(err)
	}
	for {
		text, err := f.read()
		if err != nil {
			f.t.Fatalf("waiting for the answer to %.100s: %v", op, err)
		}
		got := new(frame)
		switch err := json.Unmarshal([]byte(text), got); {
		case err == nil && string(got.Ref) == ref:
			return got
		case err == nil:
			other(got)
		}
	}
}

func (f *frames) try(op gateOp, room, body string) (string, bool) {
	if f.code != "" {
		return f.code, true
	}
	name, err := json.Marshal(room)
	if err != nil {
		f.t.Fatal(err)
	}
	if op.frame == "-" || op.tooLong(room) {
		return "", false
	}
	rest := op.frame
	if op.name == "send" {
		rest = fmt.Sprintf(`,"body":%q`, body)
	}
	got := f.ask(fmt.Sprintf(`{"op":%q,"room":%s%s}`, op.name, name, rest))
	if slices.Contains(op.passed, got.Code) {
		return "", true
	}
	if op.undo != "" && got.Code == "" {
		if undone := f.ask(fmt.Sprintf(`%s,"room":%s}`, op.undo, name)); undone.Code != "" {
			f.t.Fatalf("taking %s in %s back: %s", op.name, name, undone.Code)
		}
	}
	return got.Code, true
}

func jsonWay(t *testing.T, s *server, p principal) way {
	c, err := reach(s.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.hangUp)
	f := &frames{t: t, read: c.readLine, say: func(text string) error { return c.say(text + "\n") }}
	return f.open(p.token)
}

var httpLine = regexp.MustCompile(`(?m)^http (\S+:\d+)$`)

// webAddress is where HTTP is served.
func (s *server) webAddress() string {
	s.t.Helper()
	found, err := s.process.stderr.wait(httpLine, s.process.done, patience)
	if err != nil {
		s.t.Fatal(err)
	}
	return found[1]
}

func socketWay(t *testing.T, s *server, p principal) way {
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	t.Cleanup(cancel)
	c, _, err := websocket.Dial(ctx, "ws://"+s.webAddress()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	f := &frames{t: t}
	f.say = func(text string) error { return c.Write(ctx, websocket.MessageText, []byte(text)) }
	f.read = func() (string, error) {
		_, data, err := c.Read(ctx)
		return string(data), err
	}
	return f.open(p.token)
}

// lines is a way that speaks plain lines.
type lines struct {
	*plainClient
	code string // why the session did not come about
}

func plainWay(t *testing.T, s *server, p principal) way {
	l := &lines{plainClient: dial(t, s)}
	if p.token != "" {
		l.code = l.answer("/auth " + p.token)
	}
	return l
}

// The help's first and last lines: what stands between a command and them is its answer.
const (
	helpBegins = "* a line you type "
	helpEnds   = "* /quit "
)

var refusal = regexp.MustCompile(`^\* (bad_request|unauthorized|denied|not_found|too_large|rate_limited|conflict)\b`)

// answer writes a line, and gives the code of the refusal that answers it.
func (l *lines) answer(line string) (code string) {
	l.t.Helper()
	if err := l.say(line + "\n/help\n"); err != nil {
		l.t.Fatal(err)
	}
	for asked := true; ; {
		got, err := l.readLine()
		if err != nil && code == "unauthorized" {
			return code // and hung up
		}
		if err != nil {
			l.t.Fatalf("waiting for the answer to %.100q: %v", line, err)
		}
		if strings.HasPrefix(got, helpBegins) {
			asked = false
		}
		if found := refusal.FindStringSubmatch(got); found != nil && asked {
			code = found[1]
		}
		if strings.HasPrefix(got, helpEnds) {
			return code
		}
	}
}

func (l *lines) try(op gateOp, room, body string) (string, bool) {
	if strings.ContainsAny(room, "\n\x00") || strings.TrimSpace(room) != room {
		return "", false // no line can say it
	}
	switch op.name {
	case "join", "send", "history", "members":
	default:
		return "", false // no line asks for it
	}
	if op.frame != "" && op.name != "history" {
		return "", false
	}
	if l.code != "" {
		return l.code, true
	}
	code := l.answer("/join " + room)
	if code == "conflict" { // it is there already
		code = ""
	}
	switch {
	case op.name == "join":
		return code, true
	case code != "":
		return "", false // from outside, a plain client cannot ask
	case op.name == "send":
		return l.answer(body), true
	case op.name == "history" && op.frame != "":
		return l.answer("/since 0"), true
	case op.name == "history":
		return l.answer("/history"), true
	default:
		return l.answer("/who"), true
	}
}

// web is a way that makes requests.
type web struct {
	t     *testing.T
	base  string
	token string
}

func webWay(t *testing.T, s *server, p principal) way {
	return &web{t: t, base: "http://" + s.webAddress(), token: p.token}
}

// do makes a request, and gives the code of the refusal. Of what is streamed it reads the head alone.
func (w *web) do(method, path, body string) (code string, answer []byte) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.base+path, strings.NewReader(body))
	if err != nil {
		return "bad_request", nil // it cannot be said
	}
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 300 {
		if resp.Header.Get("Content-Type") != "text/event-stream" {
			answer, err = io.ReadAll(resp.Body)
		}
	} else {
		var problem struct{ Code string }
		err = json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&problem)
		if code = problem.Code; code == "" && err == nil {
			code = resp.Status
		}
	}
	if err != nil {
		w.t.Fatalf("%s %s: %s, %v", method, path, resp.Status, err)
	}
	return code, answer
}

func (w *web) try(op gateOp, room, body string) (string, bool) {
	if op.path == "" || room == "" || strings.Trim(room, ".") == "" || op.tooLong(room) {
		return "", false // there is no such path
	}
	method := op.method
	if method == "" {
		method, body = http.MethodGet, ""
	}
	code, _ := w.do(method, "/rooms/"+url.PathEscape(room)+op.path, body)
	if slices.Contains(op.passed, code) {
		code = ""
	}
	return code, true
}

// bodies lists what a room holds, each once.
func (w *web) bodies(room string) []string {
	w.t.Helper()
	code, answer := w.do(http.MethodGet, "/rooms/"+url.PathEscape(room)+"?after=0&limit=1000", "")
	var page struct{ Messages []entry }
	if err := json.Unmarshal(answer, &page); code != "" || err != nil {
		w.t.Fatalf("the page of %.40s: %s, %v", room, code, err)
	}
	var list []string
	for _, m := range page.Messages {
		list = append(list, m.text())
	}
	slices.Sort(list)
	return slices.Compact(list)
}
