// Command faults runs the campaign of faults against a cluster of three nodes: the real binary on
// three hosts (network namespaces on one machine, each with a disk of its own whose power can be cut),
// clients of all transports that come, go and send, and faults drawn from a seed. Each run
// writes a history, heals what was broken, reads all rooms from every node, and judges.
//
//	go run ./e2e/faults -runs 20 -seed 1
//
// A seed gives the same faults at the same times; what the machine makes of them may differ. The
// program needs root on Linux. It moves into namespaces of its own, so that whatever ends it, the
// kernel takes away its hosts, its mounts and its nodes.
//
//	ground.go    the namespaces, the hosts and their disks
//	node.go      one node: start, kill, pause, cut
//	plan.go      the faults of a run, drawn from its seed
//	fault.go     what each fault does, and how it heals
//	clients.go   publishers and readers, and their connections: conn.go
//	run.go       a run from start to verdict
//	minority.go  one node cut off, looked at closely: -minority
//	figures.go   what is printed
package main
