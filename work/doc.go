// Package work keeps the books of services and workers on the log: the places of durable readers,
// and groups whose workers share a room's messages out among them.
//
// The way of a job: the group's goroutine copies the room's new messages into the group's journal
// (copy.go); when the copy is durable it loads them into its window (load.go) and gives them to
// workers that have room for more (give.go); a worker settles each (settle.go), and the step that
// says so is written together with all others of that moment (steps.go). Then the worker is told.
//
// What is in memory is what the journals say, and who holds which job: after a crash, or a write
// whose outcome nobody knows, the journals are read again (replay.go).
//
// The package knows the log and its rooms. It must never know sockets, encodings or grants.
package work
