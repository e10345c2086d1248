package parley_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"parley"
)

// The rooms of an intersection are those of both, for any two patterns.
func TestPatternsIntersect(t *testing.T) {
	t.Parallel()
	part := rapid.SampledFrom([]string{"a", "b", "*"})
	pattern := func(t *rapid.T, label string) parley.Pattern {
		parts := rapid.SliceOfN(part, 0, 3).Draw(t, label)
		if len(parts) == 0 || rapid.Bool().Draw(t, label+" ends open") {
			parts = append(parts, "**")
		}
		p, err := parley.ParsePattern(strings.Join(parts, "."))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var rooms []string
	for _, a := range []string{"a", "b", "c"} {
		rooms = append(rooms, a)
		for _, b := range []string{"a", "b", "c"} {
			rooms = append(rooms, a+"."+b, a+"."+b+".a", a+"."+b+".b", a+"."+b+".a.b", a+"."+b+".c.a.b")
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p, q := pattern(t, "p"), pattern(t, "q")
		both, ok := p.Intersect(q)
		if again, same := q.Intersect(p); again != both || same != ok {
			t.Fatalf("%s and %s: %q one way, %q the other", p, q, both, again)
		}
		if ok {
			if parsed, err := parley.ParsePattern(both.String()); err != nil || parsed != both {
				t.Fatalf("%s and %s: %q is no pattern: %v", p, q, both, err)
			}
		}
		for _, room := range rooms {
			if want := p.Match(room) && q.Match(room); ok && both.Match(room) != want || !ok && want {
				t.Fatalf("%s and %s are %q, %v: wrong for %s", p, q, both, ok, room)
			}
		}
	})
}

func TestPositionsAsText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := parley.Position(rapid.SliceOfN(rapid.Uint64Max(1<<63-1), 1, 300).Draw(t, "position"))
		got, err := parley.ParsePosition(p.String())
		if err != nil || !got.Covers(p) || !p.Covers(got) || len(got) != len(p) {
			t.Fatalf("%v came back as %v, %v", p, got, err)
		}
	})
	for _, bad := range []string{"", "=", "&", "gA", "____________", strings.Repeat("A", 1<<20)} {
		if p, err := parley.ParsePosition(bad); err == nil {
			t.Errorf("%.20q is taken, as %v", bad, p)
		}
	}
}
