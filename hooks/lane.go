package hooks

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"

	"parley"
	"parley/wire"
	"parley/work"
)

// Bounds of a worker's turn, and the pace of tries.
const (
	turnPage   = 32 // messages; then others have their turn
	maxBackoff = 10 * time.Minute
	readAgain  = time.Second // when the log could not be read or written
)

// readerName is the durable reader that is a hook's place in rooms.
func readerName(hook string) string { return work.OwnReader + "hook." + hook }

// place is where a lane is, and how its next message fares.
type place struct {
	reader *work.Reader // nil: not open
	known  bool         // at is
	fresh  bool         // it has never been anywhere, and nothing was there before

	next   uint64 // seq of the message that is next, as far as it is known
	tries  int    // of it that have failed
	opened bool   // it is the room's first, and the room was told of
	doomed string // why it will never be taken
}

// close lets go of the reader.
func (p *place) close() {
	if p.reader != nil {
		p.reader.Close()
		p.reader = nil
	}
}

// work posts what the lane has: a page of it at most. It says how long to wait before there is more to
// do, or that there is more now.
func (h *hook) work(ctx context.Context, t *target, l *lane) (wait time.Duration, more bool) {
	after, err := h.locate(ctx, l)
	limit := turnPage
	if l.tries > 0 || l.doomed != "" {
		limit = 1
	}
	var page parley.Page
	if err == nil {
		page, err = h.sender.Rooms.PageAfter(ctx, l.room, after, limit)
	}
	if err != nil {
		if ctx.Err() == nil {
			h.sender.Logger.Warn("a hook cannot read a room now; trying again", "hook", h.name, "room", l.room, "err", err)
		}
		return readAgain, false
	}
	if page.Trimmed && after > 0 && len(page.Messages) > 0 && page.Messages[0].Seq != l.next {
		h.counts.missed.Add(1)
		h.sender.Logger.Error("a hook has missed messages that its room no longer keeps",
			"hook", h.name, "room", l.room, "after", after, "next", page.Messages[0].Seq)
	}
	for i, m := range page.Messages {
		if h.sender.left() || h.target.Load() != t || h.held() || !h.sender.keeps(l.room) {
			return 0, true
		}
		if wait := h.settle(ctx, t, l, m, i == len(page.Messages)-1); wait > 0 {
			return wait, false
		}
	}
	return 0, page.More
}

// held says whether the receiver wants nothing now.
func (h *hook) held() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone || time.Now().Before(h.pause)
}

