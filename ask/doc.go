// Package ask brings questions to the sessions that serve a room, and their answers back. Nothing
// of it is stored: a [Desk] is memory, and every question ends by the clock. In a cluster the desks of
// its nodes tell each other which rooms they serve, and pass questions on (nodes.go).
//
// The package must never know sockets, encodings or grants.
package ask
