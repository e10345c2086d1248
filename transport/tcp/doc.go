// Package tcp is the way in over plain TCP: JSON lines for programs, plain lines for people and
// for clients that know no protocol.
//
// A connection is greeted at once. Its first line decides what it speaks (first.go): a hello
// operation is JSON lines, anything else plain lines (plain.go), and what belongs to another port
// is told so and closed. One goroutine reads a connection; it holds no buffer while
// it waits (socket.go).
package tcp
