package history

import "testing"

// The judge itself is judged: each history has one thing wrong.
func TestJudge(t *testing.T) {
	t.Parallel()
	zero, one := uint64(0), uint64(1)
	yes := true
	sound := func() []Event {
		return []Event{
			{Type: "invoke", Op: "publish", ID: "1", Room: "a", Msg: "x", Hash: "hx"},
			{Type: "ok", Op: "publish", ID: "1", Seq: 1},
			{Type: "invoke", Op: "publish", ID: "2", Room: "a", Msg: "y", Hash: "hy"},
			{Type: "info", Op: "publish", ID: "2"},
			{Type: "invoke", Op: "publish", ID: "3", Room: "a", Msg: "z", Hash: "hz"},
			{Type: "fail", Op: "publish", ID: "3"},
			{Type: "ok", Op: "sub", Sess: "s", Room: "a", From: &zero},
			{Type: "ok", Op: "recv", Sess: "s", Room: "a", Msg: "x", Seq: 1, Prev: &zero, Hash: "hx"},
			{Type: "ok", Op: "recv", Sess: "s", Room: "a", Msg: "y", Seq: 3, Prev: &one, Hash: "hy"},
			{Type: "ok", Op: "close", Sess: "s", Room: "a", CaughtUp: &yes},
			{Type: "ok", Op: "final", Room: "a", Items: []Item{{1, "x", "hx"}, {3, "y", "hy"}}},
		}
	}
	if wrong := Judge(sound()); len(wrong) > 0 {
		t.Fatalf("a sound history: %q", wrong)
	}
	for name, spoil := range map[string]func(e []Event) []Event{
		"an acked message is lost": func(e []Event) []Event { e[10].Items = e[10].Items[1:]; return e[10:] },
		"one is stored twice":      func(e []Event) []Event { e[10].Items = append(e[10].Items, Item{4, "x", "hx"}); return e },
		"a refused one is stored": func(e []Event) []Event {
			e[10].Items = append(e[10].Items, Item{4, "z", "hz"})
			e[9].CaughtUp = nil
			return e
		},
		"one that nobody sent": func(e []Event) []Event {
			e[10].Items = append(e[10].Items, Item{4, "q", "hq"})
			e[9].CaughtUp = nil
			return e
		},
		"a body is another":          func(e []Event) []Event { e[2].Hash = "other"; return e },
		"it is acked at another seq": func(e []Event) []Event { e[1].Seq = 2; return e },
		"a reader misses one":        func(e []Event) []Event { return append(e[:7:7], e[8:]...) },
		"a reader reads one twice":   func(e []Event) []Event { return append(e[:8:8], e[7:]...) },
		"the order is another":       func(e []Event) []Event { e[7], e[8] = e[8], e[7]; return e },
		"a prev is wrong":            func(e []Event) []Event { e[8].Prev = &zero; return e },
		"what was shown is lost":     func(e []Event) []Event { e[10].Items = e[10].Items[:1]; return e },
		"a reader is not up to date": func(e []Event) []Event { return append(e[:8:8], e[9:]...) },
		"there is a gap":             func(e []Event) []Event { e[8].Op = "gap"; return e },
		"seqs do not rise":           func(e []Event) []Event { e[10].Items[1].Seq = 1; return e },
		"what was sent later is stored first": func(e []Event) []Event {
			e[0].Sess, e[2].Sess = "c", "c"
			e[0].Msg, e[0].Hash, e[2].Msg, e[2].Hash = "y", "hy", "x", "hx"
			e[1].Seq = 3
			return append(e, Event{Type: "ok", Op: "publish", ID: "2", Seq: 1})
		},
		"another node holds less": func(e []Event) []Event {
			return append(e, Event{Type: "ok", Op: "final", Room: "a", Node: "n2", Items: e[10].Items[:1]})
		},
		"another node has another order": func(e []Event) []Event {
			return append(e, Event{Type: "ok", Op: "final", Room: "a", Node: "n2", Items: []Item{{1, "y", "hy"}, {3, "x", "hx"}}})
		},
		"a plain reader misses one": func(e []Event) []Event {
			e = append(e, Event{Type: "ok", Op: "sub", Sess: "p", Room: "a"}, Event{Type: "ok", Op: "recv", Sess: "p", Msg: "x", Hash: "hx"})
			return append(e, Event{Type: "ok", Op: "close", Sess: "p", Room: "a", CaughtUp: &yes})
		},
		"a plain reader is shown what is lost": func(e []Event) []Event {
			return append(e, Event{Type: "ok", Op: "sub", Sess: "p", Room: "a"}, Event{Type: "ok", Op: "recv", Sess: "p", Msg: "q", Hash: "hq"})
		},
		"a ghost": func(e []Event) []Event {
			return append(e, Event{Type: "ok", Op: "members", Room: "a", Node: "n1", Users: []string{"ada", "eve"}, Want: []string{"ada"}})
		},
		"somebody is not shown": func(e []Event) []Event {
			return append(e, Event{Type: "ok", Op: "members", Room: "a", Node: "n1", Want: []string{"ada"}})
		},
		"a node ended unasked": func(e []Event) []Event {
			return append(e, Event{Type: "info", Op: "trouble", Node: "n1", Reason: "it ended"})
		},
		"two acks with two positions": func(e []Event) []Event { return append(e, Event{Type: "ok", Op: "publish", ID: "1", Seq: 3}) },
	} {
		history := spoil(sound())
		if name == "an acked message is lost" {
			history = append(sound()[:6:6], history...)
		}
		if wrong := Judge(history); len(wrong) == 0 {
			t.Errorf("%s, and nobody noticed", name)
		}
	}
}
