package logtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"parley"
)

// manyListener collects what the tail of many rooms is given, and fails the test where deliver
// overlaps, a part goes back, or what is told lies beyond what it says.
type manyListener struct {
	t    tb
	log  parley.Log
	busy sync.Mutex
	mu   sync.Mutex
	at   parley.Position
	by   map[string][]*parley.Message
	grew chan struct{}
}

func listenMany(t *testing.T, l parley.Log, match func(string) bool) (ls *manyListener, at parley.Position, stop func()) {
	t.Helper()
	ls = &manyListener{t: t, log: l, by: make(map[string][]*parley.Message), grew: make(chan struct{}, 1)}
	at, stop, err := l.FollowMany(context.Background(), match, ls.deliver)
	if err != nil {
		t.Fatal("follow many:", err)
	}
	stop = sync.OnceFunc(stop)
	t.Cleanup(stop)
	return ls, at, stop
}

func (ls *manyListener) deliver(part int, upTo uint64, ms []*parley.Message) {
	if !ls.busy.TryLock() {
		ls.t.Error("deliver was called by two goroutines at a time")
		return
	}
	defer ls.busy.Unlock()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for len(ls.at) <= part {
		ls.at = append(ls.at, 0)
	}
	last := ls.at[part]
	for _, m := range ms {
		if ls.log.Part(m.Room) != part || m.Seq <= last || m.Seq > upTo {
			ls.t.Errorf("message %d of %s was told in part %d behind %d, up to %d", m.Seq, m.Room, part, last, upTo)
		}
		last = m.Seq
		ls.by[m.Room] = append(ls.by[m.Room], m)
	}
	ls.at[part] = upTo
	clear(ms) // the slice is the log's, but nothing of ours may depend on it
	select {
	case ls.grew <- struct{}{}:
	default:
	}
}

// until waits for the message of a room and gives all of that room.
func (ls *manyListener) until(room string, seq uint64) []*parley.Message {
	ls.t.Helper()
	deadline := time.After(patience)
	for {
		ls.mu.Lock()
		got := slices.Clone(ls.by[room])
		ls.mu.Unlock()
		if len(got) > 0 && got[len(got)-1].Seq >= seq {
			return got
		}
		select {
		case <-ls.grew:
		case <-deadline:
			ls.t.Fatalf("message %d of %s never came; got %v", seq, room, seqsOf(got))
		}
	}
}

func (ls *manyListener) rooms() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return len(ls.by)
}

// fitting is a match for rooms in which a pattern fits.
func fitting(t tb, pattern string) func(string) bool {
	p, err := parley.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return p.Match
}

// readManyAll reads page by page from a position and gives what is there by room.
func readManyAll(t tb, l parley.Log, match func(string) bool, after parley.Position, limit int) (by map[string][]*parley.Message, trimmed []string) {
	t.Helper()
	by = make(map[string][]*parley.Message)
	for {
		page, err := l.ReadMany(context.Background(), match, after, limit)
		if err != nil {
			t.Fatal("read many:", err)
		}
		if len(page.Messages) > max(limit, len(after)) || !page.Next.Covers(after) {
			t.Fatalf("a page of %d, limit %d, from %v to %v", len(page.Messages), limit, after, page.Next)
		}
		for _, m := range page.Messages {
			if part := l.Part(m.Room); m.Seq <= after[part] || m.Seq > page.Next[part] {
				t.Fatalf("message %d of %s in a page from %v to %v", m.Seq, m.Room, after, page.Next)
			}
			by[m.Room] = append(by[m.Room], m)
		}
		trimmed = append(trimmed, page.Trimmed...)
		if !page.More {
			return by, trimmed
		}
		if page.Next.String() == after.String() {
			t.Fatalf("a page at %v does not go on", after)
		}
		after = page.Next
	}
}

