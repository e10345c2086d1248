package logtest

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"parley"
)

func pagesJoin(t *testing.T, h Harness) {
	seqs := fill(t, h.Log, "lobby", 30)
	for _, followed := range []bool{false, true} {
		if followed {
			listen(t, h.Log, "lobby")
			seqs = append(seqs, fill(t, h.Log, "lobby", 30)...)
		}
		for _, limit := range []int{1, 2, 7, 29, 30, 31, 59, 60, 61, 1000} {
			wantSeqs(t, fmt.Sprintf("pages of %d, followed %v", limit, followed), readAll(t, h.Log, "lobby", limit), seqs)
		}
	}
}

func pageBytes(t *testing.T, h Harness) {
	for _, followed := range []bool{false, true} {
		room := fmt.Sprint("big-", followed)
		if followed {
			listen(t, h.Log, room)
		}
		body := bytes.Repeat([]byte("x"), 60<<10)
		var outs []<-chan outcome
		for i := range 40 {
			outs = append(outs, appendAsync(t, h.Log, parley.Draft{Room: room, ID: fmt.Sprint(i), Body: body}))
		}
		for _, c := range outs {
			if o := wait(t, c); o.err != nil {
				t.Fatal(o.err)
			}
		}
		p := read(t, h.Log, room, 0, 1000)
		n := len(p.Messages)
		if size := n * len(body); !p.More || size < parley.MaxPageBytes || size-len(body) >= parley.MaxPageBytes {
			t.Errorf("a page of %d messages with %d bytes, more %v", n, size, p.More)
		}
		if all := readAll(t, h.Log, room, 1000); len(all) != 40 {
			t.Errorf("%d messages, want 40", len(all))
		}
	}
}

// everyFollowed runs the check on a room that is not followed, on one that is followed from its
// middle, and on one that is followed from the start.
func everyFollowed(t *testing.T, h Harness, n int, check func(t *testing.T, room string, seqs []uint64)) {
	for _, from := range []int{n, n / 2, 0} {
		room := fmt.Sprint("room", from)
		seqs := fill(t, h.Log, room, from)
		if from < n {
			listen(t, h.Log, room)
			seqs = append(seqs, fill(t, h.Log, room, n-from)...)
		}
		t.Run(fmt.Sprintf("followed behind %d of %d", from, n), func(t *testing.T) { check(t, room, seqs) })
	}
}

func readEdges(t *testing.T, h Harness) {
	everyFollowed(t, h, 20, func(t *testing.T, room string, seqs []uint64) {
		last := len(seqs) - 1
		for i, seq := range seqs {
			for _, after := range []uint64{seq - 1, seq} {
				first := i
				if after == seq {
					first++
				}
				for _, limit := range []int{1, 5, 100} {
					p := read(t, h.Log, room, after, limit)
					end := min(first+limit, len(seqs))
					wantSeqs(t, fmt.Sprintf("after %d, limit %d", after, limit), p.Messages, seqs[first:end])
					if p.More != (end < len(seqs)) {
						t.Errorf("after %d, limit %d: more is %v", after, limit, p.More)
					}
					if p.Trimmed {
						t.Errorf("after %d, limit %d: trimmed", after, limit)
					}
					if first == 0 || first > last {
						continue
					}
					if got := p.Messages[0].Prev; got != seqs[first-1] {
						t.Errorf("after %d, limit %d: prev of the first is %d, want %d", after, limit, got, seqs[first-1])
					}
				}
			}
		}
		for _, after := range []uint64{seqs[last], seqs[last] + 1, seqs[last] + 1000, math.MaxUint64} {
			if p := read(t, h.Log, room, after, 10); len(p.Messages) > 0 || p.More || p.Trimmed {
				t.Errorf("after %d, beyond the newest: %+v", after, p)
			}
		}
	})
}

func backPositions(t *testing.T, h Harness) {
	everyFollowed(t, h, 40, func(t *testing.T, room string, seqs []uint64) {
		befores := map[uint64]int{0: len(seqs), math.MaxUint64: len(seqs), seqs[len(seqs)-1] + 1: len(seqs), 1: 0}
		for i, seq := range seqs {
			befores[seq] = i
		}
		for before, below := range befores {
			for _, n := range []int{0, 1, 2, 9, 13, 39, 40, 41, 1000} {
				var want uint64
				if i := below - n - 1; i >= 0 {
					want = seqs[i]
				}
				if got, err := h.Log.Back(context.Background(), room, before, n); got != want || err != nil {
					t.Errorf("back %d before %d: %d, %v, want %d", n, before, got, err, want)
				}
			}
		}
	})
}

func sincePositions(t *testing.T, h Harness) {
	var prev uint64
	for i := range 10 {
		h.Tick()
		say(t, h.Log, "other", fmt.Sprint(i))
		say(t, h.Log, "lobby", fmt.Sprint(i))
	}
	since := func(at time.Time) uint64 {
		got, err := h.Log.Since(context.Background(), "lobby", at)
		if err != nil {
			t.Fatalf("since %v: %v", at, err)
		}
		return got
	}
	all := readAll(t, h.Log, "lobby", 100)
	for _, m := range all {
		for d, want := range map[time.Duration]uint64{0: prev, -1: prev, -time.Microsecond: prev, 1: m.Seq, time.Microsecond: m.Seq} {
			if got := since(m.At.Add(d)); got != want {
				t.Errorf("since %v of message %d: %d, want %d", d, m.Seq, got, want)
			}
		}
		prev = m.Seq
	}
	if got := since(all[9].At.Add(time.Hour)); got != prev {
		t.Errorf("since a time to come: %d, want %d", got, prev)
	}
	for _, long := range []time.Time{all[0].At.Add(-time.Hour), time.Unix(0, 0), {}} {
		if got := since(long); got != 0 {
			t.Errorf("since %v: %d, want 0", long, got)
		}
	}
}

