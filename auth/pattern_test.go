package auth_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"parley"
	"parley/auth"
)

func TestPatternsMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern string
		yes     string // rooms, with spaces between
		no      string
	}{
		{"lobby", "lobby", "lobb lobbyx Lobby lobby.a a.lobby"},
		{"ops.deploys", "ops.deploys", "ops ops.deploy ops.deploys.eu opsxdeploys"},
		{"*", "lobby a é", "a.b a.b.c"},
		{"**", "a a.b a.b.c", ""},
		{"ops.*", "ops.a ops.b", "ops ops.a.b opsx.a a.ops"},
		{"ops.**", "ops.a ops.a.b", "ops opsx opsx.a a.ops.b"},
		{"*.ops", "a.ops", "ops a.b a.ops.b a.b.ops"},
		{"a.*.c", "a.b.c a.x.c", "a.c a.b.b.c a.b.c.d a.b"},
		{"*.*", "a.b", "a a.b.c"},
		{"*.**", "a.b a.b.c", "a"},
		{"a.*.**", "a.b.c a.b.c.d", "a a.b b.b.c"},
		{"*.b.**", "a.b.c a.b.c.d", "a.b a.c.d"},
		{"cafe\u0301.*", "café.a", "cafe.a"},
	} {
		p, err := auth.ParsePattern(c.pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		for room := range strings.FieldsSeq(c.yes) {
			if !p.Match(room) {
				t.Errorf("%s does not match %s", p, room)
			}
		}
		for _, room := range append(strings.Fields(c.no), "") {
			if p.Match(room) {
				t.Errorf("%s matches %q", p, room)
			}
		}
	}
	if (auth.Pattern{}).Match("") || (auth.Pattern{}).Match("lobby") {
		t.Error("the zero pattern matches")
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	matched := false
	for _, text := range []string{"ops.eu.deploys", "ops.**", "*.eu.*", "*.*.**"} {
		p, err := auth.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { matched = p.Match("ops.eu.deploys") }); n != 0 || !matched {
			t.Errorf("%s: %v allocations, %v", p, n, matched)
		}
	}
}

func TestPatternsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", ".", "a.", ".a", "a..b", "***", "a*", "*a", "**a", "a.**.b", "**.a", "**.**", "a b", "a/b", ">", "$JS.>",
		"a.\u0301b", "a\u200db", "a\x00", "\xff", strings.Repeat("a", parley.MaxRoomName+1),
		strings.Repeat("*.", 64) + "*", strings.Repeat("a", 10_000), "a?", "[a]", "!a",
	} {
		if p, err := auth.ParsePattern(bad); err == nil {
			t.Errorf("%q is %v", bad, p)
		}
	}
	if _, err := auth.ParsePattern(strings.Repeat("é", parley.MaxRoomName)); err != nil {
		t.Error(err)
	}
}

// A room's name is a pattern of itself alone.
func TestNamesAreTheirOwnPatterns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := roomName(t, "a"), roomName(t, "b")
		p, err := auth.ParsePattern(a)
		if err != nil {
			t.Fatal(err)
		}
		if !p.Match(a) || p.Match(b) != (a == b) {
			t.Fatalf("%s matches %s: %v, and %s: %v", p, a, p.Match(a), b, p.Match(b))
		}
	})
}

// Patterns mean what the regular expression does that is written of them.
func TestPatternsAsRegularExpressions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 0, 4).Draw(t, "parts")
		if len(parts) == 0 || rapid.Bool().Draw(t, "rest") {
			parts = append(parts, "**")
		}
		text := strings.Join(parts, ".")
		p, err := auth.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		re := strings.NewReplacer(".", `\.`, "**", `.+`, "*", `[^.]+`).Replace(text)
		room := roomName(t, "room")
		if want := regexp.MustCompile("^" + re + "$").MatchString(room); p.Match(room) != want {
			t.Fatalf("%s matches %s: %v", p, room, !want)
		}
		again, err := auth.ParsePattern(p.String())
		if err != nil || again != p {
			t.Fatalf("%v is read again as %v, %v", p, again, err)
		}
	})
}

func roomName(t *rapid.T, label string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "é", "a-_1"}), 1, 5).Draw(t, label), ".")
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"lobby", "ops.*", "ops.**", "**", "*.a.**", "a..b", "cafe\u0301.*", "a*", "\xff", strings.Repeat("*.", 70)} {
		f.Add(s, "ops.a")
	}
	f.Fuzz(func(t *testing.T, s, room string) {
		p, err := auth.ParsePattern(s)
		if err != nil {
			if p != (auth.Pattern{}) {
				t.Errorf("%q: an error, and %v", s, p)
			}
			if len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
				t.Errorf("an error that repeats too much: %q", err)
			}
			return
		}
		if again, err := auth.ParsePattern(p.String()); err != nil || again != p {
			t.Errorf("%q: read again %v, %v", s, again, err)
		}
		name, err := parley.ParseRoom(room)
		if err != nil {
			return
		}
		wild := strings.Contains(p.String(), "*")
		if got := p.Match(name); !wild && got != (name == p.String()) || p.String() == "**" && !got {
			t.Errorf("%v matches %q: %v", p, name, got)
		}
	})
}
