package e2e_test

import (
	"fmt"
	"testing"
)

// judge finds what is wrong in a history, whatever faults are in it:
//
//   - no acknowledged message is lost, none is stored twice, none is stored that was refused or
//     that nobody has sent, each is stored at the seq it was acknowledged with;
//   - every session of a reader shows the room's messages behind its position, all of them, in the
//     one order, each with the right prev, and nothing that the room does not hold in the end.
func judge(events []event) (wrong []string) {
	j := &judgement{
		rooms: map[string]*roomTruth{}, tries: map[string]event{}, sent: map[string]event{},
		acks: map[string]event{}, unknown: map[string]bool{}, open: map[string]bool{}, sessions: map[string]*readerSession{},
	}
	for _, e := range events { // what the rooms hold comes last, and is needed first
		if e.Op == "final" && e.Type == "ok" {
			j.final(e)
		}
	}
	for _, e := range events {
		switch {
		case e.Op == "publish":
			j.publish(e)
		case e.Op == "sub" && e.Type == "ok":
			j.sessions[e.Sess] = j.begin(e)
		case e.Op == "recv":
			j.recv(e)
		case e.Op == "gap":
			j.blame("%s was told of a gap in %s behind %d", e.Sess, e.Room, e.Seq)
		case e.Op == "close" && e.CaughtUp != nil && *e.CaughtUp:
			j.caughtUp(e)
		}
	}
	j.stored()
	return j.wrong
}

type judgement struct {
	wrong    []string
	rooms    map[string]*roomTruth
	tries    map[string]event // publishes invoked, by id
	sent     map[string]event // the same, by msg
	acks     map[string]event // by msg
	unknown  map[string]bool  // msgs of which a try may have been stored
	open     map[string]bool  // tries without an outcome, by id
	sessions map[string]*readerSession
}

// roomTruth is what a room holds in the end.
type roomTruth struct {
	items []item
	at    map[string]int // index by msg
}

// readerSession is one reader in one room on one connection.
type readerSession struct {
	room *roomTruth
	next int // index of the item that must come next
	lost bool
}

const mostBlame = 20

func (j *judgement) blame(format string, args ...any) {
	if len(j.wrong) < mostBlame {
		j.wrong = append(j.wrong, fmt.Sprintf(format, args...))
	}
}

func (j *judgement) final(e event) {
	r := &roomTruth{items: e.Items, at: map[string]int{}}
	for i, it := range e.Items {
		if i > 0 && it.seq <= e.Items[i-1].seq {
			j.blame("%s: seq %d comes behind %d", e.Room, it.seq, e.Items[i-1].seq)
		}
		if first, twice := r.at[it.msg]; twice {
			j.blame("%s: %s is stored twice, at %d and %d", e.Room, it.msg, e.Items[first].seq, it.seq)
		}
		r.at[it.msg] = i
	}
	j.rooms[e.Room] = r
}

func (j *judgement) publish(e event) {
	try := j.tries[e.ID]
	switch e.Type {
	case "invoke":
		j.tries[e.ID], j.sent[e.Msg] = e, e
		j.open[e.ID] = true
	case "ok":
		if before, again := j.acks[try.Msg]; again && before.Seq != e.Seq {
			j.blame("%s was acknowledged with seq %d and then with %d", try.Msg, before.Seq, e.Seq)
		}
		e.Msg, e.Room = try.Msg, try.Room
		j.acks[try.Msg] = e
		delete(j.open, e.ID)
	case "fail":
		delete(j.open, e.ID)
	case "info":
		j.unknown[try.Msg] = true
	}
}

func (j *judgement) begin(e event) *readerSession {
	r := j.rooms[e.Room]
	if r == nil {
		r = &roomTruth{}
	}
	next := 0
	for next < len(r.items) && r.items[next].seq <= *e.From {
		next++
	}
	return &readerSession{room: r, next: next}
}

func (j *judgement) recv(e event) {
	s := j.sessions[e.Sess]
	if s == nil || s.lost {
		return
	}
	if s.next >= len(s.room.items) {
		j.blame("%s was shown %s (seq %d), which %s does not hold in the end", e.Sess, e.Msg, e.Seq, e.Room)
		s.lost = true
		return
	}
	want, prev := s.room.items[s.next], uint64(0)
	if s.next > 0 {
		prev = s.room.items[s.next-1].seq
	}
	if e.Seq != want.seq || e.Msg != want.msg || e.Hash != want.hash {
		j.blame("%s in %s: got %s (seq %d, %s), want %s (seq %d, %s)", e.Sess, e.Room, e.Msg, e.Seq, e.Hash, want.msg, want.seq, want.hash)
		s.lost = true
	}
	if e.Prev != nil && *e.Prev != prev {
		j.blame("%s in %s: the prev of %s (seq %d) is %d, want %d", e.Sess, e.Room, e.Msg, e.Seq, *e.Prev, prev)
	}
	s.next++
}

