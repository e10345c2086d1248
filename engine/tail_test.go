package engine_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/engine"
)

// tail collects what a follower is given.
type tail struct {
	t     testing.TB
	mu    sync.Mutex
	calls int
	seqs  []uint64
	grew  chan struct{}
	last  uint64
	stop  func()
}

func follow(t testing.TB, e *engine.Engine, room string) *tail {
	t.Helper()
	tl := &tail{t: t, grew: make(chan struct{}, 1)}
	var err error
	tl.last, tl.stop, err = e.Follow(t.Context(), room, func(ms []*parley.Message) {
		tl.mu.Lock()
		defer tl.mu.Unlock()
		tl.calls++
		for _, m := range ms {
			tl.seqs = append(tl.seqs, m.Seq)
		}
		select {
		case tl.grew <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return tl
}

func (tl *tail) all() []uint64 {
	tl.mu.Lock()
	defer tl.mu.Unlock()
	return slices.Clone(tl.seqs)
}

// want waits for exactly these.
func (tl *tail) want(seqs []uint64) {
	tl.t.Helper()
	deadline := time.After(30 * time.Second)
	for len(tl.all()) < len(seqs) {
		select {
		case <-tl.grew:
		case <-deadline:
			tl.t.Fatalf("the tail brought %v, want %v", tl.all(), seqs)
		}
	}
	if got := tl.all(); !slices.Equal(got, seqs) {
		tl.t.Fatalf("the tail brought %v, want %v", got, seqs)
	}
}

func sayMany(t testing.TB, e *engine.Engine, room string, n int) (seqs []uint64) {
	t.Helper()
	var mu sync.Mutex
	var left sync.WaitGroup
	for i := range n {
		left.Add(1)
		err := e.Append(t.Context(), parley.Draft{Room: room, ID: fmt.Sprint(i), Body: []byte("x")}, func(r parley.Receipt, err error) {
			defer left.Done()
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seqs = append(seqs, r.Seq)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	left.Wait()
	slices.Sort(seqs)
	return seqs
}

// A live copy that never came shows by the prev of the next one in its room.
func TestAGapInTheTailIsFilledFromTheLog(t *testing.T) {
	e := open(t, engine.Config{Partitions: 1, SafetyCheck: time.Hour}.LosingCopies(func(seq uint64) bool { return seq%3 == 0 }))
	a, b := follow(t, e, "a"), follow(t, e, "b")
	var wantA, wantB []uint64
	for range 50 {
		wantA = append(wantA, sayMany(t, e, "a", 3)...)
		wantB = append(wantB, sayMany(t, e, "b", 1)...)
	}
	for len(a.all()) < len(wantA) || len(b.all()) < len(wantB) { // the very last may be one that is lost
		say := sayMany(t, e, "a", 1)
		wantA = append(wantA, say...)
		wantB = append(wantB, sayMany(t, e, "b", 1)...)
		if len(wantA) > 2000 {
			break
		}
	}
	got := a.all()
	if !slices.Equal(got, wantA[:len(got)]) || len(got) < 150 {
		t.Errorf("a: %v, want %v", got, wantA)
	}
	if got := b.all(); !slices.Equal(got, wantB[:len(got)]) || len(got) < 50 {
		t.Errorf("b: %v, want %v", got, wantB)
	}
}

// A room whose last messages were stored and never republished says nothing more: only asking the
// log finds them.
func TestTheSafetyCheckFindsWhatWasNeverRepublished(t *testing.T) {
	for name, loses := range map[string]func(uint64) bool{
		"in the middle of the partition": func(seq uint64) bool { return seq > 10 && seq <= 20 },
		"at its end":                     func(seq uint64) bool { return seq > 10 },
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t, engine.Config{Partitions: 1, SafetyCheck: 20 * time.Millisecond}.LosingCopies(loses))
			a := follow(t, e, "a")
			want := sayMany(t, e, "a", 20)
			sayMany(t, e, "b", 20)
			a.want(want)
			if s := e.Stats(); s.SafetyFinds == 0 {
				t.Errorf("%+v", s)
			}
			p, err := e.Read(t.Context(), "a", 0, 100)
			if err != nil || len(p.Messages) != 20 {
				t.Errorf("a page has %d, %v", len(p.Messages), err)
			}
		})
	}
}

// An id that is repeated is answered with the first seq, and that message is not republished.
func TestADuplicateHasItsRoomLookedAt(t *testing.T) {
	e := open(t, engine.Config{Partitions: 1, SafetyCheck: time.Hour}.LosingCopies(func(seq uint64) bool { return seq == 1 }))
	a := follow(t, e, "a")
	d := parley.Draft{Room: "a", ID: "1", From: "ada", Body: []byte("x"), Retry: true}
	first := say(t, e, d)
	sayMany(t, e, "b", 1) // the partition's tail goes on
	for len(a.all()) == 0 {
		say(t, e, d)
	}
	a.want([]uint64{first.Seq})
}

// Acked messages whose live copies have not come stay in flight, so that the tail is never further
// behind than the bound; the safety check ends their flight.
func TestAppendsWaitForTheTail(t *testing.T) {
	e := open(t, engine.Config{Partitions: 1, MaxInflight: 600, SafetyCheck: 50 * time.Millisecond}.LosingCopies(func(uint64) bool { return true }))
	seqs := sayMany(t, e, "a", 3000)
	if len(seqs) != 3000 {
		t.Errorf("%d acks", len(seqs))
	}
	if s := e.Stats(); s.Waited == 0 {
		t.Errorf("%+v", s)
	}
}

// A busy room's follower is given what one sync has covered in one call.
func TestMessagesOfOneSyncComeTogether(t *testing.T) {
	disk := newFaultySync()
	e := open(t, engine.Config{Partitions: 1, Sync: disk.sync})
	a := follow(t, e, "a")
	release := disk.hold()
	begun := disk.rounds()
	first := make(chan struct{})
	_ = e.Append(t.Context(), parley.Draft{Room: "a", ID: "0", Body: []byte("x")}, func(parley.Receipt, error) { close(first) })
	disk.untilRound(begun + 1)
	go func() {
		for e.Held() < 101 {
			tick()
		}
		release()
	}()
	seqs := sayMany(t, e, "a", 100)
	<-first
	a.want(append([]uint64{seqs[0] - 1}, seqs...))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls > 3 {
		t.Errorf("101 messages came in %d calls", a.calls)
	}
}

// The store's write error stays until it is opened again: followers live through that, and what
// was stored meanwhile reaches them.
func TestFollowersOutliveAReopenedStore(t *testing.T) {
	e := open(t, engine.Config{SafetyCheck: 50 * time.Millisecond, AppendTimeout: 2 * time.Second})
	tails := make(map[string]*tail)
	for i := range 20 {
		room := fmt.Sprint("room", i)
		tails[room] = follow(t, e, room)
	}
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for s := range 4 {
		senders.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				done := make(chan struct{})
				d := parley.Draft{Room: fmt.Sprint("room", (s+i)%20), ID: fmt.Sprint(s, i), Body: []byte("x")}
				if e.Append(t.Context(), d, func(parley.Receipt, error) { close(done) }) == nil {
					<-done
				} else {
					tick()
				}
			}
		})
	}
	for n := range uint64(3) {
		was := e.Stats().Appended
		for e.Stats().Appended < was+100 {
			tick()
		}
		e.Break("a test says so")
		for e.Stats().Reopened < n+1 {
			tick()
		}
	}
	close(stop)
	senders.Wait()
	for room, tl := range tails {
		sayMany(t, e, room, 1)
		var want []uint64
		for _, m := range readAll(t, e, room) {
			want = append(want, m.Seq)
		}
		tl.want(want)
	}
	if err := e.Ready(); err != nil {
		t.Error(err)
	}
}

