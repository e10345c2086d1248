package work

import (
	"context"
	"fmt"
	"time"

	"parley"
)

// load brings jobs into view while there are workers and few jobs that could be given to them.
func (g *group) load(ctx context.Context) (again bool, err error) {
	for more := true; more && err == nil; {
		more, err = g.loadOne(ctx)
	}
	return false, err
}

func (g *group) loadOne(ctx context.Context) (more bool, err error) {
	g.mu.Lock()
	if g.takers == 0 || g.ready.Len() >= lookahead || len(g.open) >= window || g.read >= g.tail || g.fault != nil {
		g.mu.Unlock()
		return false, nil
	}
	if len(g.fresh) > 0 {
		next := g.fresh[0]
		g.fresh[0] = loaded{}
		g.fresh = g.fresh[1:]
		g.show(next, time.Now())
		g.mu.Unlock()
		return true, nil
	}
	after := g.read
	g.mu.Unlock()
	next, err := g.recordBehind(ctx, after)
	if err != nil {
		return false, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.show(next, time.Now())
	return true, nil
}

// show brings a record's jobs into view: those that the steps do not call finished. Messages that
// were copied twice, as after a write without an outcome, are there once. g.mu is held.
func (g *group) show(next loaded, now time.Time) {
	g.read, g.shown = next.record, next.total()
	if next.kind == jobsBack {
		return // they are in view since they were put back
	}
	for _, m := range next.messages {
		if m.Seq <= g.seen {
			continue
		}
		g.seen = m.Seq
		p := g.past[m.Seq]
		delete(g.past, m.Seq)
		if p.finished {
			continue
		}
		j := &job{
			seq: m.Seq, record: next.record, tries: p.tries, at: p.due,
			key: m.Key, priority: m.Priority, expires: m.Expires,
		}
		g.enter(j, now)
		g.keepBody(j, m)
	}
}

// recordBehind reads the record of jobs that comes behind one.
func (g *group) recordBehind(ctx context.Context, after uint64) (loaded, error) {
	records, _, err := g.manager.Journals.Records(ctx, g.jobsJournal, after, 1)
	if err != nil {
		return loaded{}, fmt.Errorf("read the jobs: %w", err)
	}
	if len(records) == 0 {
		return loaded{}, fmt.Errorf("read the jobs: nothing is behind record %d", after)
	}
	return readLoaded(g.key.room, records[0])
}

// readLoaded reads a record of jobs.
func readLoaded(room string, r parley.Record) (loaded, error) {
	list, err := readJobs(room, r.Data)
	if err != nil {
		return loaded{}, fmt.Errorf("read the jobs: record %d: %w", r.Seq, err)
	}
	return loaded{r.Seq, list}, nil
}

// fetch reads the message of a job again, and those of its record that are wanted soon.
func (g *group) fetch(ctx context.Context, seq, record uint64) (*parley.Message, error) {
	again, err := g.recordBehind(ctx, record-1)
	if err != nil {
		return nil, err
	}
	var found *parley.Message
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range again.messages {
		j := g.open[m.Seq]
		if j == nil || j.record != record {
			continue
		}
		if m.Seq == seq {
			found = m
			if j.message == nil && j.state == ready { // there must be room for it: it is next
				j.message = m
				g.bytes += len(m.Body) + messageCost
			}
		} else if j.state == ready {
			g.keepBody(j, m)
		}
	}
	if found == nil && g.open[seq] != nil {
		return nil, fmt.Errorf("read the jobs: record %d does not hold job %d", record, seq)
	}
	return found, nil
}
