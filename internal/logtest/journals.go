package logtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"parley"
)

// RunJournals checks everything that parley.Journals promises of a log that is one too.
func RunJournals(t *testing.T, open func(t *testing.T, s Settings) Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness, parley.Journals)
	}{
		{"an unknown journal is empty", unknownJournal},
		{"records come back as written, in order", recordsComeBack},
		{"any bytes name a journal, and none is a room", journalNames},
		{"trim removes up to a seq and leaves the rest", trimJournal},
		{"nothing is read before it is durable", recordsBeforeDurable},
		{"a room's retention does not touch a journal", journalsAreKept},
		{"a record that is not the next one is refused, and no other", nextRecords},
		{"what cannot be written is refused", recordsRefused},
		{"a failed disk takes no record", recordsFail},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := open(t, Settings{RetainMessages: 10})
			test.run(t, h, h.Log.(parley.Journals))
		})
	}
}

func recordAsync(t *testing.T, j parley.Journals, journal, text string) <-chan outcome {
	t.Helper()
	c := make(chan outcome, 2)
	err := j.Write(context.Background(), journal, []byte(text), func(seq uint64, err error) {
		c <- outcome{parley.Receipt{Seq: seq}, err}
	})
	if err != nil {
		t.Fatalf("write to %q: %v", journal, err)
	}
	return c
}

func record(t *testing.T, j parley.Journals, journal, text string) uint64 {
	t.Helper()
	o := wait(t, recordAsync(t, j, journal, text))
	if o.err != nil {
		t.Fatalf("write to %q: %v", journal, o.err)
	}
	return o.Seq
}

// wantRecords reads a journal in pages of two and compares.
func wantRecords(t *testing.T, j parley.Journals, journal string, after uint64, want ...string) {
	t.Helper()
	var got []string
	for more := true; more; {
		var page []parley.Record
		var err error
		if page, more, err = j.Records(context.Background(), journal, after, 2); err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			if r.Seq <= after {
				t.Fatalf("record %d behind %d", r.Seq, after)
			}
			after = r.Seq
			got = append(got, string(r.Data))
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("journal %q holds %q, want %q", journal, got, want)
	}
}

func unknownJournal(t *testing.T, _ Harness, j parley.Journals) {
	wantRecords(t, j, "nowhere", 0)
	if r, err := j.Newest(context.Background(), "nowhere"); err != nil || r.Seq != 0 {
		t.Errorf("newest: %+v, %v", r, err)
	}
	if err := j.Trim(context.Background(), "nowhere", 17); err != nil {
		t.Error(err)
	}
}

func recordsComeBack(t *testing.T, _ Harness, j parley.Journals) {
	var waits []<-chan outcome
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprint("record ", i))
		waits = append(waits, recordAsync(t, j, "a", want[i]), recordAsync(t, j, "b", "other"))
	}
	var last uint64
	for i, c := range waits {
		if o := wait(t, c); i%2 == 0 {
			if o.Seq <= last {
				t.Errorf("seq %d behind %d", o.Seq, last)
			}
			last = o.Seq
		}
	}
	wantRecords(t, j, "a", 0, want...)
	newest, err := j.Newest(context.Background(), "a")
	if err != nil || newest.Seq != last || string(newest.Data) != want[6] {
		t.Errorf("newest: %+v, %v", newest, err)
	}
}

func journalNames(t *testing.T, h Harness, j parley.Journals) {
	names := []string{"lobby", "a b", "*", ">", "\x00\xff", "jobs\x00lobby", strings.Repeat("x", parley.MaxJournalName)}
	for _, name := range names {
		record(t, j, name, "in "+name)
	}
	for _, name := range names {
		wantRecords(t, j, name, 0, "in "+name)
	}
	got, err := j.Journals(context.Background(), "")
	slices.Sort(names)
	if err != nil || !slices.Equal(got, names) {
		t.Errorf("journals %q, %v, want %q", got, err, names)
	}
	if got, err = j.Journals(context.Background(), "jobs\x00"); err != nil || len(got) != 1 {
		t.Errorf("journals with a prefix: %q, %v", got, err)
	}
	if rooms, err := h.Log.Rooms(context.Background()); err != nil || len(rooms) != 0 {
		t.Errorf("journals are listed as rooms: %v, %v", rooms, err)
	}
	if page := read(t, h.Log, "lobby", 0, 10); len(page.Messages) != 0 {
		t.Error("a journal's record is a message of the room with its name")
	}
}

