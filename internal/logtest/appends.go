package logtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"parley"
)

func unknownRoom(t *testing.T, h Harness) {
	say(t, h.Log, "other", "so that seqs are taken")
	if p := read(t, h.Log, "nobody", 0, 10); len(p.Messages) > 0 || p.More || p.Trimmed {
		t.Errorf("page of an unknown room: %+v", p)
	}
	if p := read(t, h.Log, "nobody", 1, 10); len(p.Messages) > 0 || p.More || p.Trimmed {
		t.Errorf("page behind 1 of an unknown room: %+v", p)
	}
	for _, n := range []int{0, 1, 50} {
		if at, err := h.Log.Back(context.Background(), "nobody", 0, n); at != 0 || err != nil {
			t.Errorf("back %d in an unknown room: %d, %v", n, at, err)
		}
	}
	if at, err := h.Log.Since(context.Background(), "nobody", time.Now().Add(-time.Hour)); at != 0 || err != nil {
		t.Errorf("since in an unknown room: %d, %v", at, err)
	}
	if _, last, _ := listen(t, h.Log, "nobody"); last != 0 {
		t.Errorf("last of an unknown room: %d", last)
	}
	if err := h.Log.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
}

func comeBack(t *testing.T, h Harness) {
	drafts := []parley.Draft{
		{Room: "lobby", ID: "1", From: "ada", Body: []byte("hi")},
		{Room: "ops.deploys", ID: "1", From: "ada", Type: parley.JSON, Body: []byte(`{"a":1}`), Session: 1<<64 - 1},
		{Room: "lobby", ID: "~!@ #$%^&*()", From: "Zoë 雪 🙂", Type: parley.Binary, Body: []byte{0, 255, '\r', '\n'}, Session: 7},
		{Room: "雪-Ünï_cödé", ID: "x", From: "guest", Body: []byte("NATS/1.0\r\nNats-Sequence: 99\r\n\r\n")},
		{Room: "_INBOX.x", ID: "", From: "", Body: nil},
		{Room: "lobby", ID: "1", From: "ada", Body: []byte("hi")},
	}
	before := time.Now().Add(-time.Minute)
	got := make(map[string][]*parley.Message)
	seqs := make([]uint64, len(drafts))
	for i, d := range drafts {
		seqs[i] = put(t, h.Log, d).Seq
		got[d.Room] = nil
	}
	for room := range got {
		got[room] = readAll(t, h.Log, room, 100)
		if got[room][0].Prev != 0 {
			t.Errorf("prev of the first of %q: %d", room, got[room][0].Prev)
		}
	}
	for i, d := range drafts {
		m := got[d.Room][0]
		got[d.Room] = got[d.Room][1:]
		if m.Room != d.Room || m.Seq != seqs[i] || m.ID != d.ID || m.From != d.From || m.Type != d.Type ||
			m.Session != d.Session || string(m.Body) != string(d.Body) {
			t.Errorf("message %d is %+v, was %+v at %d", i, m, d, seqs[i])
		}
		if m.At.Location() != time.UTC || m.At.Nanosecond()%int(time.Millisecond) != 0 || m.At.Before(before) {
			t.Errorf("message %d has time %v", i, m.At)
		}
	}
}

func keepOrder(t *testing.T, h Harness) {
	const senders, each = 8, 50
	type sent struct {
		mu   sync.Mutex
		seqs []uint64
	}
	var all [senders]sent
	var left sync.WaitGroup
	for s := range senders {
		left.Add(each)
		go func() {
			for i := range each {
				d := text("lobby", fmt.Sprint(s, " ", i))
				err := h.Log.Append(context.Background(), d, func(r parley.Receipt, err error) {
					defer left.Done()
					if err != nil {
						t.Errorf("append: %v", err)
					}
					all[s].mu.Lock()
					all[s].seqs = append(all[s].seqs, r.Seq)
					all[s].mu.Unlock()
				})
				if err != nil {
					t.Errorf("append: %v", err)
					left.Done()
				}
			}
		}()
	}
	left.Wait()
	next := [senders]int{}
	acked := make(map[uint64]bool)
	for s := range all {
		for _, seq := range all[s].seqs {
			if acked[seq] {
				t.Errorf("seq %d was acked twice", seq)
			}
			acked[seq] = true
		}
	}
	for _, m := range readAll(t, h.Log, "lobby", 1000) {
		var s, i int
		if _, err := fmt.Sscan(string(m.Body), &s, &i); err != nil {
			t.Fatal(err)
		}
		if next[s] != i {
			t.Fatalf("sender %d: message %d where %d is due", s, i, next[s])
		}
		next[s]++
		if !acked[m.Seq] {
			t.Errorf("seq %d was never acked", m.Seq)
		}
	}
	for s, n := range next {
		if n != each {
			t.Errorf("sender %d: %d messages", s, n)
		}
	}
}

