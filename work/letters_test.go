package work_test

import (
	"math/rand/v2"
	"testing"

	"parley"
	"parley/work"
)

// Letters are put back in any order, those of several groups between each other: what is remembered is
// what was put back, and grows together to one stretch when all are.
func TestLettersAreRememberedAsStretches(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var l work.Letters
		const n = 200
		seq := func(i int) uint64 { return uint64(10 * (i + 1)) } // the room's seqs are not contiguous
		put := make(map[int]bool)
		for _, i := range dice.Perm(n) {
			prev := seq(i - 1)
			if i == 0 || dice.IntN(20) == 0 {
				prev = 0 // it is not known any more
			}
			l.Add(prev, seq(i))
			put[i] = true
			j := dice.IntN(n)
			if has, err := l.Has(seq(j)); has != put[j] || err != nil {
				t.Fatalf("letter %d was put back: %t, %v", j, has, err)
			}
		}
		again, err := l.Again()
		if err != nil || again.Stretches() != l.Stretches() {
			t.Fatalf("%d stretches are read as %d: %v", l.Stretches(), again.Stretches(), err)
		}
		for i := range n {
			if has, err := again.Has(seq(i)); !has || err != nil {
				t.Fatalf("letter %d is forgotten: %v", i, err)
			}
		}
	}
	var l work.Letters
	for _, i := range dice.Perm(1000) {
		l.Add(uint64(i), uint64(i+1))
	}
	if n := l.Stretches(); n != 1 {
		t.Errorf("all letters are %d stretches", n)
	}
}

// Of too many stretches the oldest are forgotten, which is said.
func TestLettersTooOldToBeKnown(t *testing.T) {
	var l work.Letters
	for i := range uint64(1100) {
		l.Add(10*i+8, 10*i+9)
	}
	if has, err := l.Has(10*1099 + 9); !has || err != nil {
		t.Errorf("the newest: %t, %v", has, err)
	}
	if has, err := l.Has(10*1099 + 5); has || err != nil {
		t.Errorf("one that was not put back: %t, %v", has, err)
	}
	for _, old := range []uint64{9, 5} {
		if _, err := l.Has(old); err == nil || parley.AsError(err).Code != parley.Conflict {
			t.Errorf("letter %d: %v", old, err)
		}
	}
	if again, err := l.Again(); err != nil {
		t.Error(err)
	} else if _, err := again.Has(9); err == nil {
		t.Error("that it was forgotten is forgotten")
	}
}

func TestInbox(t *testing.T) {
	run := func(from, to uint64) (batch []*parley.Message) {
		for seq := from; seq <= to; seq++ {
			batch = append(batch, &parley.Message{Seq: seq, Prev: seq - 1, Body: make([]byte, 1000)})
		}
		return batch
	}
	var in work.Inbox
	if _, ok := in.Behind(0); ok {
		t.Error("it knows what is behind 0 before anything has come")
	}
	in.Add(run(11, 13)) // before it is said where the tail began
	in.Begin(11)
	in.Add(run(13, 15)) // one again
	want := func(behind, first uint64, n int, ok bool) {
		t.Helper()
		list, here := in.Behind(behind)
		if here != ok || len(list) != n || (n > 0 && list[0].Seq != first) {
			t.Errorf("behind %d are %d messages, %t; want %d from %d, %t", behind, len(list), here, n, first, ok)
		}
	}
	want(10, 0, 0, false)
	want(11, 12, 4, true)
	want(13, 14, 2, true)
	want(12, 0, 0, false) // it was let go of
	in.Add(run(18, 19))   // a batch is missing
	want(15, 0, 0, false)
	want(17, 18, 2, true)
	want(19, 0, 0, true)
	if n := in.Bytes(); n != 0 {
		t.Errorf("an empty one has %d bytes", n)
	}
	in.Add(run(20, 5000)) // more than there is room for
	want(19, 0, 0, false)
	if n := in.Bytes(); n > 2<<20 {
		t.Errorf("it holds %d bytes", n)
	}
	want(4999, 5000, 1, true)
}
