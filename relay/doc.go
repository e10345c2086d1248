// Package relay brings what sessions say of jobs to the node of a cluster that keeps them.
//
// The rooms are split in parts, and the groups of a part are kept by one node, its owner: the one that
// leads the part of the log. Every node says in its beats which parts it keeps (nodes.go). What a
// session asks for becomes a call (calls.go), which goes to the owner over the bus, or straight to
// this node's own books, and is asked again until it is answered or its time is over: whoever is asked
// twice answers twice and does it once (serve.go). A worker keeps its place when the owner changes: it
// takes again from the new one, and says what it holds (taker.go).
//
// Two nodes may believe to own a part, and messages may be lost: that costs time, and a job may be
// given out again, but the books stay right. They see to that themselves (package work).
//
// The package knows the bus and the books. It must never know sockets, encodings or grants.
package relay
