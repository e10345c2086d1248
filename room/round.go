package room

import (
	"parley"
	"parley/wire"
)

// round writes frames that are not of the room's log, presence or signals, to its members: each
// frame whole, between messages, and encoded once for each encoding in use. A flusher goes over
// one shard at a time and then serves others, so that messages never wait for a whole round.
// Owned by the flusher at work on it.
type round struct {
	shards []*shard // still to be gone over
	made   []made
}

// made is the frames of a round in one encoding; the sessions among its marks are their senders.
type made struct {
	enc  wire.Encoding
	span span
}

// rounder has frames for a round.
type rounder interface {
	// encode makes the frames; an encoding that shows none of them has no bytes for them.
	encode(enc wire.Encoding) span
	// offer writes the frames to a member, or notes that it cannot take them now.
	offer(m *Member, f *made)
}

// on says whether the round is under way.
func (r *round) on() bool { return len(r.shards) > 0 }

// step goes over the next shard.
func (r *round) step(of rounder) {
	for _, m := range *r.shards[0].members.Load() {
		if f := r.frames(of, m.strand.Load().enc); len(f.span.buf) > 0 {
			of.offer(m, f)
		}
	}
	if r.shards = r.shards[1:]; !r.on() {
		*r = round{}
	}
}

func (r *round) frames(of rounder, enc wire.Encoding) *made {
	for i := range r.made {
		if r.made[i].enc == enc {
			return &r.made[i]
		}
	}
	r.made = append(r.made, made{enc, of.encode(enc)})
	return &r.made[len(r.made)-1]
}

// add appends a frame that append has made; from is its sender.
func (c *span) add(from parley.SessionID, frame func(dst []byte) []byte) {
	c.buf = frame(c.buf)
	c.marks = append(c.marks, mark{session: from, end: uint32(len(c.buf))})
}

// takes says whether frames of an encoding can be written to the outlet now: nothing waits in
// front of them. Its mu is held.
func (o *Outlet) takes(enc wire.Encoding) bool {
	return !o.pumping && o.enc == enc && o.flushReplies()
}
