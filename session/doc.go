// Package session is one connection, from hello to goodbye: it carries out operations in the order
// they come, checks them against the limits, and answers each. Every transport makes the same
// operations; what differs is the encoding.
//
// [Session.Do] dispatches by a table. Answers and messages go out through the session's
// room.Outlet, so the package knows nothing of sockets.
package session
