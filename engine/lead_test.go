package engine_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/engine"
)

// What several nodes have for a partition is committed as one batch by the node that leads it; what they
// acknowledge is stored where they say, once.
func TestBatchesOfAllNodesGoAsOne(t *testing.T) {
	cl := newCluster(t, engine.Config{Partitions: 1})
	s := startSenders(t, 60, cl.nodes...)
	joined := func() bool {
		for _, e := range cl.nodes {
			if st := e.Stats(); st.Groups > st.Batches+20 {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(time.Minute); !joined(); tick() {
		if time.Now().After(end) {
			t.Fatal("each node's batches go by themselves")
		}
	}
	s.until(2000)
	s.check(cl.nodes...)
}

// Nodes that send the same ids at the same time are all told the same seqs: a batch in which the store knows an id
// is refused whole, and what else is in it must not suffer.
func TestTheSameIdsAtAllNodesAreStoredOnce(t *testing.T) {
	cl := newCluster(t, engine.Config{Partitions: 1})
	s := startSenders(t, 12, cl.nodes...) // others, in whose batches these are
	const ids, rounds = 40, 5
	for round := range rounds {
		var all sync.WaitGroup
		seqs := make([][]uint64, len(cl.nodes))
		for n, e := range cl.nodes {
			seqs[n] = make([]uint64, ids)
			for i := range ids {
				all.Go(func() {
					d := parley.Draft{Room: "same", From: "ada", ID: fmt.Sprint(round, "-", i), Retry: true, Body: []byte("x")}
					seqs[n][i] = appendUntilStored(t, e, d)
				})
			}
		}
		all.Wait()
		for i := range ids {
			if seqs[0][i] == 0 || seqs[0][i] != seqs[1][i] || seqs[0][i] != seqs[2][i] {
				t.Fatalf("id %d of round %d is at %d, %d and %d", i, round, seqs[0][i], seqs[1][i], seqs[2][i])
			}
		}
	}
	s.until(500)
	s.check(cl.nodes...)
	page, err := cl.nodes[0].Read(t.Context(), "same", 0, 2*ids*rounds)
	if err != nil || len(page.Messages) != ids*rounds {
		t.Errorf("%d messages are stored, want %d: %v", len(page.Messages), ids*rounds, err)
	}
}

// appendUntilStored sends a draft again until it is acknowledged, and gives its seq.
func appendUntilStored(t *testing.T, e *engine.Engine, d parley.Draft) uint64 {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		type outcome struct {
			r   parley.Receipt
			err error
		}
		done := make(chan outcome, 1)
		err := e.Append(t.Context(), d, func(r parley.Receipt, err error) { done <- outcome{r, err} })
		if err != nil {
			continue
		}
		if o := <-done; o.err == nil {
			return o.r.Seq
		}
	}
	t.Errorf("%s was not stored", d.ID)
	return 0
}

func FuzzGroup(f *testing.F) {
	first, later := uint64(0), uint64(300)
	whole := []engine.Grouped{
		{Subject: "room.0.x", Record: "a"},
		{Subject: "room.0.y", ID: "id"},
		{Subject: "room.0.z", Behind: &first, Record: "b"},
		{Subject: "room.0.z", Behind: &later, Record: "c"},
	}
	if list, err := engine.ParseGroup(engine.AppendGroup(whole), "room.0."); err != nil || !cmp.Equal(list, whole) {
		f.Errorf("%s, %v", cmp.Diff(whole, list), err)
	}
	f.Add(engine.AppendGroup(whole))
	f.Add([]byte{})
	f.Add([]byte{0, 8, 'r'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := engine.ParseGroup(b, "room.0.")
		if err != nil {
			return
		}
		again, err := engine.ParseGroup(engine.AppendGroup(list), "room.0.")
		if err != nil || !cmp.Equal(again, list) {
			t.Errorf("%q does not come back: %s, %v", b, cmp.Diff(list, again), err)
		}
	})
}