func storedOnce(t *testing.T, h Harness) {
	ls, _, _ := listen(t, h.Log, "lobby")
	retry := func(room, from, id string) parley.Receipt {
		return put(t, h.Log, parley.Draft{Room: room, From: from, ID: id, Body: []byte(id), Retry: true})
	}
	first := retry("lobby", "ada", "1")
	for range 3 {
		if r := retry("lobby", "ada", "1"); r.Seq != first.Seq || !r.Duplicate {
			t.Errorf("repeated id: %+v, want a duplicate of %d", r, first.Seq)
		}
	}
	var last parley.Receipt
	for _, d := range []parley.Draft{
		{Room: "lobby", From: "bob", ID: "1", Retry: true},
		{Room: "lobby", From: "ada", ID: "2", Retry: true},
		{Room: "lobby", From: "ad", ID: "a1", Retry: true},
		{Room: "lobby", From: "ada1", ID: "", Retry: true},
		{Room: "lobby2", From: "ada", ID: "1", Retry: true},
		{Room: "lobby", From: "ada", ID: "1"},
		{Room: "lobby", From: "ada", ID: "3"},
		{Room: "lobby", From: "ada", ID: "3"},
		{Room: "lobby", From: "ada", ID: "3", Retry: true},
	} {
		d.Body = []byte("x")
		r := put(t, h.Log, d)
		if r.Duplicate || r.Seq <= first.Seq {
			t.Errorf("%+v: %+v, want a message of its own", d, r)
		}
		if d.Room == "lobby" {
			last = r
		}
	}
	if got := readAll(t, h.Log, "lobby", 100); len(got) != 9 {
		t.Errorf("%d messages are stored, want 9", len(got))
	}
	if got := ls.until(last.Seq); len(got) != 9 {
		t.Errorf("%d messages were delivered, want 9", len(got))
	}
}

func retryInFlight(t *testing.T, h Harness) {
	d := parley.Draft{Room: "lobby", From: "ada", ID: "1", Body: []byte("x"), Retry: true}
	var all [20]<-chan outcome
	for i := range all {
		all[i] = appendAsync(t, h.Log, d)
	}
	first := wait(t, all[0])
	if first.err != nil || first.Duplicate {
		t.Fatalf("first: %+v", first)
	}
	for _, c := range all[1:] {
		if o := wait(t, c); o.err != nil || o.Seq != first.Seq || !o.Duplicate {
			t.Errorf("repeated: %+v, want a duplicate of %d", o, first.Seq)
		}
	}
	if got := readAll(t, h.Log, "lobby", 10); len(got) != 1 {
		t.Errorf("%d messages are stored", len(got))
	}
}

func bodyNotKept(t *testing.T, h Harness) {
	ls, _, _ := listen(t, h.Log, "lobby")
	body := make([]byte, 5000)
	var outs []<-chan outcome
	for i := range 50 {
		for j := range body {
			body[j] = byte('a' + i%26)
		}
		outs = append(outs, appendAsync(t, h.Log, parley.Draft{Room: "lobby", ID: fmt.Sprint(i), Body: body}))
	}
	clear(body)
	var last uint64
	for _, c := range outs {
		last = wait(t, c).Seq
	}
	for where, ms := range map[string][]*parley.Message{"read": readAll(t, h.Log, "lobby", 100), "delivered": ls.until(last)} {
		if len(ms) != 50 {
			t.Fatalf("%s: %d messages", where, len(ms))
		}
		for i, m := range ms {
			for _, b := range m.Body {
				if b != byte('a'+i%26) {
					t.Fatalf("%s: message %d holds %q", where, i, b)
				}
			}
		}
	}
}

func backPressure(t *testing.T, h Harness) {
	release := h.Hold()
	defer release()
	var outs []<-chan outcome
	for i := range 600 {
		outs = append(outs, appendAsync(t, h.Log, text("lobby", fmt.Sprint(i))))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := h.Log.Append(ctx, text("lobby", "one too many"), func(parley.Receipt, error) {
		t.Error("done was called though Append has failed")
	})
	wantUnavailable(t, "append beyond the bound", err)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error does not say that the context has ended: %v", err)
	}
	release()
	for _, c := range outs {
		if o := wait(t, c); o.err != nil {
			t.Fatal(o.err)
		}
	}
	say(t, h.Log, "lobby", "there is room again")
	if got := readAll(t, h.Log, "lobby", 1000); len(got) != 601 {
		t.Errorf("%d messages, want 601", len(got))
	}
}
