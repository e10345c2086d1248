package engine

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"parley"
)

// anySubject asks for messages of any room. The store counts them without looking at each.
const anySubject = ">"

// scanMost is how many messages of a partition a page looks at.
const scanMost = 4096

// partPage is a stretch of a partition's log.
type partPage struct {
	messages []*parley.Message // Prev is exact
	next     uint64            // all up to here was looked at
	trimmed  []string
}

// ReadMany implements parley.Log. Each partition has its share of the page; what they give is put
// together by time.
func (e *Engine) ReadMany(ctx context.Context, match func(string) bool, after parley.Position, limit int) (parley.ManyPage, error) {
	if len(after) != e.cfg.Partitions {
		return parley.ManyPage{}, parley.Errorf(parley.BadRequest, "a cursor is one that this server gave")
	}
	page := parley.ManyPage{Next: slices.Clone(after)}
	pages := make([]partPage, e.cfg.Partitions)
	share := max(1, min(limit, parley.MaxPage)/e.cfg.Partitions)
	for i, p := range e.roomParts() {
		bound := p.told.Load()
		if after[i] >= bound {
			continue
		}
		var err error
		if pages[i], err = e.readPart(ctx, p, match, after[i], bound, share); err != nil {
			return parley.ManyPage{}, err
		}
		page.Next[i] = pages[i].next
		page.More = page.More || pages[i].next < bound
		page.Trimmed = append(page.Trimmed, pages[i].trimmed...)
	}
	page.Messages = mergeByTime(pages)
	return page, nil
}

// mergeByTime puts the partitions' messages together, each in its own order.
func mergeByTime(pages []partPage) []*parley.Message {
	n := 0
	for i := range pages {
		n += len(pages[i].messages)
	}
	out := make([]*parley.Message, 0, n)
	for len(out) < n {
		first := -1
		for i := range pages {
			if len(pages[i].messages) > 0 && (first < 0 || pages[i].messages[0].At.Before(pages[first].messages[0].At)) {
				first = i
			}
		}
		out = append(out, pages[first].messages[0])
		pages[first].messages = pages[first].messages[1:]
	}
	return out
}

// readPart reads a partition behind after, up to bound, for messages of rooms that match lets through.
func (e *Engine) readPart(ctx context.Context, p *partition, match func(string) bool, after, bound uint64, limit int) (partPage, error) {
	page, err := e.scanPart(ctx, p, match, after, bound, limit)
	if err != nil || len(page.messages) == 0 {
		return page, err
	}
	firsts := linkRooms(page.messages)
	if after == 0 {
		return page, nil // in front of all that is left there is nothing
	}
	bare, err := e.linkFronts(ctx, p, firsts, after)
	if err == nil && len(bare) > 0 {
		page.trimmed, err = e.mayBeTrimmedIn(ctx, p, bare, after)
	}
	return page, err
}

// scanPart gives the messages without their prevs.
func (e *Engine) scanPart(ctx context.Context, p *partition, match func(string) bool, after, bound uint64, limit int) (partPage, error) {
	page := partPage{next: after}
	rooms := make(map[string]string) // by subject: the room's name if it matches, else ""
	ask, looked, bytes := min(limit, parley.MaxPage), 0, 0
	if err := e.fence(ctx, p, bound); err != nil {
		return page, err
	}
	for page.next < bound && looked < scanMost {
		answers, err := e.store.Load().slow.batch(ctx, p.stream,
			request{Seq: page.next + 1, Next: anySubject, Batch: ask, MaxBytes: batchBytes})
		if err != nil {
			return page, err
		}
		if len(answers) == 0 {
			page.next = bound // nothing is left
			return page, nil
		}
		for _, a := range answers {
			seq := headerNumber(a.Header, hdrSeq)
			if seq > bound {
				page.next = bound
				return page, nil
			}
			if len(page.messages) == limit || bytes >= parley.MaxPageBytes {
				return page, nil
			}
			page.next = seq
			looked++
			subject := lastHeader(a.Header, hdrSubject)
			room, known := rooms[subject]
			if !known {
				if room, err = roomOf(subject); err != nil || !match(room) {
					room = ""
				}
				rooms[subject] = room
			}
			if room == "" {
				continue
			}
			m, err := decode(a, room)
			if err != nil {
				e.unreadable(err)
				continue
			}
			bytes += len(m.Body)
			page.messages = append(page.messages, m)
		}
		if 2*len(page.messages) < looked {
			ask = parley.MaxPage // few match: more are looked at at a time
		}
	}
	return page, nil
}

