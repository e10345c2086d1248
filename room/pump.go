package room

import (
	"context"
	"fmt"
	"time"
)

// pump writes for an outlet that no flusher can finish: it waits for a full socket, and reads the
// log for members that have fallen behind their ring. It ends when nothing of that is left.
func (o *Outlet) pump() {
	h := o.hub
	defer h.pumps.Done()
	h.stats.parked.Add(1)
	defer h.stats.parked.Add(-1)
	for {
		o.mu.Lock()
		if o.off() || h.ctx.Err() != nil {
			o.pumping = false
			o.mu.Unlock()
			return
		}
		o.flushAll()
		full, m := o.full, o.laggard()
		if !full && o.inform() { // a laggard may have to wait for long where the log cannot be read
			o.mu.Unlock()
			continue
		}
		if !full && m == nil {
			o.pumping = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		if full {
			if o.sock.WaitWritable() != nil {
				o.broken()
				return
			}
			o.mu.Lock()
			o.full = false
			o.mu.Unlock()
			continue
		}
		if err := o.catchUp(h.ctx, m); err != nil {
			h.logger.Warn("a member that is behind cannot be read on for; trying again", "room", m.room.name, "err", err)
			h.pause()
		}
	}
}

// readPause is how long a laggard waits when the log cannot be read, as when its store is opened again.
const readPause = 500 * time.Millisecond

// pause waits for readPause, or for the hub's end.
func (h *Hub) pause() {
	t := time.NewTimer(readPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-h.ctx.Done():
	}
}

// broken ends the pump of an outlet whose socket is gone.
func (o *Outlet) broken() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pumping = false
	if !o.off() {
		o.fail()
	}
}

// catchUpPage is how many messages a laggard reads at a time.
const catchUpPage = 256

// catchUp writes one page of the log to a member that is behind its ring, and puts it back on the
// ring when it has come that far. When the socket fills, the page is let go: the cursor knows.
func (o *Outlet) catchUp(ctx context.Context, m *Member) error {
	select {
	case o.hub.reads <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-o.hub.reads }()

	if m.many != nil {
		return o.catchUpMany(ctx, m)
	}
	o.mu.Lock()
	after, last := m.seq, m.room.lastSeq() // before the page: it holds all that is left up to last
	o.mu.Unlock()
	page, err := o.hub.log.Read(ctx, m.room.name, after, catchUpPage)
	if err != nil {
		return fmt.Errorf("read on after %d: %w", after, err)
	}
	o.hub.stats.lagReads.Add(1)

	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.flushReplies() || m.gone || !m.lagging { // answers that were made meanwhile go first
		return nil
	}
	if page.Trimmed && !m.exact && m.gap == 0 {
		m.gap = after
	}
	m.exact = false
	m.writePage(o, page)
	if len(page.Messages) == 0 {
		m.seq = max(m.seq, last) // nothing is left between
	}
	m.rejoin()
	o.yield(m)
	return nil
}

// yield puts a member behind the others, so that each laggard gets its page in turn.
func (o *Outlet) yield(m *Member) {
	for i := range o.members {
		if o.members[i] == m {
			copy(o.members[i:], o.members[i+1:])
			o.members[len(o.members)-1] = m
			return
		}
	}
}
