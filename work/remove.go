package work

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"parley"
)

// Groups and readers are removed by trimming their journals. What was trimmed can be there again after a
// crash, so a note is written first, of what goes and up to which record; the next start carries out
// what the notes say, before anybody comes to a group or a reader. In a cluster the owner of a group first
// writes a step that says so, behind its last one: it may be the owner no more.
//
//	note    version, then the seq up to which each of the journals goes
const notePrefix = "gone\x00"

// journalsOf names the journals of what a note is about, by the first of them.
func journalsOf(first string) []string {
	if rest, ok := strings.CutPrefix(first, stepsPrefix); ok {
		return []string{first, jobsPrefix + rest}
	}
	return []string{first}
}

// erasure is what is to go: journals, and up to which record of each.
type erasure struct {
	journals []string
	upTo     []uint64
}

// planErasure works out what goes with a journal.
func (m *Manager) planErasure(ctx context.Context, first string) (e erasure, err error) {
	e.journals = journalsOf(first)
	for _, journal := range e.journals {
		newest, err := m.Journals.Newest(ctx, journal)
		if err != nil {
			return e, fmt.Errorf("read a journal: %w", err)
		}
		e.upTo = append(e.upTo, newest.Seq)
	}
	return e, nil
}

// erase carries out what was planned. Nobody may be writing the journals. It may be called again after a
// failure.
func (m *Manager) erase(ctx context.Context, e erasure) error {
	note := []byte{version}
	for _, seq := range e.upTo {
		note = binary.AppendUvarint(note, seq)
	}
	if err := m.write(ctx, notePrefix+e.journals[0], note); err != nil {
		return fmt.Errorf("note what is removed: %w", err)
	}
	return m.trimAll(ctx, e)
}

// write writes a record and waits until it is durable.
func (m *Manager) write(ctx context.Context, journal string, record []byte) error {
	done := make(chan error, 1)
	err := m.Journals.Write(ctx, journal, record, func(_ uint64, err error) { done <- err })
	if err == nil {
		err = <-done // the log sees to it that there is an outcome
	}
	return err
}

func (m *Manager) trimAll(ctx context.Context, e erasure) error {
	for i, journal := range e.journals {
		if err := m.Journals.Trim(ctx, journal, e.upTo[i]); err != nil {
			return fmt.Errorf("remove a journal: %w", err)
		}
	}
	return nil
}

