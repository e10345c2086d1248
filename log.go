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

	// Part says in which part of the log a room is: an index in every Position.
	Part(room string) int

	// FollowMany starts the live tail of all rooms that match lets through, those included that are
	// not there yet, and says where. Every message of theirs behind at is passed to deliver, each
	// once, none left out, those of one part in the order of their seqs; at reaches all that an
	// earlier receipt has named. upTo is where the part has been told up to: deliver is called
	// with no messages, now and then, where only rooms that do not match have moved it. Otherwise
	// deliver is held to what Follow says of it. match is asked about a room at any time, from any
	// goroutine, and always answers alike. There may be any number of such tails.
	FollowMany(ctx context.Context, match func(room string) bool, deliver DeliverMany) (at Position, stop func(), err error)

	// ReadMany gives up to limit messages behind a position, of rooms that match lets through: those of
	// one part in the order of their seqs, and across parts about as they were sent. It looks at a
	// bounded number of messages, so that a page may have none though there are more.
	ReadMany(ctx context.Context, match func(room string) bool, after Position, limit int) (ManyPage, error)

	// SinceMany finds where to ReadMany from for the messages that are not older than t.
	SinceMany(ctx context.Context, t time.Time) (Position, error)

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

// DeliverMany takes messages of one part of the log from a tail; see [Log.FollowMany].
type DeliverMany func(part int, upTo uint64, batch []*Message)

// ManyPage is a stretch of many rooms' logs.
type ManyPage struct {
	Messages []*Message // Prev is exact
	Next     Position   // behind them, and behind all that was looked at
	More     bool       // there was more behind Next when the page was read

	// Trimmed are rooms of which messages between the position asked for and their first one here
	// were, or may have been, removed by retention. Never in a part of which all that is left was
	// asked for, from seq 0 on.
	Trimmed []string
}

// RoomInfo is a room as a list shows it.
type RoomInfo struct {
	Name     string
	Seq      uint64 // of its newest message
	Messages uint64 // that are left
}