// A follower that has fallen far behind keeps little: what it cannot keep, it reads again.
func TestAFollowerFarBehindReadsItAll(t *testing.T) {
	const n = 3 * engine.MaxPendingMessages
	e := open(t, engine.Config{Partitions: 1}.LosingCopies(func(seq uint64) bool { return seq == 2 }))
	a := follow(t, e, "a")
	a.want(sayMany(t, e, "a", n))
	if s := e.Stats(); s.GapFills == 0 {
		t.Errorf("%+v", s)
	}
}

// What the store does not republish, a tail of many rooms finds in the log: when the next message
// shows the hole, and where none comes, by the clock.
func TestTheTailOfManyRoomsMissesNoMessageWhoseCopyIsLost(t *testing.T) {
	t.Parallel()
	e := open(t, engine.Config{Partitions: 2, SafetyCheck: 20 * time.Millisecond}.LosingCopies(func(seq uint64) bool {
		return seq%5 == 0 || seq > 90
	}))
	got := make(chan *parley.Message, 1000)
	_, stop, err := e.FollowMany(t.Context(), func(room string) bool { return room != "others" },
		func(_ int, _ uint64, ms []*parley.Message) {
			for _, m := range ms {
				got <- m
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	want := make(map[string][]uint64)
	total := 0
	for range 20 {
		for _, room := range []string{"a", "b", "c", "others"} {
			seqs := sayMany(t, e, room, 2)
			if room != "others" {
				want[room] = append(want[room], seqs...)
				total += len(seqs)
			}
		}
	}
	have := make(map[string][]uint64)
	deadline := time.After(30 * time.Second)
	for range total {
		select {
		case m := <-got:
			if last := have[m.Room]; len(last) > 0 && m.Prev != last[len(last)-1] {
				t.Errorf("%s: prev of %d is %d behind %v", m.Room, m.Seq, m.Prev, last)
			}
			have[m.Room] = append(have[m.Room], m.Seq)
		case <-deadline:
			t.Fatalf("the tail brought %v, want %v", have, want)
		}
	}
	for room, seqs := range want {
		slices.Sort(seqs)
		if !slices.Equal(have[room], seqs) {
			t.Errorf("%s: the tail brought %v, want %v", room, have[room], seqs)
		}
	}
}
