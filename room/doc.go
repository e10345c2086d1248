// Package room is the heart: rooms, their rings, the members' cursors, and the fan-out that
// writes to every member what its cursor owes it.
//
// A room is active while it has members. The log's tail delivers messages to it in order; the
// room keeps the newest in a ring, encoded once for each encoding in use, and marks its shards
// dirty. A fixed set of flushers walks dirty shards and, for each member, writes everything
// between its cursor and the head in one non-blocking write of the shared bytes. While a walk
// goes on more messages gather, so batching appears by itself under load and costs no delay when
// there is none.
//
// A member whose socket is full is parked, and one whose cursor has fallen behind the ring reads
// the log in pages: both by a goroutine of its own, the pump, that exists only as long as that
// lasts. Nobody else waits for it, and it costs no memory but its cursor and the rest of one
// message.
//
// What is not of the log, presence and signals, is written between messages by the same flushers
// and to those members alone that can take it now; see presence, signals and round.
//
// The package knows nothing of operations, names or grants. Locks are taken in the order
// Outlet.mu, Room.mu, flushers.mu; none is held over a wait.
package room
