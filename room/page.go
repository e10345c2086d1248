package room

import (
	"context"
	"sort"
	"time"

	"parley"
	"parley/wire"
)

// Pages of a room come from its ring where that reaches back far enough, else from the log.

// PageAfter gives up to limit messages with seq > after, oldest first; limit is 1 to MaxPage.
func (h *Hub) PageAfter(ctx context.Context, room string, after uint64, limit int) (parley.Page, error) {
	if r := h.peek(room); r != nil {
		if page, ok := r.pageAfter(after, limit); ok {
			return page, nil
		}
	}
	return h.log.Read(ctx, room, after, limit)
}

// PageBefore gives the newest limit messages with seq < before, oldest first; before 0 means the
// newest of all. More says that there are older ones.
func (h *Hub) PageBefore(ctx context.Context, room string, before uint64, limit int) (parley.Page, error) {
	r := h.peek(room)
	if r != nil {
		if page, ok := r.pageBefore(before, limit); ok {
			return page, nil
		}
	}
	for {
		after, err := h.log.Back(ctx, room, before, limit)
		if err != nil {
			return parley.Page{}, err
		}
		page, err := h.log.Read(ctx, room, after, limit)
		if err != nil {
			return parley.Page{}, err
		}
		got := len(page.Messages)
		if before > 0 {
			page.Messages = below(page.Messages, before)
		}
		if got == len(page.Messages) && page.More && got < limit && got > 0 {
			limit = min(got, limit-1) // the page ended early, at its bytes: its end is what was asked for
			continue
		}
		page.More = after > 0
		return page, nil
	}
}

// Names lists the rooms there are: those that hold messages, and those that are active.
func (h *Hub) Names(ctx context.Context) ([]string, error) {
	infos, err := h.log.Rooms(ctx)
	if err != nil {
		return nil, err
	}
	active := h.active()
	names := make([]string, 0, len(infos)+len(active))
	for _, i := range infos {
		names = append(names, i.Name)
	}
	for _, r := range active {
		if r.many == nil {
			names = append(names, r.name) // perhaps for the second time
		}
	}
	return names, nil
}

// below cuts a page off in front of seq before.
func below(msgs []*parley.Message, before uint64) []*parley.Message {
	return msgs[:sort.Search(len(msgs), func(i int) bool { return msgs[i].Seq >= before })]
}

// Rooms lists up to limit rooms that shows lets through, behind the one named after, by name, with
// how many users are in them.
func (h *Hub) Rooms(ctx context.Context, after string, limit int, shows func(name string) bool) (list []wire.RoomEntry, more bool, err error) {
	infos, err := h.log.Rooms(ctx)
	if err != nil {
		return nil, false, err
	}
	byName := make(map[string]wire.RoomEntry, len(infos))
	for _, i := range infos {
		byName[i.Name] = wire.RoomEntry{Room: i.Name, Seq: i.Seq, Messages: i.Messages}
	}
	if h.peers != nil {
		for name, count := range h.peers.Counts() {
			e := byName[name]
			e.Room, e.Members = name, count
			byName[name] = e
		}
	}
	for _, r := range h.active() {
		if r.many != nil || !isClosed(r.ready) {
			continue
		}
		r.mu.Lock()
		count := len(r.present)
		r.mu.Unlock()
		if e, known := byName[r.name]; known || count > 0 {
			e.Room, e.Members = r.name, count
			byName[r.name] = e
		}
	}
	for name, e := range byName {
		if name > after && shows(name) {
			list = append(list, e)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Room < list[j].Room })
	if len(list) > limit {
		return list[:limit], true, nil
	}
	return list, false, nil
}

// peek finds a room that is active, without keeping it so.
func (h *Hub) peek(name string) *Room {
	h.mu.Lock()
	r := h.rooms[name]
	h.mu.Unlock()
	if r == nil || !isClosed(r.ready) || r.err != nil {
		return nil
	}
	return r
}

// kept says whether retention keeps all of these, the newest messages of a room.
func (h *Hub) kept(msgs []*parley.Message, now time.Time) bool {
	return len(msgs) <= h.config.RetainMessages && (len(msgs) == 0 || now.Sub(msgs[0].At) < h.config.RetainAge)
}

// newest gives the ring's messages behind after, where it holds all there are and a reader may
// see them.
func (r *Room) newest(after uint64) ([]*parley.Message, bool) {
	r.mu.Lock()
	msgs, all := r.ring.since(after)
	r.mu.Unlock()
	return msgs, all && r.hub.kept(msgs, time.Now())
}

func (r *Room) pageAfter(after uint64, limit int) (parley.Page, bool) {
	msgs, ok := r.newest(after)
	if !ok {
		return parley.Page{}, false
	}
	n, bytes := 0, 0
	for n < len(msgs) && n < limit && (n == 0 || bytes+len(msgs[n].Body) <= parley.MaxPageBytes) {
		bytes += len(msgs[n].Body)
		n++
	}
	return parley.Page{Messages: msgs[:n:n], More: n < len(msgs)}, true
}

func (r *Room) pageBefore(before uint64, limit int) (parley.Page, bool) {
	r.mu.Lock()
	all := r.ring.msgs
	r.mu.Unlock()
	msgs := all
	if before > 0 {
		msgs = below(all, before)
	}
	n, bytes := 0, 0
	for n < len(msgs) && n < limit {
		if bytes += len(msgs[len(msgs)-1-n].Body); n > 0 && bytes > parley.MaxPageBytes {
			break
		}
		n++
	}
	first := len(msgs) - n
	whole := first == 0 && n < limit // the ring's start, not the page's: there may be older ones
	if n == 0 || (whole && msgs[0].Prev != 0) || !r.hub.kept(all[first:], time.Now()) {
		return parley.Page{}, false
	}
	older := (first > 0 || msgs[0].Prev != 0) && len(all)-first < r.hub.config.RetainMessages
	return parley.Page{Messages: msgs[first:], More: older}, true
}

// back is Log.Back, from the ring where it reaches that far.
func (h *Hub) back(ctx context.Context, r *Room, before uint64, n int) (uint64, error) {
	r.mu.Lock()
	msgs := r.ring.msgs
	r.mu.Unlock()
	if before == 0 && len(msgs) >= n && h.kept(msgs[len(msgs)-n:], time.Now()) {
		return msgs[len(msgs)-n].Prev, nil
	}
	return h.log.Back(ctx, r.name, before, n)
}