func (j *judgement) caughtUp(e event) {
	if s := j.sessions[e.Sess]; s != nil && !s.lost && s.next < len(s.room.items) {
		j.blame("%s has not read %d messages of %s, from %s", e.Sess, len(s.room.items)-s.next, e.Room, s.room.items[s.next].msg)
	}
}

// stored compares what was sent with what the rooms hold.
func (j *judgement) stored() {
	for id := range j.open { // the history ends on it: it may have been stored
		j.unknown[j.tries[id].Msg] = true
	}
	for msg, ack := range j.acks {
		r := j.rooms[ack.Room]
		if r == nil {
			continue // its room could not be read
		}
		if i, ok := r.at[msg]; !ok {
			j.blame("%s was acknowledged (seq %d in %s) and is lost", msg, ack.Seq, ack.Room)
		} else if r.items[i].seq != ack.Seq {
			j.blame("%s was acknowledged with seq %d and is stored at %d", msg, ack.Seq, r.items[i].seq)
		}
	}
	for name, r := range j.rooms {
		for _, it := range r.items {
			sent, ok := j.sent[it.msg]
			_, acked := j.acks[it.msg]
			switch {
			case !ok || sent.Room != name:
				j.blame("%s holds %s, which nobody has sent there", name, it.msg)
			case sent.Hash != it.hash:
				j.blame("%s: the body of %s is another", name, it.msg)
			case !acked && !j.unknown[it.msg]:
				j.blame("%s holds %s, which was refused", name, it.msg)
			}
		}
	}
}

// verdict fails the test with what is wrong in its history.
func (r *recorder) verdict(t testing.TB) {
	t.Helper()
	events := r.events(t)
	count := map[string]int{}
	for _, e := range events {
		count[e.Op+" "+e.Type]++
	}
	t.Logf("%d publishes, %d acknowledged, %d unknown, %d refused; %d messages received in %d sessions; %d faults",
		count["publish invoke"], count["publish ok"], count["publish info"], count["publish fail"],
		count["recv ok"], count["sub ok"], count["fault info"])
	for _, w := range judge(events) {
		t.Error(w)
	}
}

// The judge itself is judged: each history has one thing wrong.
func TestJudge(t *testing.T) {
	t.Parallel()
	zero, one := uint64(0), uint64(1)
	yes := true
	sound := func() []event {
		return []event{
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
			{Type: "ok", Op: "final", Room: "a", Items: []item{{1, "x", "hx"}, {3, "y", "hy"}}},
		}
	}
	if wrong := judge(sound()); len(wrong) > 0 {
		t.Fatalf("a sound history: %q", wrong)
	}
	for name, spoil := range map[string]func(e []event) []event{
		"an acked message is lost": func(e []event) []event { e[10].Items = e[10].Items[1:]; return e[10:] },
		"one is stored twice":      func(e []event) []event { e[10].Items = append(e[10].Items, item{4, "x", "hx"}); return e },
		"a refused one is stored": func(e []event) []event {
			e[10].Items = append(e[10].Items, item{4, "z", "hz"})
			e[9].CaughtUp = nil
			return e
		},
		"one that nobody sent": func(e []event) []event {
			e[10].Items = append(e[10].Items, item{4, "q", "hq"})
			e[9].CaughtUp = nil
			return e
		},
		"a body is another":           func(e []event) []event { e[2].Hash = "other"; return e },
		"it is acked at another seq":  func(e []event) []event { e[1].Seq = 2; return e },
		"a reader misses one":         func(e []event) []event { return append(e[:7:7], e[8:]...) },
		"a reader reads one twice":    func(e []event) []event { return append(e[:8:8], e[7:]...) },
		"the order is another":        func(e []event) []event { e[7], e[8] = e[8], e[7]; return e },
		"a prev is wrong":             func(e []event) []event { e[8].Prev = &zero; return e },
		"what was shown is lost":      func(e []event) []event { e[10].Items = e[10].Items[:1]; return e },
		"a reader is not up to date":  func(e []event) []event { return append(e[:8:8], e[9:]...) },
		"there is a gap":              func(e []event) []event { e[8].Op = "gap"; return e },
		"seqs do not rise":            func(e []event) []event { e[10].Items[1].seq = 1; return e },
		"two acks with two positions": func(e []event) []event { return append(e, event{Type: "ok", Op: "publish", ID: "1", Seq: 3}) },
	} {
		history := spoil(sound())
		if name == "an acked message is lost" {
			history = append(sound()[:6:6], history...)
		}
		if wrong := judge(history); len(wrong) == 0 {
			t.Errorf("%s, and nobody noticed", name)
		}
	}
}
