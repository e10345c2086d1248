package work

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"parley"
)

// In a cluster the rooms are split in parts, and one node at a time keeps the groups of each: the one
// that Hold was called on. Which node that is, somebody else decides, and may be wrong for a while: two
// may hold a part. So an owner takes over each group by a record of its own (replay.go), and every
// record is written only behind the last one that its writer knows (parley.Journals.WriteNext): whoever
// was replaced cannot write any more, and tells nobody that anything was done.

// ErrElsewhere says that this node does not keep a room's groups, or not any more.
var ErrElsewhere = parley.Errorf(parley.Unavailable, "another node keeps the jobs of this room")

// share is the groups of a part, while this node keeps them.
type share struct {
	ctx     context.Context
	opened  chan struct{} // closed when the groups that there are have been entered
	running sync.WaitGroup
}

// shared says whether other nodes may write the same journals.
func (m *Manager) shared() bool { return m.Part != nil }

// Hold keeps the groups of a part until ctx ends, or Run does, and returns when they have ended here. A
// part is held once at a time.
func (m *Manager) Hold(ctx context.Context, part int) {
	life, cancel := context.WithCancel(m.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	s := &share{ctx: life, opened: make(chan struct{})}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.shares[part] = s
	m.running.Add(1)
	m.mu.Unlock()
	defer m.running.Done()
	defer m.release(part, s)
	if part == m.Part(laterRoom) {
		s.running.Go(func() { m.keepLater(life) })
	}
	for {
		err := m.openPart(life, part)
		if err == nil {
			close(s.opened)
			break
		}
		if life.Err() != nil {
			break
		}
		m.Logger.Error("the groups cannot be opened now; trying again", "part", part, "err", err)
		sleep(life, reloadPause)
	}
	<-life.Done()
}

// release ends what a share has begun.
func (m *Manager) release(part int, s *share) {
	m.mu.Lock()
	delete(m.shares, part)
	for key, g := range m.groups {
		if m.Part(key.room) == part {
			m.unguard(g) // no message waits while they end
		}
	}
	m.mu.Unlock()
	s.running.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, g := range m.groups {
		if m.Part(key.room) == part {
			m.remove(g)
		}
	}
}

// openPart opens the groups that have journals.
func (m *Manager) openPart(ctx context.Context, part int) error {
	if err := m.await(ctx, m.ready); err != nil {
		return err
	}
	names, err := m.Journals.Journals(ctx, stepsPrefix)
	if err != nil {
		return fmt.Errorf("list the journals: %w", err)
	}
	for _, name := range names {
		room, group, ok := strings.Cut(name[len(stepsPrefix):], "\x00")
		if !ok || m.Part(room) != part {
			continue
		}
		if _, err := m.enter(groupKey{room, group}, nil); err != nil && ctx.Err() == nil {
			m.Logger.Error("a group is left closed", "room", room, "group", group, "err", err)
		}
	}
	return nil
}

// spawnGroup starts a group's goroutine where its room's groups are kept. m.mu is held.
func (m *Manager) spawnGroup(g *group) error {
	if !m.shared() {
		m.running.Go(func() { g.run(m.ctx) })
		return nil
	}
	s := m.shares[m.Part(g.key.room)]
	if s == nil || s.ctx.Err() != nil {
		return ErrElsewhere
	}
	s.running.Go(func() { g.run(s.ctx) })
	return nil
}

// awaitPart waits until the groups of a room that there are have been entered here.
func (m *Manager) awaitPart(ctx context.Context, room string) error {
	m.mu.Lock()
	s := m.shares[m.Part(room)]
	m.mu.Unlock()
	if s == nil {
		return ErrElsewhere
	}
	select {
	case <-s.opened:
		return nil
	case <-s.ctx.Done():
		return ErrElsewhere
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Holds says whether this node keeps a part.
func (m *Manager) Holds(part int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.shares[part]
	return s != nil && s.ctx.Err() == nil
}

// Has says whether there is such a group, where this node keeps its room's.
func (m *Manager) Has(ctx context.Context, room, name string) (bool, error) {
	_, err := m.open(ctx, room, name, nil)
	if errors.Is(err, errMissing) {
		return false, nil
	}
	return err == nil, err
}

// Again says of an error whether another node, or the same one a little later, may do what was asked
// for; and whether it is unknown if it was done.
func Again(err error) (again, unsure bool) {
	switch {
	case errors.Is(err, errReloading):
		return true, true
	case errors.Is(err, ErrElsewhere), errors.Is(err, errEnding), errors.Is(err, parley.ErrOvertaken):
		return true, false
	}
	return false, false
}

// unwritten is what those are told whose steps were not written.
func unwritten(err error) error {
	if errors.Is(err, parley.ErrOvertaken) {
		return ErrElsewhere // and that is certain
	}
	return errReloading
}

// takeOver writes a record that ends whatever another owner was about to write. What was read before it
// is then all there is.
func (g *group) takeOver(ctx context.Context, last uint64) (seq uint64, err error) {
	if seq, err = g.first(ctx, last, []byte{version}); err != nil {
		return 0, fmt.Errorf("take a group over: %w", err)
	}
	return seq, nil
}

// first writes a record of steps and waits until it is durable.
func (g *group) first(ctx context.Context, last uint64, record []byte) (seq uint64, err error) {
	begun := make(chan error, 1)
	err = g.manager.Journals.WriteNext(ctx, g.steps, last, record, func(at uint64, err error) {
		seq = at
		begun <- err
	})
	if err == nil {
		err = <-begun
	}
	return seq, err
}