func trimJournal(t *testing.T, _ Harness, j parley.Journals) {
	var seqs []uint64
	for i := range 5 {
		seqs = append(seqs, record(t, j, "a", fmt.Sprint(i)))
		record(t, j, "b", fmt.Sprint(i))
	}
	trim := func(seq uint64) {
		t.Helper()
		if err := j.Trim(context.Background(), "a", seq); err != nil {
			t.Fatal(err)
		}
	}
	trim(seqs[1])
	wantRecords(t, j, "a", 0, "2", "3", "4")
	trim(seqs[0])
	wantRecords(t, j, "a", seqs[2], "3", "4")
	trim(seqs[4])
	wantRecords(t, j, "a", 0)
	wantRecords(t, j, "b", 0, "0", "1", "2", "3", "4")
	if record(t, j, "a", "5") <= seqs[4] {
		t.Error("a seq was given twice")
	}
}

func recordsBeforeDurable(t *testing.T, h Harness, j parley.Journals) {
	if h.Hold == nil {
		t.Skip("what the store has taken is durable")
	}
	record(t, j, "a", "durable")
	release := h.Hold()
	c := recordAsync(t, j, "a", "held")
	wantRecords(t, j, "a", 0, "durable")
	if r, err := j.Newest(context.Background(), "a"); err != nil || string(r.Data) != "durable" {
		t.Errorf("newest: %+v, %v", r, err)
	}
	select {
	case <-c:
		t.Error("told before it is durable")
	default:
	}
	release()
	wait(t, c)
	wantRecords(t, j, "a", 0, "durable", "held")
}

func journalsAreKept(t *testing.T, h Harness, j parley.Journals) {
	var want []string
	for i := range 30 {
		say(t, h.Log, "lobby", fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
		record(t, j, "lobby", want[i])
	}
	wantRecords(t, j, "lobby", 0, want...)
}

// nextRecords has two owners write a journal, and others beside it.
func nextRecords(t *testing.T, h Harness, j parley.Journals) {
	next := func(journal string, last uint64, text string) <-chan outcome {
		t.Helper()
		c := make(chan outcome, 2)
		err := j.WriteNext(context.Background(), journal, last, []byte(text), func(seq uint64, err error) {
			c <- outcome{parley.Receipt{Seq: seq}, err}
		})
		if err != nil {
			c <- outcome{err: err}
		}
		return c
	}
	first := wait(t, next("a", 0, "0"))
	if first.err != nil {
		t.Fatal(first.err)
	}
	second := wait(t, next("a", first.Seq, "1"))
	if second.err != nil || second.Seq <= first.Seq {
		t.Fatalf("%+v behind %d", second, first.Seq)
	}
	if !h.Many {
		wantRecords(t, j, "a", 0, "0", "1")
		return
	}
	var others []<-chan outcome
	for i := range 20 {
		others = append(others, next(fmt.Sprint("other ", i), 0, "x"))
		if i == 10 {
			others = append(others, next("a", first.Seq, "too late"), next("b", 17, "of nothing"))
		}
	}
	for i, c := range others {
		o := wait(t, c)
		if late := i == 11 || i == 12; late != errors.Is(o.err, parley.ErrOvertaken) || !late && o.err != nil {
			t.Errorf("record %d: %v", i, o.err)
		}
	}
	if err := j.Trim(context.Background(), "a", first.Seq); err != nil {
		t.Fatal(err)
	}
	if o := wait(t, next("a", second.Seq, "2")); o.err != nil {
		t.Error(o.err)
	}
	wantRecords(t, j, "a", 0, "1", "2")
	wantRecords(t, j, "b", 0)
}

func recordsRefused(t *testing.T, _ Harness, j parley.Journals) {
	never := func(uint64, error) { t.Error("done was called") }
	for name, journal := range map[string]string{"no name": "", "too long a name": strings.Repeat("x", parley.MaxJournalName+1)} {
		if err := j.Write(context.Background(), journal, []byte("x"), never); err == nil {
			t.Error(name)
		}
	}
	for name, data := range map[string][]byte{"nothing": nil, "too much": make([]byte, parley.MaxRecord+1)} {
		if err := j.Write(context.Background(), "a", data, never); err == nil {
			t.Error(name)
		}
	}
}

func recordsFail(t *testing.T, h Harness, j parley.Journals) {
	if h.Hold == nil {
		t.Skip("what the store has taken is durable")
	}
	record(t, j, "a", "kept")
	release := h.Hold()
	c := recordAsync(t, j, "a", "lost")
	h.Fail(errors.New("input/output error"))
	wantUnavailable(t, "a record under way", wait(t, c).err)
	release()
	wantUnavailable(t, "a record behind it", j.Write(context.Background(), "a", []byte("x"), func(uint64, error) {}))
	wantRecords(t, j, "a", 0, "kept")
}
