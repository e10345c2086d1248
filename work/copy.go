package work

import (
	"context"
	"fmt"

	"parley"
)

// Bounds of one record of the journal of jobs, and of those kept in memory to be loaded.
const (
	copyPage  = 256
	copyBytes = 512 << 10 // a record that has reached them is full
	maxFresh  = 2         // records
)

// loaded is a record of jobs in memory.
type loaded struct {
	record   uint64
	messages []*parley.Message
}

// copyOn copies messages of the room that are not in the journal yet: one record at a time. What
// comes meanwhile is in the next.
func (g *group) copyOn(ctx context.Context) (again bool, err error) {
	g.mu.Lock()
	idle := !g.grown || g.copying || g.fault != nil
	after := g.copied
	if !idle {
		g.grown = false
	}
	g.mu.Unlock()
	if idle {
		return false, nil
	}
	page, err := g.manager.Rooms.PageAfter(ctx, g.key.room, after, copyPage)
	if err != nil {
		return false, fmt.Errorf("read the room: %w", err)
	}
	if len(page.Messages) == 0 {
		return false, nil
	}
	if page.Trimmed && after > 0 {
		g.manager.counts.missed.Add(1)
		g.manager.Logger.Error("a group has missed messages that its room no longer keeps",
			"room", g.key.room, "group", g.key.name, "after", after, "next", page.Messages[0].Seq)
	}
	record, part := []byte{version}, page.Messages[:0:0]
	for _, m := range page.Messages {
		record, part = appendMessage(record, m), append(part, m)
		if len(record) >= copyBytes {
			break
		}
	}
	g.mu.Lock()
	g.copying = true
	last := g.tail
	g.grown = g.grown || page.More || len(part) < len(page.Messages)
	g.mu.Unlock()
	return false, g.write(ctx, g.jobsJournal, last, record, func(seq uint64) { g.copiedPart(seq, part, len(record)) })
}

// copiedPart notes that a part of the room is in the journal. g.mu is held.
func (g *group) copiedPart(seq uint64, part []*parley.Message, bytes int) {
	last := g.read
	if n := len(g.fresh); n > 0 {
		last = g.fresh[n-1].record
	}
	if last == g.tail && len(g.fresh) < maxFresh && g.takers > 0 {
		g.fresh = append(g.fresh, loaded{seq, part})
	}
	g.copying = false
	g.tail, g.copied = seq, part[len(part)-1].Seq
	g.bulk += bytes
	g.records++
	g.manager.counts.copied.Add(uint64(len(part)))
}

// write writes the record of a journal that comes behind its last one. durable is called with g.mu held; if the write fails, this life does.
func (g *group) write(ctx context.Context, journal string, last uint64, record []byte, durable func(seq uint64)) error {
	g.writes.Add(1)
	err := g.manager.Journals.WriteNext(ctx, journal, last, record, func(seq uint64, err error) {
		defer g.writes.Done()
		g.mu.Lock()
		defer g.mu.Unlock()
		if err != nil {
			g.failed(fmt.Errorf("write a journal: %w", err))
			return
		}
		durable(seq)
		g.wake()
	})
	if err != nil {
		g.writes.Done()
		return fmt.Errorf("write a journal: %w", err)
	}
	return nil
}