// origin is the position in front of everything.
func origin(t tb, l parley.Log) parley.Position {
	at, err := l.SinceMany(context.Background(), time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	clear(at)
	return at
}

func manyRooms(n int) []string {
	rooms := make([]string, n)
	for i := range rooms {
		rooms[i] = fmt.Sprintf("many.%d", i)
	}
	return rooms
}

// followMany: a tail of many rooms shows those that match, old and new, each in its order, while
// senders race; and nothing of others.
func followMany(t *testing.T, h Harness) {
	rooms := manyRooms(12)
	for _, room := range rooms[:6] {
		say(t, h.Log, room, "before")
	}
	ls, at, _ := listenMany(t, h.Log, fitting(t, "many.*"))
	plain, _, _ := listen(t, h.Log, rooms[0])
	lasts := make([]uint64, len(rooms))
	var senders sync.WaitGroup
	for i, room := range rooms {
		senders.Go(func() {
			for n := range 40 {
				lasts[i] = say(t, h.Log, room, fmt.Sprint(n))
				say(t, h.Log, "other."+room, fmt.Sprint(n))
			}
		})
	}
	senders.Wait()
	for i, room := range rooms {
		got := ls.until(room, lasts[i])
		checkChain(t, got)
		if len(got) != 40 || got[0].Seq <= at[h.Log.Part(room)] {
			t.Errorf("%s: %d messages from %d on, the tail began at %v", room, len(got), got[0].Seq, at)
		}
		wantSeqs(t, room+" as a room", got, seqsOf(read(t, h.Log, room, at[h.Log.Part(room)], parley.MaxPage).Messages))
	}
	wantSeqs(t, "the room's own tail", plain.until(lasts[0]), seqsOf(ls.until(rooms[0], lasts[0])))
	if n := ls.rooms(); n != len(rooms) {
		t.Errorf("%d rooms were told of, not %d", n, len(rooms))
	}
}

// followManyTogether: tails come and go while messages do, and each gets what is behind its begin.
func followManyTogether(t *testing.T, h Harness) {
	rooms := manyRooms(4)
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for _, room := range rooms {
		senders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				say(t, h.Log, room, fmt.Sprint(n))
			}
		})
	}
	for range 20 {
		ls, at, stop := listenMany(t, h.Log, fitting(t, "many.**"))
		mark := make([]uint64, len(rooms))
		for i, room := range rooms {
			mark[i] = say(t, h.Log, room, fmt.Sprint("mark ", at, i))
		}
		for i, room := range rooms {
			got := ls.until(room, mark[i])
			got = got[:min(len(got), 300)]
			want := read(t, h.Log, room, at[h.Log.Part(room)], len(got)).Messages
			wantSeqs(t, room, got, seqsOf(want))
		}
		stop()
	}
	cancel()
	senders.Wait()
}

// readMany: pages of many rooms join without a seam from any position, with exact prevs.
func readMany(t *testing.T, h Harness) {
	rooms := manyRooms(9)
	want := make(map[string][]uint64)
	places := []parley.Position{origin(t, h.Log)}
	for n := range 25 {
		for i, room := range rooms {
			if n%(i+1) == 0 {
				want[room] = append(want[room], say(t, h.Log, room, fmt.Sprint(n)))
			}
			say(t, h.Log, "other."+room, fmt.Sprint(n))
		}
		if n%8 == 0 {
			_, at, stop := listenMany(t, h.Log, fitting(t, "many.*"))
			stop()
			places = append(places, at)
		}
	}
	for _, after := range places {
		for _, limit := range []int{1, 7, 200} {
			by, trimmed := readManyAll(t, h.Log, fitting(t, "many.*"), after, limit)
			if len(trimmed) > 0 {
				t.Errorf("after %v: %v trimmed", after, trimmed)
			}
			for room, all := range want {
				i, _ := slices.BinarySearch(all, after[h.Log.Part(room)]+1)
				wantSeqs(t, fmt.Sprint(room, " after ", after), by[room], all[i:])
				checkChain(t, by[room])
				if i > 0 && i < len(all) && by[room][0].Prev != all[i-1] {
					t.Errorf("%s after %v: prev of the first is %d, want %d", room, after, by[room][0].Prev, all[i-1])
				}
			}
		}
	}
	if by, _ := readManyAll(t, h.Log, fitting(t, "nobody.*"), places[0], 10); len(by) > 0 {
		t.Errorf("rooms that do not match: %v", by)
	}
	if _, err := h.Log.ReadMany(t.Context(), fitting(t, "**"), parley.Position{1}, 10); parley.AsError(err).Code != parley.BadRequest {
		t.Errorf("a position of another log: %v", err)
	}
}

