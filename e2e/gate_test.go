package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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
	frame  string   // on JSON transports, without op and room; "-" = not there
	method string   // over HTTP; "" = GET
	path   string   // over HTTP, behind the room; "" = not there
	rights []string // in the room
	many   bool     // it can be asked for in a pattern of rooms

	passed []string // codes of refusals that come from behind the gate
	undo   string   // what takes it back, without room
}

var (
	ofJobs    = []string{"not_found", "conflict"}
	noAnswers = []string{"no_responders", "timeout"}
)

var gateOps = []gateOp{
	{name: "join", path: "/events", rights: []string{"join"}, many: true, undo: `{"op":"leave"`},
	{name: "join", frame: `,"after":0`, path: "/events?after=0", rights: []string{"join", "history"}, many: true, undo: `{"op":"leave"`},
	{name: "join", frame: `,"last":5`, path: "/events?last=5", rights: []string{"join", "history"}, undo: `{"op":"leave"`},
	{name: "join", frame: `,"since":"1h"`, path: "/events?since=1h", rights: []string{"join", "history"}, many: true, undo: `{"op":"leave"`},
	{name: "join", frame: `,"presence":true`, path: "/events?presence=true", rights: []string{"join", "members"}, undo: `{"op":"leave"`},
	{name: "join", frame: `,"reader":"r"`, path: "/events?reader=r", rights: []string{"join", "history"}, undo: `{"op":"leave"`},
	{name: "send", method: "POST", path: "?priority=1", rights: []string{"send"}},
	{name: "history", path: "?limit=5", rights: []string{"history"}},
	{name: "history", frame: `,"after":0`, path: "?after=0", rights: []string{"history"}},
	{name: "members", path: "/members", rights: []string{"members"}},
	{name: "signal", frame: `,"body":1`, rights: []string{"signal"}, passed: []string{"not_found"}},
	{name: "take", frame: `,"group":"g"`, rights: []string{"work"}, undo: `{"op":"stop","group":"g"`},
	{name: "take", frame: "-", method: "POST", path: "/take?group=g&wait=0s&deadline=100ms", rights: []string{"work"}},
	{name: "done", frame: `,"job":"g.1.1"`, method: "POST", path: "/jobs/g.1.1/done", rights: []string{"work"}, passed: ofJobs},
	{name: "done", frame: `,"reader":"r","seq":1`, method: "POST", path: "/readers/r/done?seq=1", rights: []string{"join", "history"}},
	{name: "retry", frame: `,"job":"g.1.1"`, method: "POST", path: "/jobs/g.1.1/retry", rights: []string{"work"}, passed: ofJobs},
	{name: "fail", frame: `,"job":"g.1.1"`, method: "POST", path: "/jobs/g.1.1/fail", rights: []string{"work"}, passed: ofJobs},
	{name: "busy", frame: `,"job":"g.1.1"`, method: "POST", path: "/jobs/g.1.1/busy", rights: []string{"work"}, passed: ofJobs},
	{name: "release", frame: `,"job":"g.1.1"`, method: "POST", path: "/jobs/g.1.1/release", rights: []string{"work"}, passed: ofJobs},
	{name: "retry", frame: `,"letter":1`, method: "POST", path: "/letters/1/retry", rights: []string{"work"}, passed: ofJobs},
	{name: "ask", frame: `,"body":"?","timeout":"10ms"`, method: "POST", path: "/ask?timeout=10ms", rights: []string{"ask"}, passed: noAnswers},
	{name: "serve", rights: []string{"work"}, undo: `{"op":"stop"`},
	{name: "answer", frame: `,"question":"4f.1","body":"!"`, rights: []string{"work"}, passed: []string{"not_found"}},
	{name: "groups", path: "/groups", rights: []string{"work"}},
	{name: "readers", path: "/readers", rights: []string{"history"}},
	{name: "remove", frame: `,"group":"g"`, method: "DELETE", path: "/groups/g", rights: []string{"moderate"}, passed: ofJobs},
	{name: "remove", frame: `,"reader":"r"`, method: "DELETE", path: "/readers/r", rights: []string{"moderate"}, passed: ofJobs},
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

// What concerns the whole server takes the right admin for every room, wherever one comes by.
func TestTheServerIsForAdmins(t *testing.T) {
	t.Parallel()
	s := guarded(t, gateConfig, lean)
	s.start()
	for name, open := range map[string]func(*testing.T, *server, principal) way{"tcp": jsonWay, "websocket": socketWay} {
		for _, p := range gatePrincipals(t) {
			f := open(t, s, p).(*frames)
			for op, may := range map[string]bool{
				`{"op":"hooks"}`:                               p.administers(),
				`{"op":"revoke","user":"nobody"}`:              p.administers(),
				`{"op":"revoke","user":"nobody","lift":true}`:  p.administers(),
				`{"op":"ping"}`:                                true,
				`{"op":"stop","room":"lobby","group":"never"}`: true,
				`{"op":"leave","room":"lobby"}`:                true,
			} {
				code := f.code
				if code == "" {
					code = f.ask(op).Code
				}
				done := code == "" || code == "not_found"
				if want := may && !p.barred; done != want || !done && code != "denied" && code != "unauthorized" {
					t.Errorf("%s of %s by %s: %q", op, p.name, name, code)
				}
			}
		}
	}
	for _, p := range gatePrincipals(t) {
		code, _ := webWay(t, s, p).(*web).do(http.MethodGet, "/hooks", "")
		if done := code == ""; done != (p.administers() && !p.barred) || !done && code != "denied" && code != "unauthorized" {
			t.Errorf("hooks of %s by http: %q", p.name, code)
		}
	}
}

// administers says whether somebody has admin for every room.
func (p *principal) administers() bool {
	return slices.ContainsFunc(p.grants, func(g grant) bool { return g.Rooms == "**" && slices.Contains(g.May, "admin") })
}
