package work

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"parley"
)

// GroupInfo is how a group stands.
type GroupInfo struct {
	Group    string
	Pending  uint64 // jobs that are not finished, those that are taken included
	Taken    int    // of these, those that a worker holds
	Dead     uint64 // dead letters that it has made since it began
	Sessions int    // that take from it
}

// ReaderInfo is where a reader is.
type ReaderInfo struct {
	Reader string
	Seq    uint64
}

var errAgain = parley.Errorf(parley.Unavailable, "a group reads its journals again; ask in a moment")

// Groups lists the groups of a room, by name.
func (m *Manager) Groups(ctx context.Context, room string) ([]GroupInfo, error) {
	if err := m.await(ctx, m.listed); err != nil {
		return nil, err
	}
	if m.shared() {
		if err := m.awaitPart(ctx, room); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	var names []string
	for key := range m.groups {
		if key.room == room {
			names = append(names, key.name)
		}
	}
	m.mu.Unlock()
	slices.Sort(names)
	list := make([]GroupInfo, 0, len(names))
	for _, name := range names {
		g, err := m.open(ctx, room, name, nil)
		if err == errMissing {
			continue // removed, or never there
		}
		if err != nil {
			return nil, err
		}
		info, err := g.info()
		switch {
		case err == errNoJob: // removed meanwhile
		case err != nil:
			return nil, errAgain
		default:
			list = append(list, info)
		}
	}
	return list, nil
}

// info counts. The error is the group's fault.
func (g *group) info() (GroupInfo, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := GroupInfo{Group: g.key.name, Dead: g.dead, Sessions: g.takers}
	for _, j := range g.open {
		if j.state == held {
			i.Taken++
		}
	}
	ahead := 0 // finished, and not in view yet
	for seq, p := range g.past {
		if p.finished && seq > g.seen {
			ahead++
		}
	}
	if n := len(g.books.open) + int(g.total-g.shown) - ahead; n > 0 {
		i.Pending = uint64(n)
	}
	return i, g.fault
}

// Readers lists the readers of a room whose names come behind after, limit of them at most, by name; more
// says that there are others behind the last one. The server's own are left out.
func (m *Manager) Readers(ctx context.Context, room, after string, limit int) (list []ReaderInfo, more bool, err error) {
	if err := m.await(ctx, m.ready); err != nil {
		return nil, false, err
	}
	prefix := readerPrefix + room + "\x00"
	journals, err := m.Journals.Journals(ctx, prefix)
	if err != nil {
		return nil, false, fmt.Errorf("list the journals: %w", err)
	}
	slices.Sort(journals)
	for _, journal := range journals {
		name := strings.TrimPrefix(journal, prefix)
		if name <= after || !counted(journal) {
			continue
		}
		if len(list) == limit {
			return list, true, nil
		}
		r, at, there, err := m.Reader(ctx, room, name)
		if err != nil {
			return nil, false, err
		}
		r.Close()
		if there {
			list = append(list, ReaderInfo{name, at})
		}
	}
	return list, false, nil
}
