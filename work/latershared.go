package work

import (
	"context"
	"time"

	"parley"
)

// In a cluster every node writes what is due later into the one journal, and the node that keeps it
// reads on there. Two that believe to keep it do no harm: what is sent twice bears one id, and none
// sends before it has read what the other has written.

// laterRoom stands for the journal where it is asked which node keeps it. No room has the name.
const laterRoom = laterJournal + "\x00"

// laterLook is how long a record of another node may go unnoticed, where nobody said LaterGrew.
const laterLook = time.Second

// LaterPart is the part whose owner sends what is due later.
func (m *Manager) LaterPart() int { return m.Part(laterRoom) }

// LaterGrew has this node look for what others want sent later.
func (m *Manager) LaterGrew() {
	m.mu.Lock()
	l := m.later
	m.mu.Unlock()
	l.wake()
}

// keepLater sends what is due until ctx ends.
func (m *Manager) keepLater(ctx context.Context) {
	l := newLater(m)
	m.mu.Lock()
	m.later = l
	m.mu.Unlock()
	l.run(ctx)
}

// postLater keeps a message for whichever node sends it.
func (m *Manager) postLater(ctx context.Context, d *parley.Draft, at time.Time, told func(parley.Receipt, error)) error {
	record := appendLater([]byte{version, laterMessage}, d, at)
	return m.Journals.Write(ctx, laterJournal, record, func(_ uint64, err error) {
		if err == nil {
			m.LaterGrew()
		}
		told(parley.Receipt{}, err)
	})
}
