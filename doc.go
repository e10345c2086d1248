// Package parley holds the words and contracts of a messaging server in which many clients
// share rooms.
//
// A room is a named, ordered, durable log. What a client sends to a room is a [Draft]; what the
// room's members get is a [Message], which has its place in the room: a seq that rises within the
// room, and a prev, the seq of the message before it, by which anyone can tell a gap. A member is
// a session that has joined a room; it holds a cursor, a place in the room's log, and nothing
// else: what it has not read yet stays in the log.
//
// The log is the only source. [Log] says what Parley asks of it: append (acknowledged when the
// message is on disk, and only then), follow (the live tail of a room), and read. Package engine
// implements it over JetStream, package internal/logtest in memory, and one suite of tests holds
// for both.
//
// The other packages stand on floors, each importing only what is below it:
//
//	cmd/parley   the command line
//	server       wiring, start and stop            bench   loads and peers
//	transport    sockets: tcp
//	session      one connection's operations
//	room         hub, rings, cursors, fan-out      client  the Go client
//	wire         operations and frames             engine  the durable log
//	parley       this package
package parley
