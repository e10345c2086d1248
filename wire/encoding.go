package wire

import (
	"time"

	"parley"
)

// Encoding is how frames look to one kind of client. Every method appends one whole frame to dst
// and returns it, its terminator included. Encodings are comparable values without state.
type Encoding interface {
	// What a room sends: the same bytes for every member.
	Message(dst []byte, m *parley.Message) []byte
	Gap(dst []byte, room string, after, next uint64) []byte

	// What a pattern sends between messages: all in front of it was sent up to a position.
	Cursor(dst []byte, pattern string, at parley.Position) []byte

	// What a room sends and does not store: the same bytes for every member too. An encoding that
	// shows none of it appends nothing.
	Presence(dst []byte, room string, p Presence) []byte
	Signal(dst []byte, room, from string, body []byte) []byte

	// What a server says of itself to all who are in its rooms.
	Status(dst []byte, s Status) []byte

	// What answers one session. ref is the client's tag as it wrote it, nil for none.
	Welcome(dst, ref []byte, w Welcome) []byte
	Joined(dst, ref []byte, room string, seq uint64) []byte
	JoinedMany(dst, ref []byte, pattern string, at parley.Position) []byte
	JoinedMembers(dst, ref []byte, room string, seq uint64, users []string, count int) []byte
	Left(dst, ref []byte, room string) []byte
	Ack(dst, ref []byte, room string, r parley.Receipt) []byte
	Page(dst, ref []byte, room string, p parley.Page) []byte
	Members(dst, ref []byte, room string, users []string, count int) []byte
	Rooms(dst, ref []byte, rooms []RoomEntry, more bool) []byte
	Pong(dst, ref []byte) []byte

	// What a worker is given, and the answers to its operations beside Ack.
	Job(dst []byte, j *parley.Job) []byte
	Taking(dst, ref []byte, room, group string) []byte
	Stopped(dst, ref []byte, room, group string) []byte
	Busy(dst, ref []byte, room, job string, deadline time.Duration) []byte

	// What is asked and answered, and the answers to serve and ask.
	Serving(dst, ref []byte, room string) []byte
	Question(dst []byte, q *parley.Question) []byte
	OneAnswer(dst, ref []byte, room string, a *parley.Answer) []byte
	Answered(dst, ref []byte, room string, count int) []byte

	// What the books say, and what was taken out of them.
	Groups(dst, ref []byte, room string, groups []GroupEntry) []byte
	Readers(dst, ref []byte, room string, readers []ReaderEntry, more bool) []byte
	Removed(dst, ref []byte, room, group, reader string) []byte
	Hooks(dst, ref []byte, hooks []HookEntry) []byte

	Revoked(dst, ref []byte) []byte
	Draining(dst, ref []byte) []byte
	Error(dst, ref []byte, e *parley.Error) []byte
}

// RoomEntry is a room in a list of rooms.
type RoomEntry struct {
	Room     string `json:"room"`
	Seq      uint64 `json:"seq"`      // of its newest message; 0 = none
	Messages uint64 `json:"messages"` // that are left
	Members  int    `json:"members"`  // users in it now
}

// Presence is what members that asked are told about who is in a room. It bears one of three
// things: a change, all users anew, or the count alone.
type Presence struct {
	Joined, Left []string // a change: who came and who went, each user once
	Members      []string // all who are there, in place of what was told before; nil = a change or the count
	Count        int      // users there now
}

// Status is whether a server can store messages, and show those stored elsewhere.
type Status struct {
	Available bool
	Message   string // a sentence for people
}

// Welcome is the answer to a hello.
type Welcome struct {
	User    string
	Session parley.SessionID
	Limits  parley.Limits
	Servers []string // where clients may come in a cluster: host:port, tls://, ws:// and wss://
}
