package wire_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/wire"
)

func TestBareBodiesAreShownAsTheyWereSent(t *testing.T) {
	for name, c := range map[string]struct {
		typ        parley.Type
		body, want string
	}{
		"text":                     {parley.Text, "Hello from the client!", "Hello from the client!"},
		"a line end inside":        {parley.Text, "a\nb\n", `a\nb\n`},
		"a carriage return inside": {parley.Text, "a\rb", "a\rb"},
		"an escape sequence":       {parley.Text, "\x1b[31mred", "\x1b[31mred"},
		"bytes":                    {parley.Binary, "\x00\xff\xfe\x80", "\x00\xff\xfe\x80"},
		"bytes with a line end":    {parley.Binary, "\xff\n", "\xff" + `\n`},
		"json":                     {parley.JSON, `{"b":1,"a":"x\n"}`, `{"b":1,"a":"x\n"}`},
	} {
		t.Run(name, func(t *testing.T) {
			m := sample()
			m.Type, m.Body = c.typ, []byte(c.body)
			if diff := cmp.Diff(c.want+"\n", string(wire.TextBare{}.Message(nil, m))); diff != "" {
				t.Errorf("wrong line (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamedBodiesCannotDisturbATerminal(t *testing.T) {
	for name, c := range map[string]struct{ from, body, want string }{
		"text":                             {"ada", "hi", "ada: hi"},
		"letters and signs of any script":  {"Zoë", "漢字 😀 👩\u200d🚀 e\u0301", "Zoë: 漢字 😀 👩\u200d🚀 e\u0301"},
		"a line end":                       {"ada", "a\nb", `ada: a\nb`},
		"a carriage return":                {"ada", "a\rb", `ada: a\rb`},
		"a tab":                            {"ada", "a\tb", `ada: a\tb`},
		"a backslash is not doubled":       {"ada", `a\nb`, `ada: a\nb`},
		"an escape sequence":               {"ada", "\x1b]0;title\x07", `ada: \x1b]0;title\a`},
		"NUL and DEL":                      {"ada", "\x00\x7f", `ada: \x00\x7f`},
		"C1 control":                       {"ada", "\u009b31m", `ada: \u009b31m`},
		"bytes that are no UTF-8":          {"ada", "\xff\x9b31m", `ada: \xff\x9b31m`},
		"bidi override":                    {"ada", "a\u202eb\u202c", `ada: a\u202eb\u202c`},
		"bidi isolate and marks":           {"ada", "\u2066\u2069\u200e\u200f\u061c", `ada: \u2066\u2069\u200e\u200f\u061c`},
		"line and paragraph separators":    {"ada", "\u2028\u2029", `ada: \u2028\u2029`},
		"a name with an escape sequence":   {"a\x1b[2J", "hi", `a\x1b[2J: hi`},
		"a name that looks like an answer": {"* error", "hi", `\* error: hi`},
	} {
		t.Run(name, func(t *testing.T) {
			m := sample()
			m.From, m.Body = c.from, []byte(c.body)
			if diff := cmp.Diff(c.want+"\n", string(wire.TextNamed{}.Message(nil, m))); diff != "" {
				t.Errorf("wrong line (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswersInText(t *testing.T) {
	var enc wire.Encoding = wire.TextBare{}
	ref := []byte("1")
	page := parley.Page{More: true, Messages: []*parley.Message{sample()}}
	slow := parley.Errorf(parley.RateLimited, "slow down\x1b")
	slow.Retry = time.Second
	for want, got := range map[string][]byte{
		"* you are ada\n":  enc.Welcome(nil, ref, wire.Welcome{User: "ada"}),
		"* joined lobby\n": enc.Joined(nil, ref, "lobby", 812),
		"* gap: messages of lobby after 100 are gone; going on at 181\n": enc.Gap(nil, "lobby", 100, 181),
		"* 813 ada: hi\n* 1 message of lobby, and there are more\n":      enc.Page(nil, ref, "lobby", page),
		"* 0 messages of lobby\n":                                        enc.Page(nil, ref, "lobby", parley.Page{}),
		"* 2 in lobby: ada, bob\n":                                       enc.Members(nil, ref, "lobby", []string{"ada", "bob"}, 2),
		"* 3 in lobby: ada and 2 more\n":                                 enc.Members(nil, ref, "lobby", []string{"ada"}, 3),
		"* lobby: 3 here, 812 messages\n* and there are more rooms\n":    enc.Rooms(nil, ref, []wire.RoomEntry{{Room: "lobby", Messages: 812, Members: 3}}, true),
		"* that is all\n":                                                enc.Rooms(nil, ref, nil, false),
		"* revoked\n":                                                    enc.Revoked(nil, ref),
		"* unavailable: too few nodes\n":                                 enc.Status(nil, wire.Status{Message: "too few nodes"}),
		"* available: all \\x1b well\n":                                  enc.Status(nil, wire.Status{Available: true, Message: "all \x1b well"}),
		"* draining\n":                                                   enc.Draining(nil, ref),
		"* pong\n":                                                       enc.Pong(nil, ref),
		"* rate_limited: slow down\\x1b\n":                               enc.Error(nil, ref, slow),
		"* a line of the server's\n":                                     wire.TextNamed{}.Answer(nil, "a line of the server's"),
	} {
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("wrong answer (-want +got):\n%s", diff)
		}
	}
	if got := enc.Ack(enc.Left(nil, ref, "lobby"), ref, "lobby", parley.Receipt{Seq: 1}); len(got) != 0 {
		t.Errorf("acks and goodbyes are not shown, but this was: %q", got)
	}
	for _, line := range wire.HelpText {
		if strings.ContainsAny(line, "\n\r\x1b") {
			t.Errorf("help is in lines: %q", line)
		}
	}
}

func TestCommands(t *testing.T) {
	seq := func(n uint64) *uint64 { return &n }
	for line, want := range map[string]wire.Op{
		"/help":            {Kind: wire.Help},
		"/quit":            {Kind: wire.Quit},
		"/who":             {Kind: wire.Members},
		"/who  ":           {Kind: wire.Members},
		"/join ops":        {Kind: wire.Join, Room: "ops"},
		"/join\tops":       {Kind: wire.Join, Room: "ops"},
		"/join   ops  ":    {Kind: wire.Join, Room: "ops"},
		"/join gro\u0308ß": {Kind: wire.Join, Room: "größ"},
		"/nick ada":        {Kind: wire.Hello, Name: "ada"},
		"/nick Ada L.":     {Kind: wire.Hello, Name: "Ada L."},
		"/history":         {Kind: wire.History, Limit: 20},
		"/history 1000":    {Kind: wire.History, Limit: 1000},
		"/since 0":         {Kind: wire.History, Limit: 1000, After: seq(0)},
		"/since 813\r":     {Kind: wire.History, Limit: 1000, After: seq(813)},
	} {
		op, err := wire.ParseLine(line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if diff := cmp.Diff(want, op); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
	for _, line := range []string{
		"/", "/HELP", "/dance", "/joinops", "/join", "/join a b", "/join a..b", "/nick", "/nick \x1b[2J", "/nick \xff",
		"/history 0", "/history 1001", "/history x", "/history -1", "/since", "/since x", "/since -1",
		"/since 9223372036854775808", "/" + strings.Repeat("x", 1000), "/\xff\x1b",
	} {
		_, err := wire.ParseLine(line)
		if err == nil {
			t.Errorf("%q is taken", line)
			continue
		}
		wantCode(t, err, parley.BadRequest)
		shown := string(wire.TextBare{}.Error(nil, nil, parley.AsError(err)))
		if len(shown) > 1000 || !utf8.ValidString(shown) || strings.ContainsAny(shown[:len(shown)-1], "\n\x1b") {
			t.Errorf("%q is answered with %q", line, shown)
		}
	}
}

func TestTextShowsNeitherPresenceNorSignals(t *testing.T) {
	for _, enc := range []wire.Encoding{wire.TextBare{}, wire.TextNamed{}} {
		got := enc.Presence([]byte("x"), "lobby", wire.Presence{Joined: []string{"bob"}, Count: 2})
		if got = enc.Signal(got, "lobby", "ada", []byte("1")); string(got) != "x" {
			t.Errorf("%T shows %q", enc, got)
		}
	}
}
