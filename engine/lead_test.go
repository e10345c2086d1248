package engine_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

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
	f.Add(engine.AppendGroup([]string{"room.0.x", "room.0.y"}, []string{"", "id"}, [][]byte{[]byte("a"), nil}))
	f.Add([]byte{})
	f.Add([]byte{8, 'r'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		subjects, ids, records, err := engine.ParseGroup(b, "room.0.")
		if err != nil {
			return
		}
		again := engine.AppendGroup(subjects, ids, records)
		subjects2, ids2, records2, err := engine.ParseGroup(again, "room.0.")
		if err != nil || len(subjects2) != len(subjects) {
			t.Fatalf("%q does not come back: %v", b, err)
		}
		for i := range subjects {
			if subjects[i] != subjects2[i] || ids[i] != ids2[i] || !bytes.Equal(records[i], records2[i]) {
				t.Errorf("entry %d of %q does not come back", i, b)
			}
		}
	})
}
