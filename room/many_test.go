package room_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

// showing is what somebody is shown who may join the rooms of a pattern.
func showing(t *testing.T, pattern string) *room.Many {
	t.Helper()
	p, err := parley.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return &room.Many{Key: pattern + "\n", Match: p.Match}
}

func (f *fixture) jsonOutlet(s *memSocket, id parley.SessionID) *room.Outlet {
	o := f.hub.NewOutlet(s, id, wire.JSONLines{})
	f.t.Cleanup(func() {
		s.Abort()
		o.Close()
	})
	return o
}

func (f *fixture) joinMany(o *room.Outlet, pattern string, start wire.Start, echo bool, many *room.Many) *room.Member {
	f.t.Helper()
	m, err := f.hub.Join(context.Background(), o, room.Joining{
		Room: pattern, Start: start, Echo: echo, Many: many,
		JoinedMany: func(enc wire.Encoding, dst []byte, at parley.Position) []byte {
			return enc.JoinedMany(dst, nil, pattern, at)
		},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// follower reads what a member of a pattern is sent as a client does: it knows the last cursor, and what came
// behind it.
type follower struct {
	t      *testing.T
	start  wire.Start
	cursor parley.Position
	since  map[string]uint64
	seqs   map[string][]uint64
	gaps   map[string]int
}

func newFollower(t *testing.T, start wire.Start) *follower {
	return &follower{t: t, start: start, since: map[string]uint64{}, seqs: map[string][]uint64{}, gaps: map[string]int{}}
}

// take reads whole lines.
func (f *follower) take(lines []byte) {
	f.t.Helper()
	for line := range bytes.Lines(lines) {
		frame, err := wire.ParseFrame(line)
		if err != nil {
			f.t.Fatalf("%s: %v", line, err)
		}
		switch frame.Op {
		case "joined", "cursor":
			if frame.Cursor == "" {
				continue
			}
			at, err := parley.ParsePosition(frame.Cursor)
			if err != nil {
				f.t.Fatal(err)
			}
			f.cursor = at
			clear(f.since)
		case "message":
			if seqs := f.seqs[frame.Room]; len(seqs) > 0 && frame.Seq <= seqs[len(seqs)-1] {
				f.t.Errorf("%s: %d behind %v; cursor %v, since %v", frame.Room, frame.Seq, seqs, f.cursor, f.since)
				if i := bytes.Index(lines, line); i >= 0 {
					f.t.Fatalf("in:\n%s", lines[:min(len(lines), i+2000)])
				}
			}
			f.seqs[frame.Room] = append(f.seqs[frame.Room], frame.Seq)
			f.since[frame.Room] = frame.Seq
		case "gap":
			f.gaps[frame.Room]++
		}
	}
}

// resume is where it goes on.
func (f *follower) resume() wire.Start {
	if f.cursor == nil {
		return f.start
	}
	places := make(map[string]uint64)
	for room, seq := range f.since {
		places[room] = seq
	}
	return wire.Start{Cursor: f.cursor, Places: places}
}

// Every member of a pattern gets each message of each room once and in order, however slow it is, however
// often it is cut off and comes back, and whatever the ring still holds.
func TestAPatternIsFollowedWithoutAGap(t *testing.T) {
	log := logtest.New(logtest.Options{})
	f := newFixture(t, log, room.Config{RingMemory: 1, Lag: 1}) // a ring of the smallest size
	const rooms, each = 7, 400
	want := make(map[string][]uint64)
	var mu sync.Mutex
	for i := range rooms {
		name := fmt.Sprintf("orders.%d", i)
		want[name] = append(want[name], f.send(name, 1, "before"))
	}
	var members sync.WaitGroup
	done := make(chan struct{})
	for i := range 8 {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		members.Go(func() {
			zero := uint64(0)
			f.followWithCuts(t, newFollower(t, wire.Start{After: &zero}), random, done, func() map[string][]uint64 {
				mu.Lock()
				defer mu.Unlock()
				return want
			})
		})
	}
	var senders sync.WaitGroup
	for i := range rooms {
		senders.Go(func() {
			name := fmt.Sprintf("orders.%d", i)
			for n := range each {
				seq := f.send(name, 1, strings.Repeat("x", n%200+1))
				f.send("others."+name, 1, "not theirs")
				mu.Lock()
				want[name] = append(want[name], seq)
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	close(done)
	members.Wait()
	if f.hub.Stats().LagReads == 0 {
		t.Error("nobody fell behind the ring")
	}
}

// followWithCuts reads through a socket that takes little, cuts the connection now and then, and resumes,
// until done, and then until it has everything.
func (f *fixture) followWithCuts(t *testing.T, fl *follower, random *rand.Rand, done chan struct{}, want func() map[string][]uint64) {
	many := showing(t, "orders.**")
	for last := false; ; {
		select {
		case <-done:
			last = true
		default:
		}
		s := newSocket(t, 0)
		o := f.hub.NewOutlet(s, parley.SessionID(random.Uint64()), wire.JSONLines{})
		f.joinMany(o, "orders.**", fl.resume(), true, many)
		for range random.IntN(40) {
			s.take(random.IntN(2000))
			<-time.After(time.Duration(random.IntN(500)) * time.Microsecond)
		}
		if last {
			s.take(unlimited)
			s.await(func(got string) bool {
				all := newFollower(t, fl.start)
				all.take([]byte(got[:strings.LastIndexByte(got, '\n')+1]))
				for name, seqs := range want() {
					end := max(seqs[len(seqs)-1], 0)
					if had := fl.seqs[name]; len(had) > 0 && had[len(had)-1] >= end {
						continue
					}
					if had := all.seqs[name]; len(had) == 0 || had[len(had)-1] < end {
						return false
					}
				}
				return true
			})
		}
		s.Abort()
		o.Close()
		fl.take(s.whole())
		if last {
			break
		}
	}
	if diff := cmp.Diff(want(), fl.seqs); diff != "" {
		t.Errorf("what came (-want +got):\n%s", diff)
	}
}

func TestWhereAPatternBegins(t *testing.T) {
	log := logtest.New(logtest.Options{})
	f := newFixture(t, log, room.Config{})
	for i, name := range []string{"a.1", "b.1", "a.2", "a.1", "a.2", "a.1"} { // seqs 1 to 6
		f.send(name, 1, fmt.Sprint(i+1))
	}
	zero := uint64(0)
	middle := parley.Position{3, 3, 3}
	tests := map[string]struct {
		start wire.Start
		want  map[string][]uint64 // and then 7 in a.1, 8 in a.3
	}{
		"live":                  {wire.Start{}, map[string][]uint64{"a.1": {7}, "a.3": {8}}},
		"from the start":        {wire.Start{After: &zero}, map[string][]uint64{"a.1": {1, 4, 6, 7}, "a.2": {3, 5}, "a.3": {8}}},
		"since always":          {wire.Start{Since: time.Unix(1, 0)}, map[string][]uint64{"a.1": {1, 4, 6, 7}, "a.2": {3, 5}, "a.3": {8}}},
		"behind a cursor":       {wire.Start{Cursor: middle}, map[string][]uint64{"a.1": {4, 6, 7}, "a.2": {5}, "a.3": {8}}},
		"cursor and places":     {wire.Start{Cursor: middle, Places: map[string]uint64{"a.1": 4, "a.2": 1}}, map[string][]uint64{"a.1": {6, 7}, "a.2": {5}, "a.3": {8}}},
		"places, the rest live": {wire.Start{Places: map[string]uint64{"a.1": 4}}, map[string][]uint64{"a.1": {6, 7}, "a.3": {8}}},
		"places, all the rest":  {wire.Start{Places: map[string]uint64{"a.1": 4}, Rest: true}, map[string][]uint64{"a.1": {6, 7}, "a.2": {3, 5}, "a.3": {8}}},
		"places beyond all":     {wire.Start{Places: map[string]uint64{"a.1": 400}}, map[string][]uint64{"a.1": {7}, "a.3": {8}}},
		"a cursor beyond all":   {wire.Start{Cursor: parley.Position{7, 7, 7}}, map[string][]uint64{"a.3": {8}}},
	}
	sockets := make(map[string]*memSocket)
	for name, tt := range tests {
		sockets[name] = newSocket(t, unlimited)
		f.joinMany(f.jsonOutlet(sockets[name], 2), "a.*", tt.start, true, showing(t, "a.*"))
		sockets[name].await(func(got string) bool { return strings.Contains(got, `"joined"`) })
	}
	f.send("a.1", 1, "7")
	f.send("a.3", 1, "8") // not there until now
	for name, tt := range tests {
		s := sockets[name]
		s.await(func(got string) bool { return strings.Contains(got, `"seq":8`) })
		got := newFollower(t, wire.Start{})
		got.take(s.whole())
		if diff := cmp.Diff(tt.want, got.seqs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(got.gaps) > 0 {
			t.Errorf("%s: gaps %v", name, got.gaps)
		}
	}
	_, err := f.hub.Join(t.Context(), f.jsonOutlet(newSocket(t, 0), 3), room.Joining{
		Room: "a.*", Start: wire.Start{Cursor: parley.Position{1}}, Many: showing(t, "a.*"),
	})
	if parley.AsError(err).Code != parley.BadRequest {
		t.Errorf("a cursor of another log: %v", err)
	}
}

// Frames of messages are those that the room's own members get, byte for byte.
func TestAPatternsMessagesAreTheRooms(t *testing.T) {
	log := logtest.New(logtest.Options{})
	f := newFixture(t, log, room.Config{})
	in, of, late := newSocket(t, unlimited), newSocket(t, unlimited), newSocket(t, unlimited)
	f.join(f.jsonOutlet(in, 2), "a.1", wire.Start{}, true)
	f.joinMany(f.jsonOutlet(of, 3), "a.**", wire.Start{}, true, showing(t, "a.**"))
	last := uint64(0)
	for n := range 100 {
		last = f.send("a.1", 1, fmt.Sprint("say ", n))
	}
	zero := uint64(0)
	f.joinMany(f.jsonOutlet(late, 4), "a.**", wire.Start{After: &zero}, true, showing(t, "a.**"))
	messages := func(s *memSocket) (all []string) {
		for _, line := range strings.Split(s.await(func(got string) bool { return strings.Contains(got, fmt.Sprintf(`"seq":%d,`, last)) }), "\n") {
			if strings.HasPrefix(line, `{"op":"message"`) {
				all = append(all, line)
			}
		}
		return all
	}
	want := messages(in)
	if diff := cmp.Diff(want, messages(of)); diff != "" || len(want) != 100 {
		t.Errorf("%d in the room; (-room +pattern):\n%s", len(want), diff)
	}
	if diff := cmp.Diff(want, messages(late)); diff != "" {
		t.Errorf("read from the log (-room +pattern):\n%s", diff)
	}
}

func TestAPatternTellsWhatRetentionTook(t *testing.T) {
	log := logtest.New(logtest.Options{RetainMessages: 3})
	f := newFixture(t, log, room.Config{RetainMessages: 3})
	first := f.send("a.1", 1, "1")
	f.send("a.2", 1, "1")
	for n := range 10 {
		f.send("a.1", 1, fmt.Sprint(n))
	}
	f.send("a.2", 1, "2")
	s := newSocket(t, unlimited)
	f.joinMany(f.jsonOutlet(s, 2), "a.*", wire.Start{Cursor: parley.Position{first, first, first}}, true, showing(t, "a.*"))
	s.await(func(got string) bool { return strings.Contains(got, `"seq":13`) })
	got := newFollower(t, wire.Start{})
	got.take(s.whole())
	if diff := cmp.Diff(map[string]int{"a.1": 1}, got.gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(s.whole()), `{"op":"gap","room":"a.1","after":1,"next":10}`+"\n"+`{"op":"message","room":"a.1","seq":10,`) {
		t.Errorf("the gap does not stand in front of the message:\n%s", s.whole())
	}
}

// Somebody may read the past of fewer rooms than those it may join; what it is shown can change.
func TestAPatternOfWhatMayBeSeen(t *testing.T) {
	log := logtest.New(logtest.Options{})
	f := newFixture(t, log, room.Config{})
	for _, name := range []string{"a.open", "a.live", "a.shut"} { // seqs 1 to 3
		f.send(name, 1, "before")
	}
	s := newSocket(t, unlimited)
	zero := uint64(0)
	m := f.joinMany(f.jsonOutlet(s, 2), "a.*", wire.Start{After: &zero}, false, &room.Many{
		Key:   "some",
		Match: func(name string) bool { return name != "a.shut" && strings.HasPrefix(name, "a.") },
		Past:  func(name string) bool { return name == "a.open" },
	})
	for _, name := range []string{"a.open", "a.live", "a.shut"} { // 4 to 6
		f.send(name, 1, "then")
	}
	s.await(func(got string) bool { return strings.Contains(got, `"seq":5`) })
	m, err := f.hub.Change(t.Context(), m, &room.Many{
		Key:   "others",
		Match: func(name string) bool { return name == "a.shut" },
		Past:  func(string) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.open", "a.live", "a.shut"} { // 7 to 9
		f.send(name, 1, "now")
	}
	m.Sends()
	f.send("a.shut", 2, "its own")
	last := f.send("a.shut", 1, "last")
	s.await(func(got string) bool { return strings.Contains(got, fmt.Sprintf(`"seq":%d,`, last)) })
	got := newFollower(t, wire.Start{})
	got.take(s.whole())
	want := map[string][]uint64{"a.open": {1, 4}, "a.live": {5}, "a.shut": {9, last}}
	if diff := cmp.Diff(want, got.seqs); diff != "" {
		t.Errorf("what came (-want +got):\n%s", diff)
	}
	m.Leave()
	f.send("a.shut", 1, "after it left")
	f.send("a.shut", 1, "after it left")
	if strings.Contains(string(s.whole()), "after it left") {
		t.Error("it was shown something after it had left")
	}
}

// A quiet pattern's members learn of the place they are at though nothing of theirs comes.
func TestCursorsComeBehindMessagesAndInSilence(t *testing.T) {
	log := logtest.New(logtest.Options{})
	f := newFixture(t, log, room.Config{Linger: 20 * time.Millisecond}) // the pace of its rounds too
	s := newSocket(t, unlimited)
	f.joinMany(f.jsonOutlet(s, 2), "quiet.*", wire.Start{}, true, showing(t, "quiet.*"))
	f.send("quiet.1", 1, "one")
	s.await(func(got string) bool { return strings.Count(got, `{"op":"cursor"`) == 1 })
	for n := 0; strings.Count(string(s.whole()), `{"op":"cursor"`) < 2; n++ {
		if n > 200 {
			t.Fatal("no cursor came")
		}
		done := make(chan struct{})
		var left sync.WaitGroup
		for range 500 {
			left.Add(1)
			d := parley.Draft{Room: "loud", ID: "x", From: "ada", Body: []byte("x")}
			if err := log.Append(t.Context(), d, func(parley.Receipt, error) { left.Done() }); err != nil {
				t.Fatal(err)
			}
		}
		go func() { left.Wait(); close(done) }()
		<-done
		<-time.After(5 * time.Millisecond)
	}
	got := newFollower(t, wire.Start{})
	got.take(s.whole())
	if at := got.cursor[log.Part("loud")]; at < 4096 {
		t.Errorf("the cursor is at %v", got.cursor)
	}
}

// The room of a pattern ends with its last member, however long others linger: a client that tries one pattern after
// another costs the log one tail at a time.
func TestALeftPatternEndsAtOnce(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{Linger: time.Hour})
	s := newSocket(t, unlimited)
	o := f.jsonOutlet(s, 2)
	for n := range 200 {
		pattern := fmt.Sprintf("a.%d.*", n)
		f.joinMany(o, pattern, wire.Start{}, true, showing(t, pattern)).Leave()
	}
	f.joinMany(o, "a.**", wire.Start{}, true, showing(t, "a.**"))
	deadline := time.After(20 * time.Second)
	for f.hub.Stats().Rooms > 1 {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("%d rooms are active", f.hub.Stats().Rooms)
		}
	}
	f.send("a.1.x", 1, "still here")
	s.await(func(got string) bool { return strings.Contains(got, "still here") })
}
