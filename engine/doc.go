// Package engine is the durable log: parley.Log over JetStream, embedded as a rule, and the only package
// that knows NATS.
//
// The way of a message: [Engine.Append] writes a record and publishes it to its room's partition
// stream; the store's answer says at which seq it was written (ack.go); the syncer calls syncfs
// once for all that was written meanwhile and moves the watermark (sync.go); the releaser then
// passes the live copies to followers and the receipts to senders (release.go). The watermark is
// the one barrier: a receipt, a live message, a page and every seq shown lie at or below it.
//
// In a cluster the same parts stand over replicas on several nodes: appends go in batches that a
// majority syncs (batch.go), and a replica's reads wait until it has what this node has shown
// (fence.go). Leaders are watched and spread (watch.go, leaders.go).
//
// The live copies that JetStream republishes are a hint, the log is the truth: whatever the tail
// has missed is found by prev, by the partition's own count or by the safety check, and read from
// the log (catchup.go).
//
// The engine knows rooms, messages and seqs. It must never know members, sessions, grants or
// encodings.
package engine
