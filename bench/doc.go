// Package bench drives servers with loads and says what they cost: deliveries and acknowledged
// sends a second, the CPU time of the server's process for a million of them, latencies, memory.
//
// A load ([Fanout], [Publish], [Resume], [Idle], [Start]) is a plain struct; a [Setup] runs it
// against a parley server, which it starts as a subprocess, and, in the same run and in the same
// way, against peers: a plain nats-server, or a bare loop of write calls, the floor under every
// fan-out. [Setup.All] runs the table of figures that Parley is held against.
//
// The generator shares the machine with what it measures, so it is lean: it speaks the wire
// protocols by hand, reads many sockets with one epoll loop per core into one warm buffer (poll),
// and counts line ends. What it counts it also checks: a load that lost a message fails.
//
// The package knows the wire protocols, and nothing of how a server is made.
package bench
