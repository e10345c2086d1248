package parley

// Bus carries what is not stored between the nodes of a cluster: signals, and who is present. What
// is published may be lost, though nothing comes twice, and what one node publishes comes in the
// order published. Whoever uses it has to find out what was lost, or do without it.
//
// All methods may be called by many goroutines at once.
type Bus interface {
	// Node is this node's name; every other node has another.
	Node() string

	// Publish passes data to all other nodes that subscribe to the topic. It does not block, and
	// keeps nothing of data. Where nobody can be reached it is dropped.
	Publish(topic string, data []byte)

	// Subscribe has deliver called with what others publish, by one goroutine at a time. deliver
	// may keep data. What it is too slow for is dropped: the oldest 8 MiB wait for it. After stop
	// has returned it is not called again; deliver must not call stop.
	Subscribe(topic string, deliver func(from string, data []byte)) (stop func(), err error)
}
