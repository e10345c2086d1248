package logtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"parley"
)

// chatter has senders talk in rooms until it is told to stop, which gives the last seq of room.
func chatter(t *testing.T, l parley.Log, rooms ...string) (quiet func(room string) uint64) {
	var stop atomic.Bool
	var senders sync.WaitGroup
	var mu sync.Mutex
	last := make(map[string]uint64)
	for s := range 4 {
		senders.Go(func() {
			for i := 0; !stop.Load(); i++ {
				room := rooms[(i+s)%len(rooms)]
				c := make(chan outcome, 1)
				err := l.Append(context.Background(), text(room, fmt.Sprint(s, "-", i)), func(r parley.Receipt, err error) { c <- outcome{r, err} })
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				o := wait(t, c)
				mu.Lock()
				last[room] = max(last[room], o.Seq)
				mu.Unlock()
			}
		})
	}
	finish := sync.OnceFunc(func() { stop.Store(true); senders.Wait() })
	t.Cleanup(finish)
	return func(room string) uint64 {
		finish()
		return last[room]
	}
}

func followRaces(t *testing.T, h Harness) {
	rooms := []string{"a", "b", "c", "d", "e"}
	for range 5 {
		quiet := chatter(t, h.Log, rooms...)
		type tail struct {
			ls   *listener
			last uint64
			stop func()
		}
		tails := make(map[string]tail)
		for _, room := range rooms {
			warm, _, stop := listen(t, h.Log, room) // what has come proves that the senders are at it
			warm.until(1)
			stop()
			ls, last, stop := listen(t, h.Log, room)
			tails[room] = tail{ls, last, stop}
		}
		for _, room := range rooms {
			newest := max(quiet(room), say(t, h.Log, room, "the last word"))
			got := tails[room].ls.until(newest)
			want := readBehind(t, h.Log, room, tails[room].last)
			wantSeqs(t, "the tail of "+room, got, want)
			if len(got) > 0 && got[0].Prev != tails[room].last {
				t.Errorf("prev of the first is %d, and last was %d", got[0].Prev, tails[room].last)
			}
			checkChain(t, got)
			tails[room].stop()
		}
	}
}

// readBehind gives the seqs of the room above after.
func readBehind(t *testing.T, l parley.Log, room string, after uint64) []uint64 {
	t.Helper()
	var out []uint64
	for {
		p := read(t, l, room, after, 1000)
		out = append(out, seqsOf(p.Messages)...)
		if !p.More {
			return out
		}
		after = out[len(out)-1]
	}
}

func followAndRead(t *testing.T, h Harness) {
	ls, _, _ := listen(t, h.Log, "a")
	quiet := chatter(t, h.Log, "a", "b")
	ls.until(1)
	var seen uint64
	for range 50 {
		p := read(t, h.Log, "a", seen, 20)
		if p.Trimmed {
			t.Fatalf("after %d: trimmed", seen)
		}
		checkChain(t, p.Messages)
		if n := len(p.Messages); n > 0 {
			if p.Messages[0].Prev != seen {
				t.Fatalf("after %d: prev of the first is %d", seen, p.Messages[0].Prev)
			}
			seen = p.Messages[n-1].Seq
		}
		at, err := h.Log.Back(context.Background(), "a", 0, 12)
		if err != nil {
			t.Fatal(err)
		}
		if p := read(t, h.Log, "a", at, 12); at > 0 && len(p.Messages) < 12 {
			t.Fatalf("the newest 12 lie behind %d, and a page from there has %d", at, len(p.Messages))
		}
	}
	newest := quiet("a")
	wantSeqs(t, "the tail", ls.until(newest), readBehind(t, h.Log, "a", 0))
}

