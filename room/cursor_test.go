package room_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

// What a client has to remember is bounded however many messages come at once: between two cursors there are
// never more of them than a page has.
func TestAnAvalancheHasCursorsInIt(t *testing.T) {
	log := logtest.New(logtest.Options{})
	f := newFixture(t, log, room.Config{})
	s := newSocket(t, unlimited)
	f.joinMany(f.jsonOutlet(s, 2), "many.**", wire.Start{}, true, showing(t, "many.**"))
	const rooms = 1000
	release := log.Hold()
	for n := range rooms { // all in one release of the log's
		d := parley.Draft{Room: fmt.Sprintf("many.%d", n), ID: "x", From: "ada", Body: []byte("x")}
		if err := log.Append(t.Context(), d, func(parley.Receipt, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	release()
	s.await(func(got string) bool { return strings.Count(got, `{"op":"message"`) == rooms })
	between := 0
	for _, line := range strings.Split(string(s.whole()), "\n") {
		switch {
		case strings.HasPrefix(line, `{"op":"cursor"`):
			between = 0
		case strings.HasPrefix(line, `{"op":"message"`):
			if between++; between > 256 {
				t.Fatalf("%d messages came without a cursor", between)
			}
		}
	}
	got := newFollower(t, wire.Start{})
	got.take(s.whole())
	if len(got.seqs) != rooms {
		t.Errorf("messages of %d rooms came, want %d", len(got.seqs), rooms)
	}
}

// Who begins at places of its own has no cursor at first, and would miss what comes in other rooms while it is
// away. It gets one as soon as the past was sent, though nothing comes then.
func TestPlacesEndInACursor(t *testing.T) {
	log := logtest.New(logtest.Options{})
	f := newFixture(t, log, room.Config{})
	one := f.send("a.1", 1, "1")
	two := f.send("a.1", 1, "2")
	s := newSocket(t, unlimited)
	o := f.jsonOutlet(s, 2)
	f.joinMany(o, "a.*", wire.Start{Places: map[string]uint64{"a.1": one}}, true, showing(t, "a.*"))
	s.await(func(got string) bool { return strings.Contains(got, `{"op":"cursor"`) })
	got := newFollower(t, wire.Start{})
	got.take(s.whole())
	o.Close()

	other := f.send("a.2", 1, "while it was away")
	s = newSocket(t, unlimited)
	f.joinMany(f.jsonOutlet(s, 3), "a.*", got.resume(), true, showing(t, "a.*"))
	s.await(func(all string) bool { return strings.Contains(all, "while it was away") })
	got.take(s.whole())
	want := map[string][]uint64{"a.1": {two}, "a.2": {other}}
	if diff := cmp.Diff(want, got.seqs); diff != "" {
		t.Errorf("what came (-want +got):\n%s", diff)
	}
}

// Who looks through a long log in vain is told how far it is, and need not begin again.
func TestACursorComesThoughNothingFits(t *testing.T) {
	log := logtest.New(logtest.Options{})
	f := newFixture(t, log, room.Config{})
	last := f.send("b.1", 1, "1", "2", "3")
	s := newSocket(t, unlimited)
	zero := uint64(0)
	f.joinMany(f.jsonOutlet(s, 2), "a.*", wire.Start{After: &zero}, true, showing(t, "a.*"))
	s.await(func(got string) bool { return strings.Contains(got, `{"op":"cursor"`) })
	got := newFollower(t, wire.Start{})
	got.take(s.whole())
	if at := got.cursor[log.Part("b.1")]; at < last {
		t.Errorf("the cursor is at %v, want behind %d", got.cursor, last)
	}
}

// halting is a log whose pages can be held back.
type halting struct {
	*logtest.Memory
	asked chan struct{} // a page is asked for; somebody should hear it
	give  chan struct{} // closed: pages may come
}

func (l *halting) halt(ctx context.Context) {
	select {
	case l.asked <- struct{}{}:
	case <-l.give:
	case <-ctx.Done():
	}
	select {
	case <-l.give:
	case <-ctx.Done():
	}
}

func (l *halting) Read(ctx context.Context, name string, after uint64, limit int) (parley.Page, error) {
	l.halt(ctx)
	return l.Memory.Read(ctx, name, after, limit)
}

func (l *halting) ReadMany(ctx context.Context, match func(string) bool, after parley.Position, limit int) (parley.ManyPage, error) {
	l.halt(ctx)
	return l.Memory.ReadMany(ctx, match, after, limit)
}

// An answer that is made while a page is read stands in front of the page: an event stream's id in it, which says
// where the stream is, would else take the client back.
func TestAnswersDoNotWaitForPages(t *testing.T) {
	for _, name := range []string{"a.1", "a.*"} {
		t.Run(name, func(t *testing.T) {
			memory := logtest.New(logtest.Options{})
			newFixture(t, memory, room.Config{}).send("a.1", 1, "1", "2")
			log := &halting{Memory: memory, asked: make(chan struct{}), give: make(chan struct{})}
			f := newFixture(t, log, room.Config{})
			s := newSocket(t, unlimited)
			o := f.jsonOutlet(s, 2)
			zero := uint64(0)
			if name == "a.1" {
				f.join(o, name, after(zero), true)
			} else {
				f.joinMany(o, name, wire.Start{After: &zero}, true, showing(t, name))
			}
			<-log.asked
			o.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Pong(dst, nil) })
			close(log.give)
			got := s.await(func(got string) bool { return strings.Contains(got, `"body":"2"`) })
			pong, message := strings.Index(got, `{"op":"pong"`), strings.Index(got, `{"op":"message"`)
			if pong < 0 || pong > message {
				t.Errorf("the answer came behind the page:\n%s", got)
			}
		})
	}
}

// A place that retention has passed is told of, also where another room's place has all be read from the start.
func TestAGapBehindAPlace(t *testing.T) {
	for _, start := range []wire.Start{
		{Places: map[string]uint64{"a.1": 2}, Rest: true},
		{Places: map[string]uint64{"a.1": 2, "a.2": 0}},
		{Places: map[string]uint64{"a.1": 2}},
	} {
		log := logtest.New(logtest.Options{RetainMessages: 3})
		f := newFixture(t, log, room.Config{RetainMessages: 3})
		f.send("a.2", 1, "1", "2")
		next := f.send("a.1", 1, "1", "2", "3", "4", "5", "6") - 2
		s := newSocket(t, unlimited)
		f.joinMany(f.jsonOutlet(s, 2), "a.*", start, true, showing(t, "a.*"))
		s.await(func(got string) bool { return strings.Contains(got, fmt.Sprintf(`"seq":%d`, next+2)) })
		got := newFollower(t, wire.Start{})
		got.take(s.whole())
		if diff := cmp.Diff(map[string]int{"a.1": 1}, got.gaps); diff != "" {
			t.Errorf("%+v: gaps (-want +got):\n%s", start, diff)
		}
		gap := fmt.Sprintf(`{"op":"gap","room":"a.1","after":2,"next":%d}`+"\n"+`{"op":"message","room":"a.1","seq":%[1]d,`, next)
		if !strings.Contains(string(s.whole()), gap) {
			t.Errorf("%+v: no gap in front of the message:\n%s", start, s.whole())
		}
	}
}

// Who has got more of one part of the log than the ring is told of still learns where it is in the others.
func TestCursorsOfWhoIsAheadInAPart(t *testing.T) {
	log := logtest.New(logtest.Options{})
	f := newFixture(t, log, room.Config{})
	front, other := "a.0", "a.1"
	for n := 2; log.Part(front) == log.Part(other); n++ {
		other = fmt.Sprintf("a.%d", n)
	}
	last := f.send(other, 1, "first")
	at := slices.Clone(positionOf(t, log))
	ahead := last + 1000
	at[log.Part(front)] = ahead
	s := newSocket(t, unlimited)
	f.joinMany(f.jsonOutlet(s, 2), "a.*", wire.Start{Cursor: at}, true, showing(t, "a.*"))
	const count = 300
	for range count {
		f.send(other, 1, "x")
	}
	got := newFollower(t, wire.Start{})
	s.await(func(got string) bool { return strings.Count(got, `{"op":"message"`) == count })
	got.take(s.whole())
	if n := strings.Count(string(s.whole()), `{"op":"cursor"`); n < count/64 {
		t.Errorf("%d cursors came with %d messages", n, count)
	}
	if got.cursor[log.Part(front)] != ahead || got.cursor[log.Part(other)] <= last {
		t.Errorf("the cursor is at %v, joined at %v", got.cursor, at)
	}
}

// positionOf gives the position of the log's end.
func positionOf(t *testing.T, log parley.Log) parley.Position {
	t.Helper()
	at, stop, err := log.FollowMany(t.Context(), func(string) bool { return false }, func(int, uint64, []*parley.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	return at
}