// sweep carries out the notes. One whose journals were empty at the start is of no more use: what is on
// disk now was there when the log was opened.
func (m *Manager) sweep(ctx context.Context) error {
	notes, err := m.Journals.Journals(ctx, notePrefix)
	if err != nil {
		return fmt.Errorf("list the notes of what is removed: %w", err)
	}
	for _, note := range notes {
		record, err := m.Journals.Newest(ctx, note)
		if err != nil {
			return fmt.Errorf("read a note of what is removed: %w", err)
		}
		d, e := open(record.Data), erasure{journals: journalsOf(strings.TrimPrefix(note, notePrefix))}
		for range e.journals {
			e.upTo = append(e.upTo, d.uint())
		}
		if d.err() != nil {
			m.Logger.Error("a note of what is removed cannot be read", "journal", note)
			continue
		}
		left, err := m.anyLeft(ctx, e)
		if err == nil && left {
			err = m.trimAll(ctx, e)
		} else if err == nil {
			err = m.Journals.Trim(ctx, note, record.Seq)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// anyLeft says whether anything is there that was to go.
func (m *Manager) anyLeft(ctx context.Context, e erasure) (bool, error) {
	for i, journal := range e.journals {
		records, _, err := m.Journals.Records(ctx, journal, 0, 1)
		if err != nil {
			return false, fmt.Errorf("read a journal: %w", err)
		}
		if len(records) > 0 && records[0].Seq <= e.upTo[i] {
			return true, nil
		}
	}
	return false, nil
}

// removal is a group's end, for those who wait for it.
type removal struct {
	done chan struct{} // closed when the group is not there any more
}

// Remove removes a group with all its jobs, and returns when that is durable. Nobody may be taking from
// it: that is conflict. Where there is no such group it is not_found.
func (m *Manager) Remove(ctx context.Context, room, name string) error {
	g, err := m.open(ctx, room, name, nil)
	if err != nil {
		return err
	}
	g.mu.Lock()
	if time.Now().Before(g.quiet) { // who takes from it may not have said so yet
		g.mu.Unlock()
		return ErrElsewhere
	}
	r := g.removal
	switch {
	case r != nil: // by somebody else, at this moment
	case g.takers > 0:
		n := g.takers
		g.mu.Unlock()
		return parley.Errorf(parley.Conflict, "%d sessions take from %s: stop them first", n, name)
	default:
		r = &removal{make(chan struct{})}
		g.removal = r
		g.wake()
	}
	g.mu.Unlock()
	return g.awaitRemoval(ctx, r)
}

// awaitRemoval waits until a group is not there any more.
func (g *group) awaitRemoval(ctx context.Context, r *removal) error {
	select {
	case <-r.done:
	case <-g.ended:
	case <-g.manager.ctx.Done():
		return errEnding
	case <-ctx.Done():
		return ctx.Err()
	}
	if !isClosed(r.done) {
		return ErrElsewhere // the node that keeps it now goes on
	}
	return nil
}

// await waits until c is closed.
func (m *Manager) await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-m.ctx.Done():
		return errEnding
	case <-ctx.Done():
		return ctx.Err()
	}
}

// removed ends the life of a group that is to be removed.
func (g *group) removed(context.Context) (again bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.removal != nil {
		return false, errRemoved
	}
	return false, nil
}

// eraseAll removes a group's journals, however often it has to be tried, and gives errRemoved then. With
// any other error it is not known to be removed; what was begun is ended by the next life, here or at
// another node, or by the next start.
func (g *group) eraseAll(ctx context.Context) error {
	var e erasure
	if g.manager.shared() {
		var err error
		if e, err = g.seal(ctx); err != nil {
			return fmt.Errorf("remove a group: %w", err)
		}
	}
	for ctx.Err() == nil {
		var err error
		if e.upTo == nil {
			if e, err = g.manager.planErasure(ctx, g.steps); err != nil {
				e.upTo = nil
			}
		}
		if err == nil {
			err = g.manager.erase(ctx, e)
		}
		if err == nil {
			return errRemoved
		}
		g.manager.Logger.Warn("a group cannot be removed now; trying again", "room", g.key.room, "group", g.key.name, "err", err)
		sleep(ctx, reloadPause)
	}
	return ctx.Err()
}

// seal writes the last step of a group that other nodes may keep: that it is removed, and what goes with it.
// It is refused where another node has taken the group over; who takes it over later carries it out.
func (g *group) seal(ctx context.Context) (erasure, error) {
	g.mu.Lock()
	last, upTo := g.lastStep, g.newest
	g.mu.Unlock()
	seq, err := g.first(ctx, last, binary.AppendUvarint([]byte{version, stepGone}, upTo))
	return g.erasure(seq, upTo), err
}

// erasure is what goes with a group that was sealed: by seqs, which do not come again, so that whoever
// carries it out, and however late, removes nothing of another group of the name.
func (g *group) erasure(steps, jobs uint64) erasure {
	return erasure{journals: []string{g.steps, g.jobsJournal}, upTo: []uint64{steps, jobs}}
}

// RemoveReader removes a reader with its position, and returns when that is durable. Nobody may be using
// it: that is conflict. Where there is no such reader it is not_found.
func (m *Manager) RemoveReader(ctx context.Context, room, name string) error {
	key := readerKey{room, name}
	idle, end, err := m.closeReader(ctx, key)
	if err != nil {
		return err
	}
	defer end()
	if err := m.await(ctx, idle); err != nil { // of what it has just dealt with
		return err
	}
	ctx = context.WithoutCancel(ctx) // who asks may go; what was begun is ended
	e, err := m.planErasure(ctx, readerPrefix+room+"\x00"+name)
	if err != nil {
		return err
	}
	if e.upTo[0] == 0 {
		return parley.Errorf(parley.NotFound, "%s has no such reader", room)
	}
	if err := m.erase(ctx, e); err != nil {
		return err
	}
	if counted(e.journals[0]) {
		m.known.Add(-1)
	}
	return nil
}

// closeReader keeps everybody from a reader until end. idle is closed when nothing of it is on its way.
func (m *Manager) closeReader(ctx context.Context, key readerKey) (idle chan struct{}, end func(), err error) {
	if err := m.lockFor(ctx, key); err != nil {
		return nil, nil, err
	}
	defer m.mu.Unlock()
	r := m.readers[key]
	if r != nil && r.handles > 0 {
		return nil, nil, parley.Errorf(parley.Conflict, "a session reads %s as %s: have it leave first", key.room, key.name)
	}
	idle = make(chan struct{})
	if r == nil {
		close(idle)
	} else {
		r.idle = idle
	}
	closed := make(chan struct{})
	m.erasing[key] = closed
	return idle, func() {
		m.mu.Lock()
		delete(m.erasing, key)
		m.mu.Unlock()
		close(closed)
	}, nil
}

// lockFor locks mu at a moment in which nobody removes the reader.
func (m *Manager) lockFor(ctx context.Context, key readerKey) error {
	if err := m.await(ctx, m.ready); err != nil {
		return err
	}
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return errEnding
		}
		closed := m.erasing[key]
		if closed == nil {
			return nil
		}
		m.mu.Unlock()
		if err := m.await(ctx, closed); err != nil {
			return err
		}
	}
}
