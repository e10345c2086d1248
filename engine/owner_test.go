package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley"
	"parley/engine"
)

// Three owners who do not know of each other write the same journals while leaders move: each record
// comes right behind the one that its writer had read, and what was acknowledged is there.
func TestOneOfManyOwnersWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster, whose leaders move")
	}
	cl := newCluster(t, engine.Config{Partitions: 2})
	const journals = 4
	var ended atomic.Bool
	var mu sync.Mutex
	acked := make(map[string]map[uint64]uint64) // journal → seq → the one it was written behind
	overtaken := 0
	write := func(ctx context.Context, e *engine.Engine, journal string) {
		newest, err := e.Newest(ctx, journal)
		if err != nil {
			return // it is not known now
		}
		told := make(chan error, 1)
		record := binary.AppendUvarint(nil, newest.Seq)
		var at uint64
		err = e.WriteNext(ctx, journal, newest.Seq, record, func(seq uint64, err error) {
			at = seq
			told <- err
		})
		if err == nil {
			err = <-told
		}
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			if acked[journal] == nil {
				acked[journal] = make(map[uint64]uint64)
			}
			acked[journal][at] = newest.Seq
		} else if errors.Is(err, parley.ErrOvertaken) {
			overtaken++
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for _, e := range cl.nodes {
		for i := range journals {
			all.Go(func() {
				for !ended.Load() && ctx.Err() == nil {
					write(ctx, e, fmt.Sprint("journal ", i))
				}
			})
		}
	}
	for i := range 6 {
		cl.nodes[i%3].HandOver()
	}
	ended.Store(true)
	all.Wait()
	written := 0
	for i := range journals {
		journal := fmt.Sprint("journal ", i)
		written += chained(t, cl.nodes[0], journal, acked[journal])
	}
	if written == 0 || overtaken == 0 {
		t.Errorf("%d written, %d overtaken", written, overtaken)
	}
	t.Logf("%d written, %d overtaken", written, overtaken)
}

// chained checks that each record names the one before it, and that the acknowledged ones are there.
func chained(t *testing.T, e *engine.Engine, journal string, acked map[uint64]uint64) (n int) {
	t.Helper()
	var last uint64
	for more := true; more; {
		var page []parley.Record
		var err error
		if page, more, err = e.Records(t.Context(), journal, last, 100); err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			behind, _ := binary.Uvarint(r.Data)
			if behind != last {
				t.Fatalf("%s: record %d was written behind %d and comes behind %d", journal, r.Seq, behind, last)
			}
			if want, ok := acked[r.Seq]; ok && want != behind {
				t.Errorf("%s: record %d is another than was acknowledged", journal, r.Seq)
			}
			delete(acked, r.Seq)
			last = r.Seq
			n++
		}
	}
	if len(acked) > 0 {
		t.Errorf("%s: %d acknowledged records are missing", journal, len(acked))
	}
	return n
}
