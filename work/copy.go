package work

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"parley"
)

// Bounds of one record of the journal of jobs, and of those kept in memory to be loaded.
const (
	copyMost  = 2048      // messages
	copyBytes = 512 << 10 // a record that has reached them is full
	maxFresh  = 2         // records
)

// loaded is a record of jobs in memory.
type loaded struct {
	record uint64
	jobs
}

// copyOn copies messages of the room that are not in the journal yet: one record at a time. What
// comes meanwhile is in the next.
func (g *group) copyOn(ctx context.Context) (again bool, err error) {
	g.mu.Lock()
	if !g.grown || g.copying || g.fault != nil {
		g.mu.Unlock()
		return false, nil
	}
	g.grown = false
	after := g.copied
	list, here := g.inbox.behind(after)
	list = list[:min(len(list), copyMost+1)]
	list = slices.Clone(list) // the inbox is let go of
	part := jobs{kind: jobsNew, before: g.total, after: after}
	g.mu.Unlock()
	more := false
	if !here {
		page, err := g.readOn(ctx, after)
		if err != nil {
			return false, err
		}
		list, more = page.Messages, page.More
	}
	record := part.fill(list)
	if len(part.messages) == 0 {
		return false, nil
	}
	g.mu.Lock()
	g.copying = true
	g.grown = g.grown || more || len(part.messages) < len(list)
	last := g.newest
	g.mu.Unlock()
	return false, g.write(ctx, g.jobsJournal, last, record, func(seq uint64) { g.copiedPart(seq, part, len(record)) })
}

// fill makes a record of as many messages as it has room for.
func (r *jobs) fill(list []*parley.Message) (record []byte) {
	record = r.begin()
	for _, m := range list {
		if len(r.messages) == copyMost || len(record) >= copyBytes {
			break
		}
		record, r.messages = appendMessage(record, m), append(r.messages, m)
	}
	return record
}

// readOn reads messages of the room that are not in memory.
func (g *group) readOn(ctx context.Context, after uint64) (parley.Page, error) {
	page, err := g.manager.Rooms.PageAfter(ctx, g.key.room, after, parley.MaxPage)
	if err != nil {
		return page, fmt.Errorf("read the room: %w", err)
	}
	if page.Trimmed && after > 0 && len(page.Messages) > 0 {
		err = g.missed(ctx, after, page.Messages[0].Seq)
	}
	return page, err
}

// gap is the body of a message, in the room of dead letters, that tells of messages that a group never had.
type gap struct {
	Room   string `json:"room"`
	Group  string `json:"group"`
	After  uint64 `json:"after"`
	Next   uint64 `json:"next"`
	Reason string `json:"reason"`
}

// missed says that the room no longer has what stood between two seqs, or may not have it, before it goes
// on: to who reads the dead letters, in the log and in the counts. It is said once, for its id is the
// gap's.
func (g *group) missed(ctx context.Context, after, next uint64) error {
	data, err := json.Marshal(gap{g.key.room, g.key.name, after, next, "the room's retention has removed messages that the group had not copied"})
	if err != nil {
		return err
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%s\x00gap\x00%d\x00%d", g.steps, after, next))
	stored := make(chan error, 1)
	err = g.manager.Log.Append(ctx, parley.Draft{
		Room: g.key.room + deadSuffix, ID: hex.EncodeToString(id[:16]), From: parley.Server, Type: parley.JSON, Body: data, Retry: true,
	}, func(_ parley.Receipt, err error) { stored <- err })
	if err == nil {
		err = <-stored
	}
	if err != nil {
		return fmt.Errorf("tell of a gap: %w", err)
	}
	g.manager.counts.missed.Add(1)
	g.manager.Logger.Error("a group has missed messages that its room no longer keeps",
		"room", g.key.room, "group", g.key.name, "after", after, "next", next)
	return nil
}

// copiedPart notes that a part of the room is in the journal. g.mu is held.
func (g *group) copiedPart(seq uint64, part jobs, bytes int) {
	last := g.read
	if n := len(g.fresh); n > 0 {
		last = g.fresh[n-1].record
	}
	if last == g.tail && len(g.fresh) < maxFresh && g.takers > 0 {
		g.fresh = append(g.fresh, loaded{seq, part})
	}
	g.copying = false
	g.tail, g.newest = seq, seq
	g.copied, g.total = part.copied(), part.total()
	g.inbox.behind(g.copied)
	g.gate.copied(g, g.copied, g.copied >= g.goal)
	g.bulk += bytes
	g.records++
	g.manager.counts.copied.Add(uint64(len(part.messages)))
}

// write writes the record of a journal that comes behind its last one. durable is called with g.mu held; if
// the write fails, this life does.
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
