package e2e_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Every operation of every transport, asked for by principals of many kinds, in rooms with odd names:
// what is granted is done, and nothing else is.

// grant is what a token says somebody may do.
type grant struct {
	Rooms string   `json:"rooms"`
	May   []string `json:"may"`
}

const gateSecret = "0123456789abcdef0123456789abcdef"

// sign makes a token (RFC 7519) by hand.
func sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	text := part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(gateSecret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// tokenFor makes a token that is good for an hour.
func tokenFor(t testing.TB, user string, grants []grant) string {
	return sign(t, map[string]any{
		"iss": "https://id.example", "aud": "parley", "sub": user,
		"exp": time.Now().Add(time.Hour).Unix(), "parley": grants,
	})
}

// gateConfig is a server with an open lobby beside private rooms.
const gateConfig = `
auth:
  issuer: https://id.example
  audience: parley
  keys:
    - {alg: HS256, secret_file: hs.key}
anonymous:
  - {rooms: lobby, may: [join, send, history, members]}
revoked: {users: [mallory], keys: []}
`

// guarded makes a server with a configuration and the key that sign uses, not started.
func guarded(t testing.TB, config string, options ...option) *server {
	t.Helper()
	s := newServer(t, nil, options...)
	for name, text := range map[string]string{"parley.yml": config, "hs.key": gateSecret + "\n"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

var everyRight = []string{"join", "history", "send", "members", "signal", "work", "ask", "moderate", "admin"}

// principal is who asks in a cell.
type principal struct {
	name   string
	token  string // "" = shows none
	grants []grant
	barred bool // the token is no good: nothing at all is done
}

func gatePrincipals(t *testing.T) []principal {
	holders := map[string][]grant{
		"nothing":     {},
		"joiner":      {{"lobby", []string{"join"}}},
		"ops":         {{"ops.*", []string{"join", "send"}}},
		"ops-deep":    {{"ops.**", everyRight}},
		"reader":      {{"**", []string{"history"}}},
		"talker":      {{"*", []string{"send", "join"}}},
		"watcher":     {{"*.a", []string{"members", "join"}}},
		"split":       {{"ops.*", []string{"join"}}, {"*.a", []string{"history"}}, {"lobby", []string{"signal"}}},
		"accent":      {{"é", []string{"join", "send", "history", "members", "signal"}}},
		"listener":    {{"**", []string{"join"}}},
		"signaller":   {{"**", []string{"signal"}}},
		"ops-admin":   {{"ops.**", []string{"admin"}}},
		"admin-alone": {{"**", []string{"admin"}}},
		"everything":  {{"**", everyRight}},
	}
	list := []principal{{name: "anonymous", grants: []grant{{"lobby", []string{"join", "send", "history", "members"}}}}}
	for _, name := range slices.Sorted(maps.Keys(holders)) {
		list = append(list, principal{name: name, token: tokenFor(t, name, holders[name]), grants: holders[name]})
	}
	good := map[string]any{
		"iss": "https://id.example", "aud": "parley", "sub": "eve", "exp": time.Now().Add(time.Hour).Unix(),
		"parley": []grant{{"**", everyRight}},
	}
	with := func(key string, value any) string {
		claims := maps.Clone(good)
		claims[key] = value
		return sign(t, claims)
	}
	forged := with("sub", "eve")
	return append(list,
		principal{name: "revoked", token: with("sub", "mallory"), barred: true},
		principal{name: "expired", token: with("exp", time.Now().Add(-time.Hour).Unix()), barred: true},
		principal{name: "elsewhere", token: with("aud", "other"), barred: true},
		principal{name: "forged", token: forged[:len(forged)-4] + "AAAA", barred: true},
	)
}

// allows is the oracle: written from the words of the documents, not from the code.
func (p *principal) allows(room string, rights ...string) bool {
	for _, right := range rights {
		if !slices.ContainsFunc(p.grants, func(g grant) bool {
			return slices.Contains(g.May, right) && fits(g.Rooms, room)
		}) {
			return false
		}
	}
	return true
}

// allowsSome is the oracle for a pattern: there must be a room that it stands for.
func (p *principal) allowsSome(pattern string, rights ...string) bool {
	for _, room := range oddRooms {
		if room != "" && fits(pattern, room) && p.allows(room, rights...) {
			return true
		}
	}
	return false
}

// fits says whether a pattern stands for a room.
func fits(pattern, room string) bool {
	var re strings.Builder
	for i, part := range strings.Split(pattern, ".") {
		if i > 0 {
			re.WriteString(`\.`)
		}
		switch part {
		case "**":
			re.WriteString(`.+`)
		case "*":
			re.WriteString(`[^.]+`)
		default:
			re.WriteString(regexp.QuoteMeta(part))
		}
	}
	return regexp.MustCompile(`^(?s:` + re.String() + `)$`).MatchString(room)
}

// oddRooms are names as clients write them, and the rooms they mean: "" = none. Of what some operations take
// for a pattern there is a room that every grant has in common with it, if there is any.
var oddRooms = map[string]string{
	"lobby": "lobby", "Lobby": "Lobby", "lobby.a": "lobby.a", "ops": "ops", "ops.a": "ops.a", "ops.a.b": "ops.a.b",
	"opsx.a": "opsx.a", "x.a": "x.a", "é": "é", "e\u0301": "é", "_INBOX.x": "_INBOX.x", "-": "-",
	strings.Repeat("n", 128): strings.Repeat("n", 128),

	"": "", ".": "", "..": "", "a..b": "", "*": "", ">": "", "ops.*": "", "**": "", "ops.": "", ".ops": "", " ops": "", "ops.a ": "",
	"$revoked": "", "$JS.API": "", "ops\u202e": "", "../lobby": "", "ops/a": "", "lobby%2e": "", "lobby\x00": "", "lobby\t": "",
	"lobby?after=0": "", strings.Repeat("n", 1024): "",
}

// gateOp is an operation with the rights it takes.
type gateOp struct {
	name   string
	frame  string   // on JSON transports, without op and room
	path   string   // over HTTP, behind the room; "" = not there
	rights []string // in the room
	many   bool     // it can be asked for in a pattern of rooms

	passed []string // codes of refusals that come from behind the gate
	undo   string   // what takes it back, without room
}

var gateOps = []gateOp{
	{name: "join", path: "/events", rights: []string{"join"}, many: true, undo: `{"op":"leave"`},
	{name: "join", frame: `,"after":0`, path: "/events?after=0", rights: []string{"join", "history"}, many: true, undo: `{"op":"leave"`},
	{name: "join", frame: `,"last":5`, path: "/events?last=5", rights: []string{"join", "history"}, undo: `{"op":"leave"`},
	{name: "join", frame: `,"since":"1h"`, path: "/events?since=1h", rights: []string{"join", "history"}, many: true, undo: `{"op":"leave"`},
	{name: "join", frame: `,"presence":true`, path: "/events?presence=true", rights: []string{"join", "members"}, undo: `{"op":"leave"`},
	{name: "join", frame: `,"reader":"r"`, rights: []string{"join", "history"}, undo: `{"op":"leave"`},
	{name: "send", path: "/", rights: []string{"send"}},
	{name: "history", path: "?limit=5", rights: []string{"history"}},
	{name: "history", frame: `,"after":0`, path: "?after=0", rights: []string{"history"}},
	{name: "members", path: "/members", rights: []string{"members"}},
	{name: "signal", frame: `,"body":1`, rights: []string{"signal"}, passed: []string{"not_found"}},
	{name: "take", frame: `,"group":"g"`, rights: []string{"work"}, undo: `{"op":"stop","group":"g"`},
	{name: "done", frame: `,"job":"g.1.1"`, rights: []string{"work"}, passed: []string{"not_found", "conflict"}},
	{name: "retry", frame: `,"job":"g.1.1"`, rights: []string{"work"}, passed: []string{"not_found", "conflict"}},
	{name: "fail", frame: `,"job":"g.1.1"`, rights: []string{"work"}, passed: []string{"not_found", "conflict"}},
	{name: "busy", frame: `,"job":"g.1.1"`, rights: []string{"work"}, passed: []string{"not_found", "conflict"}},
	{name: "ask", frame: `,"body":"?","timeout":"10ms"`, rights: []string{"ask"}, passed: []string{"no_responders", "timeout"}},
	{name: "answer", frame: `,"question":"4f.1","body":"!"`, rights: []string{"work"}, passed: []string{"not_found"}},
}

// way is a transport, as one principal uses it.
type way interface {
	// try asks for an operation. It gives "" when it was done, else the code of the refusal; false where the
	// way has no such operation.
	try(op gateOp, room, body string) (code string, there bool)
}

func TestNothingPassesTheGate(t *testing.T) {
	t.Parallel()
	s := guarded(t, gateConfig, lean)
	s.start()
	ways := map[string]func(*testing.T, *server, principal) way{
		"tcp": jsonWay, "websocket": socketWay, "plain": plainWay, "http": webWay,
	}
	var cells, granted int
	var mu sync.Mutex
	stored := make(map[string][]string) // bodies by room
	t.Run("cells", func(t *testing.T) {
		for name, open := range ways {
			for _, p := range gatePrincipals(t) {
				t.Run(name+"/"+p.name, func(t *testing.T) {
					t.Parallel()
					w := open(t, s, p)
					for _, op := range gateOps {
						for written, room := range oddRooms {
							may := room != "" && p.allows(room, op.rights...)
							if op.many && strings.Contains(written, "*") {
								room, may = written, p.allowsSome(written, op.rights...)
							}
							may = may && !p.barred
							body := strings.Join([]string{name, p.name, op.name, room}, "/")
							code, there := w.try(op, written, body)
							if !there {
								continue
							}
							if why := verdict(p, room, may, code); why != "" {
								t.Errorf("%s%s in %.40q: got %q, want %s", op.name, op.frame, written, code, why)
							}
							mu.Lock()
							cells++
							if may {
								granted++
							}
							if may && op.name == "send" {
								stored[room] = append(stored[room], body)
							}
							mu.Unlock()
						}
					}
				})
			}
		}
	})
	t.Logf("%d cells, %d of them granted", cells, granted)
	if cells < 5000 {
		t.Errorf("only %d cells were tried", cells)
	}
	all := webWay(t, s, principal{token: tokenFor(t, "auditor", []grant{{"**", []string{"history"}}})}).(*web)
	for _, room := range slices.Compact(slices.Sorted(maps.Values(oddRooms))) {
		if room == "" {
			continue
		}
		want := slices.Compact(slices.Sorted(slices.Values(stored[room])))
		if got := all.bodies(room); !slices.Equal(got, want) {
			t.Errorf("%.40s holds what was not granted, or lacks what was:\n got %q\nwant %q", room, got, want)
		}
	}
}

// verdict says what a cell should have given; "" where it has.
func verdict(p principal, room string, may bool, code string) string {
	switch {
	case may && code != "":
		return "it done"
	case may:
		return ""
	case room == "" && p.barred && code == "unauthorized":
		return ""
	case room == "" && code != "bad_request" && code != "not_found" && code != "too_large":
		return "bad_request"
	case p.barred && room != "" && code != "unauthorized":
		return "unauthorized"
	case room != "" && code != "denied" && code != "unauthorized":
		return "denied"
	}
	return ""
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

func (f *frames) ask(op string) *frame {
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
		var got frame
		if json.Unmarshal([]byte(text), &got) == nil && string(got.Ref) == ref {
			return &got
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
	if op.name == "take" && len(room) > 100 && len(room) <= 128 {
		return "", false // a group has no place in so long a name
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
	if op.path == "" || op.frame != "" && op.name != "history" {
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
	if op.path == "" || room == "" || strings.Trim(room, ".") == "" {
		return "", false // there is no such path
	}
	path := "/rooms/" + url.PathEscape(room)
	if op.name == "send" {
		code, _ := w.do(http.MethodPost, path, body)
		return code, true
	}
	code, _ := w.do(http.MethodGet, path+op.path, "")
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

// A list of rooms shows those that one may join or read, and no other.
func TestListsShowWhatIsGranted(t *testing.T) {
	t.Parallel()
	s := guarded(t, gateConfig, lean)
	s.start()
	admin := webWay(t, s, principal{token: tokenFor(t, "root", []grant{{"**", everyRight}})}).(*web)
	for _, room := range []string{"lobby", "ops.a", "ops.b", "secret"} {
		if code, _ := admin.do(http.MethodPost, "/rooms/"+room, "hi"); code != "" {
			t.Fatal(code)
		}
	}
	for name, tt := range map[string]struct {
		grants []grant
		want   []string
	}{
		"all":     {[]grant{{"**", []string{"join"}}}, []string{"lobby", "ops.a", "ops.b", "secret"}},
		"some":    {[]grant{{"ops.*", []string{"history"}}, {"lobby", []string{"join"}}}, []string{"lobby", "ops.a", "ops.b"}},
		"senders": {[]grant{{"**", []string{"send"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := webWay(t, s, principal{token: tokenFor(t, "ada", tt.grants)}).(*web)
			_, answer := w.do(http.MethodGet, "/rooms", "")
			var list struct{ Rooms []struct{ Room string } }
			if err := json.Unmarshal(answer, &list); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range list.Rooms {
				got = append(got, r.Room)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
