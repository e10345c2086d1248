// Package wire is what crosses a socket: the operations a client asks for, and the frames that
// answer them, in each encoding. docs/protocol.md is its specification, testdata/ its examples.
//
// Coming in, [ParseOp] turns one JSON object into an [Op]. Going out, an [Encoding] appends frames
// to a buffer of the caller's; what it appends for a message depends on the message alone, never
// on who receives it, so that one copy serves every member.
//
// The package knows nothing of sockets, sessions or rooms.
package wire