// locate finds where the lane is, and has its reader open.
func (h *hook) locate(ctx context.Context, l *lane) (after uint64, err error) {
	if l.reader == nil {
		reader, at, there, err := h.sender.Work.Reader(ctx, l.room, readerName(h.name))
		if err != nil {
			return 0, err
		}
		l.reader = reader
		if err := h.begin(ctx, l, at, there); err != nil {
			l.close()
			return 0, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return l.at, nil
}

// begin has a lane that is new go on where its reader is; where that has never been anywhere, from when
// the hook began.
func (h *hook) begin(ctx context.Context, l *lane, at uint64, there bool) (err error) {
	if l.known {
		return nil
	}
	if !there {
		if at, err = h.sender.Log.Since(ctx, l.room, h.began); err != nil {
			return err
		}
		l.fresh = at == 0
	}
	l.known = true
	h.mu.Lock()
	defer h.mu.Unlock()
	l.at = at
	return nil
}

// settle posts a message, or buries it. A wait says that it is still to be done, and when. last is the
// last message of a page.
func (h *hook) settle(ctx context.Context, t *target, l *lane, m *parley.Message, last bool) (wait time.Duration) {
	if l.next != m.Seq { // retention may have removed the one that was tried
		l.next, l.tries, l.opened, l.doomed = m.Seq, 0, false, ""
	}
	h.mu.Lock()
	l.behind = m.At
	h.mu.Unlock()
	if t.room && l.fresh && m.Prev == 0 && !l.opened {
		if wait := h.send(ctx, t, l, m, roomID(m.Room)+":created", created(m)); wait > 0 {
			return wait
		}
		l.opened = true
	}
	if t.message {
		frame := wire.JSONLines{}.Message(nil, m)
		if wait := h.send(ctx, t, l, m, roomID(m.Room)+":"+strconv.FormatUint(m.Seq, 10), frame[:len(frame)-1]); wait > 0 {
			return wait
		}
	}
	h.mu.Lock()
	l.at = m.Seq
	h.mu.Unlock()
	if t.message || last || l.fresh {
		h.moved(ctx, l, m.Seq)
	}
	l.fresh = false
	return 0
}

// moved has the lane's place written down. What follows does not wait for that: after a crash, what was
// posted in the meantime is posted again, under the same id.
func (h *hook) moved(ctx context.Context, l *lane, seq uint64) {
	h.places.Add(1)
	told := func(_ uint64, err error) {
		if err != nil {
			h.counts.forgot.Add(1)
		}
		h.places.Done()
	}
	if err := l.reader.Done(ctx, seq, told); err != nil {
		told(0, err)
	}
}

// send posts a body until it is taken or buried. A wait says that it is neither yet.
func (h *hook) send(ctx context.Context, t *target, l *lane, m *parley.Message, id string, body []byte) (wait time.Duration) {
	if l.doomed == "" {
		wait := h.try(ctx, t, l, m, id, body)
		if wait > 0 || l.doomed == "" {
			return wait
		}
	}
	if err := h.bury(ctx, t, l, m); err != nil {
		if ctx.Err() == nil {
			h.sender.Logger.Warn("a hook's dead letter cannot be stored now; trying again", "hook", h.name, "room", l.room, "seq", m.Seq, "err", err)
		}
		return readAgain
	}
	h.counts.dead.Add(1)
	l.tries, l.doomed = 0, ""
	return 0
}

// try posts a body once. Without a wait it was taken, or is doomed.
func (h *hook) try(ctx context.Context, t *target, l *lane, m *parley.Message, id string, body []byte) (wait time.Duration) {
	if l.tries > 0 {
		h.counts.retried.Add(1)
	}
	v := t.post(ctx, id, body)
	switch v.fate {
	case taken:
		h.counts.sent.Add(1)
		h.fared(time.Now(), "")
		l.tries = 0
		return 0
	case cut: // the server is going away
		return readAgain
	case gone:
		h.fared(time.Now(), v.why)
		h.retire()
		return readAgain
	}
	if v.after > 0 {
		h.rest(time.Now().Add(v.after))
	}
	h.counts.failed.Add(1)
	h.fared(time.Now(), v.why)
	if l.tries++; v.fate == refused || l.tries >= t.Tries {
		l.doomed = v.why
		return 0
	}
	if l.tries == 1 {
		h.sender.Logger.Warn("a hook's receiver did not take a message; trying again", "hook", h.name, "room", l.room, "seq", m.Seq, "why", v.why)
	}
	return max(v.after, backoff(t.Backoff, l.tries))
}

// backoff is the pause behind so many tries: twice as long each time, and up to half of it left out, so
// that many do not come back at once.
func backoff(first time.Duration, tries int) time.Duration {
	most := first
	for range tries - 1 {
		if most = min(2*most, maxBackoff); most == maxBackoff {
			break
		}
	}
	return most - rand.N(most/2+1)
}

// roomID is a room's name as a header can have it.
func roomID(room string) string { return url.PathEscape(room) }

// opening tells of a room's first message.
type opening struct {
	Op    string    `json:"op"`
	Room  string    `json:"room"`
	Event string    `json:"event"`
	Seq   uint64    `json:"seq"`
	At    time.Time `json:"at"`
}

func created(m *parley.Message) []byte {
	body, err := json.Marshal(opening{EventRoom, m.Room, "created", m.Seq, m.At})
	if err != nil {
		panic(err) // it cannot fail
	}
	return body
}
