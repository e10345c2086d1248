// Package hooks connects rooms with the web: it posts what happens in them to URLs, and takes signed
// webhooks of others in.
//
// The way out: the log says that a room has grown (sender.go), and each hook that wants the room has a
// lane for it (hook.go). A worker reads the lane's next messages (lane.go) and posts one after the other
// (post.go), signed (signature.go). What was taken moves the lane's place, which is a durable reader of
// package work; what was not is tried again later; what never will be taken goes to the hook's room of
// dead letters (dead.go). So a message is posted at least once, and those of a room in their order.
//
// The way in: a Receiver (receiver.go) finds the hook, checks the signature before anything else is made
// of the body, and says which message it is.
//
// The package knows the log, rooms and places in them. It must never know sessions or how a request came.
package hooks