func listRooms(t *testing.T, h Harness) {
	rooms, err := h.Log.Rooms(context.Background())
	if err != nil || len(rooms) != 0 {
		t.Fatalf("rooms of an empty log: %v, %v", rooms, err)
	}
	names := []string{"A", "_INBOX.x", "a", "a-b", "a.b", "lobby", "ä", "雪"}
	want := make(map[string]parley.RoomInfo)
	for i, name := range names {
		for n := range i + 1 {
			want[name] = parley.RoomInfo{Name: name, Seq: say(t, h.Log, name, fmt.Sprint(n)), Messages: uint64(n + 1)}
		}
	}
	listen(t, h.Log, "only-followed")
	rooms, err = h.Log.Rooms(context.Background())
	if err != nil || len(rooms) != len(names) {
		t.Fatalf("rooms: %v, %v", rooms, err)
	}
	for i, name := range names {
		if rooms[i] != want[name] {
			t.Errorf("room %d is %+v, want %+v", i, rooms[i], want[name])
		}
	}
}

func readCancelled(t *testing.T, h Harness) {
	say(t, h.Log, "lobby", "hi")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := h.Log.Read(ctx, "lobby", 0, 10)
	wantUnavailable(t, "read", err)
	_, err = h.Log.Back(ctx, "lobby", 0, 10)
	wantUnavailable(t, "back", err)
	_, err = h.Log.Since(ctx, "lobby", time.Now().Add(-time.Hour))
	wantUnavailable(t, "since", err)
	read(t, h.Log, "lobby", 0, 10)
}

func retention(t *testing.T, h Harness) {
	few := fill(t, h.Log, "few", 5)
	seqs := fill(t, h.Log, "lobby", 25)
	checkRetention(t, h, seqs)
	wantSeqs(t, "the room with few", readAll(t, h.Log, "few", 100), few)
	if p := read(t, h.Log, "few", few[0]-1, 100); p.Trimmed {
		t.Error("the room with few is trimmed")
	}
}

func retentionFollowed(t *testing.T, h Harness) {
	listen(t, h.Log, "lobby")
	checkRetention(t, h, fill(t, h.Log, "lobby", 25))
}

// checkRetention expects the last 10 of 25 to be left.
func checkRetention(t *testing.T, h Harness, seqs []uint64) {
	t.Helper()
	left := seqs[15:]
	for i, seq := range seqs {
		p := read(t, h.Log, "lobby", seq, 100)
		from := max(i+1, 15)
		wantSeqs(t, fmt.Sprintf("after message %d", i), p.Messages, seqs[from:])
		switch {
		case i < 14 && !p.Trimmed:
			t.Errorf("after message %d: not trimmed, and some are gone", i)
		case i >= 15 && p.Trimmed:
			t.Errorf("after message %d: trimmed, and none is gone", i)
		}
		if from > 15 && from < 25 && p.Messages[0].Prev != seqs[from-1] {
			t.Errorf("after message %d: prev of the first is %d", i, p.Messages[0].Prev)
		}
	}
	if p := read(t, h.Log, "lobby", 0, 100); p.Trimmed || len(p.Messages) != 10 || p.Messages[0].Prev >= left[0] {
		t.Errorf("what is left: %+v", p)
	}
	for n, want := range map[int]uint64{3: seqs[21], 9: seqs[15], 10: 0, 20: 0} {
		if got, err := h.Log.Back(context.Background(), "lobby", 0, n); got != want || err != nil {
			t.Errorf("back %d: %d, %v, want %d", n, got, err, want)
		}
	}
	rooms, err := h.Log.Rooms(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rooms {
		if r.Name == "lobby" && (r.Messages != 10 || r.Seq != seqs[24]) {
			t.Errorf("the list says %+v", r)
		}
	}
}

func notTrimmed(t *testing.T, h Harness) {
	for i := range 30 {
		say(t, h.Log, "other", fmt.Sprint(i))
	}
	seqs := fill(t, h.Log, "lobby", 20)
	for after := uint64(1); after <= seqs[19]; after++ {
		if p := read(t, h.Log, "lobby", after, 10); p.Trimmed {
			t.Fatalf("after %d: trimmed, and nothing was ever removed", after)
		}
	}
}

func forWorkers(t *testing.T, h Harness) {
	d := text("r", "x")
	d.Key, d.Priority, d.Expires = "user 7", 9, time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	ls, _, _ := listen(t, h.Log, "r")
	seq := put(t, h.Log, d).Seq
	for what, m := range map[string]*parley.Message{"read": read(t, h.Log, "r", 0, 1).Messages[0], "the tail": ls.until(seq)[0]} {
		if m.Key != d.Key || m.Priority != d.Priority || !m.Expires.Equal(d.Expires) || string(m.Body) != "x" {
			t.Errorf("%s: %+v", what, m)
		}
	}
}
