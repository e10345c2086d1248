// Package sse is the way out over server-sent events: a GET is a session whose joins came from the
// URL, and which sends nothing.
//
// [Server.Stream] reads what the request asks for (request.go), takes the connection from net/http
// and returns: from there on it is one of a sock.Set, written to by the rooms' flushers and without
// a goroutine while nothing happens (stream.go). One ticker serves the heartbeats of all streams
// (heartbeat.go).
//
// The bytes of an event are the same for everyone, its id, the seq, included. A stream of several
// rooms has ids of its own, the places in all of its rooms; it puts them in as it writes (places.go).
//
// The package knows nothing of paths, and of answers only those that begin a stream.
package sse
