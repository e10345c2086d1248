package work

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// When a snapshot replaces the steps since the last one: when they have grown, when much of the journal
// of jobs could be trimmed, and when there are many records. To trim a record takes some 10 µs, in
// which nothing else is written to the partition's journals: so they are trimmed often, few at a time.
const (
	snapshotSteps   = 32 << 10 // bytes, or four times the last snapshot
	snapshotBulk    = 4 << 20  // bytes of jobs
	snapshotRecords = 128      // of both journals; or as many as a snapshot is worth, by its bytes
	recordWorth     = 64       // bytes
)

// past is what the steps say of a job.
type past struct {
	finished bool
	tries    int
	due      time.Time
}

func appendFinished(b []byte, seq uint64) []byte {
	return binary.AppendUvarint(append(b, stepFinished), seq)
}

func appendDead(b []byte, seq uint64) []byte {
	return binary.AppendUvarint(append(b, stepDead), seq)
}

func appendTried(b []byte, seq uint64, p past) []byte {
	b = binary.AppendUvarint(append(b, stepTried), seq)
	b = binary.AppendUvarint(b, uint64(p.tries))
	return appendTime(b, p.due)
}

// step has pending written, to which a step was added. g.mu is held.
func (g *group) step(pending []byte, told func(error)) {
	g.pending = pending
	if told != nil {
		g.told = append(g.told, told)
	}
}

// flush writes the steps that have gathered, or in their place a snapshot, which has them in it.
func (g *group) flush(ctx context.Context) (again bool, err error) {
	g.mu.Lock()
	if g.flushing || len(g.pending)+len(g.told) == 0 || g.fault != nil {
		g.mu.Unlock()
		return false, nil
	}
	record, told := append([]byte{version}, g.pending...), g.told
	g.since += len(g.pending)
	g.pending, g.told, g.flushing = g.pending[:0], nil, true
	var trim uint64
	last := g.lastStep
	g.records++
	whole := g.since > max(snapshotSteps, 4*g.snapshot) || g.bulk > snapshotBulk ||
		g.records > max(snapshotRecords, g.snapshot/recordWorth)
	if whole {
		record, trim = g.appendSnapshot([]byte{version})
		g.since, g.snapshot, g.bulk, g.records = 0, len(record), 0, 0
	}
	g.mu.Unlock()
	durable := false
	tell := func(err error) {
		for _, t := range told {
			t(err)
		}
	}
	g.writes.Add(1)
	err = g.manager.Journals.WriteNext(ctx, g.steps, last, record, func(seq uint64, err error) {
		defer g.writes.Done()
		g.mu.Lock()
		if durable = err == nil; !durable {
			g.failed(fmt.Errorf("write the steps: %w", err))
		}
		g.flushing, g.lastStep = false, seq
		if durable && whole {
			g.trimStep, g.trimJobs = seq-1, trim
		}
		g.mu.Unlock()
		if durable {
			tell(nil)
		} else {
			tell(unwritten(err))
		}
		g.wake()
	})
	if err != nil {
		g.writes.Done()
		tell(errReloading)
		return false, fmt.Errorf("write the steps: %w", err)
	}
	return false, nil
}

// appendSnapshot adds all that is known, and says up to which record the jobs are not needed any
// more. The last record read is always kept, so that the journal says how far the room was copied.
// g.mu is held.
func (g *group) appendSnapshot(b []byte) (record []byte, trim uint64) {
	list := make([]*job, 0, len(g.open))
	var back []*job
	for _, j := range g.open {
		if j.back {
			back = append(back, j)
		} else {
			list = append(list, j)
		}
	}
	bySeq := func(a, b *job) int { return cmp.Compare(a.seq, b.seq) }
	slices.SortFunc(list, bySeq)
	slices.SortFunc(back, bySeq)
	b = binary.AppendUvarint(append(b, stepSnapshot), g.copied)
	b = binary.AppendUvarint(b, g.read)
	b = binary.AppendUvarint(b, g.seen)
	b = binary.AppendUvarint(b, g.dead)
	b = binary.AppendUvarint(b, uint64(len(list)))
	oldest := g.read
	for _, j := range list {
		oldest = min(oldest, j.record)
		b = binary.AppendUvarint(b, j.seq)
		b = binary.AppendUvarint(b, j.record)
		b = binary.AppendUvarint(b, uint64(j.tries))
		b = append(appendTime(b, j.due()), j.priority)
		b = appendTime(b, j.expires)
		b = appendString(b, j.key)
	}
	for seq, p := range g.past {
		if seq <= g.seen {
			delete(g.past, seq) // there is no such job
		} else if p.finished {
			b = appendFinished(b, seq)
		} else {
			b = appendTried(b, seq, p)
		}
	}
	b = g.back.appendTo(b)
	for _, j := range back { // behind what is said of their earlier lives
		oldest = min(oldest, j.record)
		b = appendBack(b, j)
	}
	if oldest == 0 {
		return b, 0
	}
	return b, oldest - 1
}

// trim removes what a durable snapshot has made useless. What is left after a failure is removed
// the next time.
func (g *group) trim(ctx context.Context) (again bool, err error) {
	g.mu.Lock()
	steps, jobs := g.trimStep, g.trimJobs
	g.trimStep, g.trimJobs = 0, 0
	g.mu.Unlock()
	if steps == 0 {
		return false, nil
	}
	err = g.manager.Journals.Trim(ctx, g.steps, steps)
	if err == nil && jobs > 0 {
		err = g.manager.Journals.Trim(ctx, g.jobsJournal, jobs)
	}
	if err != nil {
		g.manager.Logger.Warn("a journal was not trimmed", "room", g.key.room, "group", g.key.name, "err", err)
	}
	return false, nil
}