// linkRooms gives each message the prev that lies among them, and the first ones of each room.
func linkRooms(ms []*parley.Message) (firsts []*parley.Message) {
	last := make(map[string]uint64)
	for _, m := range ms {
		if m.Prev = last[m.Room]; m.Prev == 0 {
			firsts = append(firsts, m)
		}
		last[m.Room] = m.Seq
	}
	return firsts
}

// linkFronts gives the rooms' first messages their prevs, which lie at or below after. Those that
// have none are bare.
func (e *Engine) linkFronts(ctx context.Context, p *partition, firsts []*parley.Message, after uint64) (bare []*parley.Message, err error) {
	for chunk := range slices.Chunk(firsts, multiLast) {
		subjects := make([]string, len(chunk))
		for i, m := range chunk {
			subjects[i] = e.place(m.Room).subject
		}
		lasts, err := e.store.Load().slow.lasts(ctx, p.stream, subjects, after)
		if err != nil {
			return nil, err
		}
		front := make(map[string]uint64, len(lasts))
		for _, l := range lasts {
			front[l.subject] = l.seq
		}
		for i, m := range chunk {
			if m.Prev = front[subjects[i]]; m.Prev == 0 {
				bare = append(bare, m)
			}
		}
	}
	return bare, nil
}

// mayBeTrimmedIn gives those of the rooms of which retention may have removed messages behind after:
// by age, where it has come that far in the partition and was that short once; by number, where the
// room holds as many as were ever allowed.
func (e *Engine) mayBeTrimmedIn(ctx context.Context, p *partition, bare []*parley.Message, after uint64) (rooms []string, err error) {
	stream, err := e.store.Load().js.Stream(ctx, p.stream)
	if err != nil {
		return nil, errUnreachable.Because(err)
	}
	state := stream.CachedInfo().State
	aged := state.FirstSeq > after+1 && time.Since(p.created) >= p.minAge
	if !aged && int64(min(state.Msgs, never)) < p.minMessages {
		return nil, nil
	}
	for _, m := range bare {
		full := aged
		if !full {
			subject := e.place(m.Room).subject
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
			if err != nil {
				return nil, errUnreachable.Because(err)
			}
			full = int64(min(info.State.Subjects[subject], never)) >= p.minMessages
		}
		if full {
			rooms = append(rooms, m.Room)
		}
	}
	return rooms, nil
}

// SinceMany implements parley.Log.
func (e *Engine) SinceMany(ctx context.Context, t time.Time) (parley.Position, error) {
	from := sinceFrom(t)
	at := make(parley.Position, e.cfg.Partitions)
	for i, p := range e.roomParts() {
		bound := p.told.Load()
		if bound == 0 || from.Before(time.Unix(0, 0)) {
			continue
		}
		if err := e.fence(ctx, p, bound); err != nil {
			return nil, err
		}
		answers, err := e.store.Load().slow.batch(ctx, p.stream, request{StartTime: &from, Next: anySubject, Batch: 1})
		if err != nil {
			return nil, err
		}
		if at[i] = bound; len(answers) > 0 {
			at[i] = min(bound, headerNumber(answers[0].Header, hdrSeq)-1)
		}
	}
	return at, nil
}