func stopStops(t *testing.T, h Harness) {
	quiet := chatter(t, h.Log, "a")
	for range 20 {
		var stopped atomic.Bool
		_, stop, err := h.Log.Follow(context.Background(), "a", func([]*parley.Message) {
			if stopped.Load() {
				t.Error("deliver was called after stop had returned")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		stop()
		stopped.Store(true)
		say(t, h.Log, "a", "more")
	}
	quiet("a")
	ls, last, _ := listen(t, h.Log, "a")
	seq := say(t, h.Log, "a", "one more")
	wantSeqs(t, "a new tail", ls.until(seq), []uint64{seq})
	if m := ls.messages()[0]; m.Prev != last {
		t.Errorf("prev is %d, and last was %d", m.Prev, last)
	}
}

func oneFollower(t *testing.T, h Harness) {
	_, _, stop := listen(t, h.Log, "a")
	if _, _, err := h.Log.Follow(context.Background(), "a", func([]*parley.Message) {}); err == nil {
		t.Error("a second follower was taken")
	}
	stop()
	listen(t, h.Log, "a")
}

// wantNothingShown checks that the room shows nothing, in any way.
func wantNothingShown(t *testing.T, l parley.Log, room string, ls *listener) {
	t.Helper()
	if p := read(t, l, room, 0, 10); len(p.Messages) > 0 || p.More {
		t.Errorf("a page shows %v", seqsOf(p.Messages))
	}
	if at, err := l.Back(context.Background(), room, 0, 0); at != 0 || err != nil {
		t.Errorf("back shows %d, %v", at, err)
	}
	if _, last, stop := listen(t, l, room+"-"); last != 0 {
		t.Errorf("follow shows %d", last)
	} else {
		stop()
	}
	rooms, err := l.Rooms(context.Background())
	if err != nil || len(rooms) > 0 {
		t.Errorf("the list shows %v, %v", rooms, err)
	}
	if got := ls.messages(); len(got) > 0 {
		t.Errorf("the tail shows %v", seqsOf(got))
	}
}

func notBeforeDurable(t *testing.T, h Harness) {
	ls, _, _ := listen(t, h.Log, "a")
	release := h.Hold()
	defer release()
	var outs []<-chan outcome
	for i := range 20 {
		outs = append(outs, appendAsync(t, h.Log, text("a", fmt.Sprint(i))), appendAsync(t, h.Log, text("a-", fmt.Sprint(i))))
	}
	wantNothingShown(t, h.Log, "a", ls)
	for _, c := range outs {
		select {
		case o := <-c:
			t.Fatalf("acked before it was durable: %+v", o)
		default:
		}
	}
	other, last, _ := listen(t, h.Log, "a-")
	if last != 0 {
		t.Errorf("last shows %d", last)
	}
	release()
	for _, c := range outs {
		if o := wait(t, c); o.err != nil {
			t.Fatal(o.err)
		}
	}
	for room, ls := range map[string]*listener{"a": ls, "a-": other} {
		want := readBehind(t, h.Log, room, 0)
		if len(want) != 20 {
			t.Fatalf("%q has %d messages", room, len(want))
		}
		wantSeqs(t, "the tail of "+room, ls.until(want[19]), want)
	}
}

func duplicateWaits(t *testing.T, h Harness) {
	release := h.Hold()
	defer release()
	d := parley.Draft{Room: "a", From: "ada", ID: "1", Body: []byte("x"), Retry: true}
	first, second := appendAsync(t, h.Log, d), appendAsync(t, h.Log, d)
	read(t, h.Log, "a", 0, 1)
	select {
	case o := <-second:
		t.Fatalf("the duplicate was acked before the first was durable: %+v", o)
	default:
	}
	release()
	a, b := wait(t, first), wait(t, second)
	if a.err != nil || b.err != nil || a.Seq != b.Seq || a.Duplicate || !b.Duplicate {
		t.Errorf("first %+v, second %+v", a, b)
	}
}

func failedDisk(t *testing.T, h Harness) {
	ls, _, _ := listen(t, h.Log, "a")
	release := h.Hold()
	var outs []<-chan outcome
	for i := range 10 {
		outs = append(outs, appendAsync(t, h.Log, text("a", fmt.Sprint(i))))
	}
	h.Fail(errors.New("input/output error"))
	release()
	for _, c := range outs {
		wantUnavailable(t, "an append under way", wait(t, c).err)
	}
	wantNothingShown(t, h.Log, "a", ls)
	err := h.Log.Append(context.Background(), text("a", "later"), func(parley.Receipt, error) {
		t.Error("done was called though Append has failed")
	})
	wantUnavailable(t, "an append after it", err)
	if h.Log.Ready() == nil {
		t.Error("it says that it is ready")
	}
	for _, c := range outs {
		select {
		case o := <-c:
			t.Errorf("a second outcome: %+v", o)
		default:
		}
	}
}
