package auth_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"parley/auth"
)

func grants(t testing.TB, specs ...string) auth.Grants {
	t.Helper()
	gs := auth.Grants{}
	for _, spec := range specs {
		g, err := auth.ParseGrant(spec)
		if err != nil {
			t.Fatal(err)
		}
		gs = append(gs, g)
	}
	return gs
}

// show makes grants comparable by what they say.
func show(gs auth.Grants) string { return fmt.Sprint([]auth.Grant(gs)) }

func TestGrantsAddUp(t *testing.T) {
	t.Parallel()
	gs := grants(t, "join,history=ops.**", "send=ops.*", "admin=lobby", "members=*")
	for _, c := range []struct {
		may  string
		room string
		want bool
	}{
		{"join", "ops.a", true},
		{"join,send", "ops.a", true},
		{"join,history,send", "ops.a", true},
		{"join", "ops.a.b", true},
		{"join,send", "ops.a.b", false},
		{"send", "ops.a.b", false},
		{"join", "ops", false},
		{"members", "ops", true},
		{"admin", "lobby", true},
		{"admin,members", "lobby", true},
		{"admin,join", "lobby", false},
		{"moderate", "lobby", false},
		{"join", "opsx.a", false},
		{"join", "", false},
	} {
		may, err := auth.ParseRight(c.may)
		if err != nil {
			t.Fatal(err)
		}
		if got := gs.Allows(may, c.room); got != c.want {
			t.Errorf("%s in %q: %v", c.may, c.room, got)
		}
	}
	if gs.Allows(0, "lobby") || gs.Any(0) {
		t.Error("no right at all is allowed")
	}
	if !gs.Any(auth.Send|auth.Admin) || gs.Any(auth.Work) || gs.Any(auth.Send|auth.Work) {
		t.Error("Any does not say what is held somewhere")
	}
	if gs.Everywhere(auth.Join) || gs.Everywhere(0) {
		t.Error("rights in some rooms are rights everywhere")
	}
	if gs := append(grants(t, "join,history=**", "send=**"), gs...); !gs.Everywhere(auth.Join|auth.Send) || gs.Everywhere(auth.Join|auth.Admin) {
		t.Error("Everywhere does not say what ** grants")
	}
	if !auth.All().Everywhere(auth.Everything) || !auth.All().Allows(auth.Everything, "ops.a") {
		t.Error("All is not all")
	}
	var none auth.Grants
	if none.Allows(auth.Join, "lobby") || none.Any(auth.Join) || (auth.Grants{{}}).Allows(auth.Join, "lobby") {
		t.Error("nothing allows something")
	}
}

func TestRightsHaveNames(t *testing.T) {
	t.Parallel()
	const every = "join,history,send,members,signal,work,ask,moderate,admin"
	if got := auth.Everything.String(); got != every {
		t.Errorf("everything is %q", got)
	}
	r, err := auth.ParseRight(every)
	if err != nil || r != auth.Everything {
		t.Errorf("%v, %v", r, err)
	}
	if r, err := auth.ParseRight("send, join,send"); err != nil || r != auth.Join|auth.Send {
		t.Errorf("%v, %v", r, err)
	}
	for _, bad := range []string{"", "join,", ",join", "Join", "joi", "join send", "**", "right(1)"} {
		if r, err := auth.ParseRight(bad); err == nil {
			t.Errorf("%q is %v", bad, r)
		}
	}
	if _, err := auth.ParseRight("join,fly"); err == nil || !strings.Contains(err.Error(), `"fly"`) || !strings.Contains(err.Error(), "moderate") {
		t.Errorf("a right that there is not: %v", err)
	}
}

func TestGrantsInJSON(t *testing.T) {
	t.Parallel()
	want := grants(t, "join,send=ops.*", "admin=**")
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`[{"rooms":"ops.*","may":["join","send"]},{"rooms":"**","may":["admin"]}]`, string(text)); diff != "" {
		t.Error(diff)
	}
	got, err := auth.ParseGrants(text)
	if err != nil || show(got) != show(want) {
		t.Errorf("%v, %v", got, err)
	}
	for name, bad := range map[string]string{
		"no list":            `{"rooms":"a","may":["join"]}`,
		"no JSON":            `[{]`,
		"an unknown right":   `[{"rooms":"a","may":["fly"]}]`,
		"a bad pattern":      `[{"rooms":"a.**.b","may":["join"]}]`,
		"a name for rights":  `[{"rooms":"a","may":"join"}]`,
		"no rooms":           `[{"may":["join"]}]`,
		"empty rooms":        `[{"rooms":"","may":["join"]}]`,
		"no rights":          `[{"rooms":"a","may":[]}]`,
		"no may":             `[{"rooms":"a"}]`,
		"a field to narrow":  `[{"rooms":"a","may":["join"],"until":"noon"}]`,
		"a number":           `[{"rooms":7,"may":["join"]}]`,
		"a list of a number": `[7]`,
		"too many":           "[" + strings.Repeat(`{"rooms":"a","may":["join"]},`, auth.MaxGrants) + `{"rooms":"a","may":["join"]}]`,
	} {
		if got, err := auth.ParseGrants([]byte(bad)); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestGrantsInYAML(t *testing.T) {
	t.Parallel()
	const text = `- rooms: ops.*
  may: [join, send]
- {rooms: "**", may: [admin]}
`
	var got auth.Grants
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if want := grants(t, "join,send=ops.*", "admin=**"); show(got) != show(want) {
		t.Errorf("%v", got)
	}
	again, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var same auth.Grants
	if err := yaml.Unmarshal(again, &same); err != nil || show(same) != show(got) {
		t.Errorf("%s: %v, %v", again, same, err)
	}
	for bad, want := range map[string]string{
		"- rooms: a\n  may: [join, fly]\n":     `line 2: no right "fly"`,
		"- may: [join]\n  rooms: a b\n":        `line 2: "a b" is no pattern`,
		"- rooms: a\n  may: {join: true}\n":    "line 2",
		"- rooms: [a]\n  may: [join]\n":        "line 1",
		"- rooms: a\n\n  may:\n  - fly\n":      `line 4: no right "fly"`,
		"- {rooms: a..b, may: [join, send]}\n": `line 1: "a..b" is no pattern`,
	} {
		var gs auth.Grants
		if err := yaml.Unmarshal([]byte(bad), &gs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", bad, gs, err)
		}
	}
}

func TestGrantsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	g, err := auth.ParseGrant("join,send=ops.*")
	if err != nil || g.String() != "join,send=ops.*" {
		t.Errorf("%v, %v", g, err)
	}
	for _, bad := range []string{"", "join", "=lobby", "join=", "join=a=b", "fly=lobby", "lobby=join"} {
		if g, err := auth.ParseGrant(bad); err == nil {
			t.Errorf("%q is %v", bad, g)
		}
	}
}

func BenchmarkAllows(b *testing.B) {
	var specs []string
	for i := range 19 {
		specs = append(specs, fmt.Sprintf("join,send=team%d.*.events", i))
	}
	gs := grants(b, append(specs, "join,history=ops.*.deploys")...)
	for name, c := range map[string]struct {
		room string
		want bool
	}{"last of 20": {"ops.eu.deploys", true}, "none of 20": {"ops.eu.builds", false}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if gs.Allows(auth.Join|auth.History, c.room) != c.want {
					b.Fatal("wrong")
				}
			}
		})
	}
}
