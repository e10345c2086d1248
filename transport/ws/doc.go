// Package ws is the way in over WebSocket (RFC 6455, with permessage-deflate of RFC 7692): an
// operation per text message, a frame per text message back.
//
// [Server] is an http.Handler. It checks and answers the handshake (upgrade.go), takes the
// connection from net/http and hands it to a sock.Set: from then on a connection that is idle has
// no goroutine and no buffer. What is read goes through a parser (parser.go) that holds at most one
// message, within the limits; each whole message is an operation of the session (conn.go). One
// goroutine asks all connections in turn for a sign of life (heartbeat.go).
//
// The package knows nothing of paths and of who may come from which host: the HTTP server does.
package ws