// sinceMany finds the messages of all rooms that are not older.
func sinceMany(t *testing.T, h Harness) {
	rooms := manyRooms(5)
	for _, room := range rooms {
		say(t, h.Log, room, "old")
	}
	h.Tick()
	from := time.Now()
	h.Tick()
	want := make(map[string]uint64)
	for _, room := range rooms {
		want[room] = say(t, h.Log, room, "new")
	}
	for d, n := range map[time.Duration]int{0: 1, -time.Hour: 2, time.Hour: 0} {
		at, err := h.Log.SinceMany(t.Context(), from.Add(d))
		if err != nil {
			t.Fatal(err)
		}
		by, _ := readManyAll(t, h.Log, fitting(t, "many.*"), at, 10)
		for room, seq := range want {
			if got := by[room]; len(got) != n || n > 0 && got[n-1].Seq != seq {
				t.Errorf("since %v: %s has %v", d, room, seqsOf(got))
			}
		}
	}
}

// manyTrimmed: what retention has removed behind a position is told for the rooms it was in.
func manyTrimmed(t *testing.T, h Harness) {
	seq := say(t, h.Log, "many.a", "first")
	say(t, h.Log, "many.b", "first")
	_, at, _ := listenMany(t, h.Log, fitting(t, "many.*"))
	for n := range 25 {
		seq = say(t, h.Log, "many.a", fmt.Sprint(n))
	}
	say(t, h.Log, "many.b", "second")
	by, trimmed := readManyAll(t, h.Log, fitting(t, "many.*"), at, 100)
	if !slices.Equal(trimmed, []string{"many.a"}) {
		t.Errorf("trimmed: %v", trimmed)
	}
	if a := by["many.a"]; len(a) != 10 || a[9].Seq != seq {
		t.Errorf("left: %v", seqsOf(a))
	}
	if by, trimmed := readManyAll(t, h.Log, fitting(t, "many.*"), origin(t, h.Log), 100); len(trimmed) > 0 || len(by["many.b"]) != 2 {
		t.Errorf("from the start: trimmed %v, %v", trimmed, seqsOf(by["many.b"]))
	}
}

// manyNotBeforeDurable: a tail, a page and a position show nothing that could still be lost.
func manyNotBeforeDurable(t *testing.T, h Harness) {
	say(t, h.Log, "many.a", "shown")
	ls, before, _ := listenMany(t, h.Log, fitting(t, "many.*"))
	release := h.Hold()
	out := appendAsync(t, h.Log, text("many.a", "held"))
	h.Tick()
	by, _ := readManyAll(t, h.Log, fitting(t, "many.*"), origin(t, h.Log), 10)
	_, at, stop := listenMany(t, h.Log, fitting(t, "many.*"))
	stop()
	if part := h.Log.Part("many.a"); len(by["many.a"]) != 1 || at[part] != before[part] || ls.rooms() > 0 {
		t.Errorf("while it is held: %v, a tail at %v, %d rooms told", seqsOf(by["many.a"]), at, ls.rooms())
	}
	release()
	seq := wait(t, out).Seq
	wantSeqs(t, "released", ls.until("many.a", seq), []uint64{seq})
}
