package parley

import (
	"context"
	"time"
)

// Log is the durable log underneath: every message reaches members because the log delivered it.
// Nothing that could still be lost is ever shown by it: not in a tail, a page, or a seq.
//
// All methods may be called by many goroutines at once. Room names are as [ParseRoom] gives them.
type Log interface {
	// Append takes the draft's place in the room's order and returns; done is called once, when
	// the message is durable or has failed, from a goroutine of the log's: it must not block.
	// Drafts of one goroutine for one room are stored in the order appended. Where too much is in
	// flight, Append waits: back-pressure. It does not keep d.Body after it has returned.
	//
	// Failures, from Append itself (done is then never called) or through done, are of code
	// Unavailable: not stored, unless the sentence says that the outcome is unknown.
	Append(ctx context.Context, d Draft, done func(Receipt, error)) error

	// Follow starts the live tail of a room, and says where: last is the seq of its newest
	// message, 0 where there is none. Every message behind last is passed to deliver, in order,
	// each once, none left out. deliver is called by one goroutine at a time, must not block,
	// and may keep the messages but not the slice. It may be called before Follow has returned.
	// After stop has returned it is not called again; deliver must not call stop.
	// A room has at most one follower.
	Follow(ctx context.Context, room string, deliver func([]*Message)) (last uint64, stop func(), err error)

	// Read gives up to limit messages with seq > after, oldest first.
	Read(ctx context.Context, room string, after uint64, limit int) (Page, error)

	// Back finds where to Read from for the newest n messages below before (0 = no bound): the
	// returned position is the seq of the message in front of them, or 0 where none is in front.
	Back(ctx context.Context, room string, before uint64, n int) (after uint64, err error)

	// Since finds where to Read from for the messages that are not older than t.
	Since(ctx context.Context, room string, t time.Time) (after uint64, err error)

	// Rooms lists the rooms that hold messages, by name.
	Rooms(ctx context.Context) ([]RoomInfo, error)

	// Ready says why messages cannot be stored now; nil when they can.
	Ready() error
}

// Page is a stretch of a room's log.
type Page struct {
	Messages []*Message // ascending; Prev is exact
	More     bool       // there were more behind the last one when the page was read

	// Trimmed says that messages between the position asked for and the first one here were, or
	// may have been, removed by retention. Never for position 0, which asks for what is left.
	Trimmed bool
}

// RoomInfo is a room as a list shows it.
type RoomInfo struct {
	Name     string
	Seq      uint64 // of its newest message
	Messages uint64 // that are left
}
