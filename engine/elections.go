package engine

import (
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	_ "github.com/nats-io/nats-server/v2/server"
)

// JetStream's replicas take a leader for dead after 4 to 9 seconds. For people in a room that is
// long, and the times are no options of the server's but variables of its package. A
// variable that a later version has no more would be one of ours, and zero: a test sees that.

//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
var hbInterval time.Duration

//go:linkname lostQuorumInterval github.com/nats-io/nats-server/v2/server.lostQuorumInterval
var lostQuorumInterval time.Duration

//go:linkname lostQuorumCheck github.com/nats-io/nats-server/v2/server.lostQuorumCheck
var lostQuorumCheck time.Duration

// asMade are the times before anything was set.
var asMade = [...]time.Duration{minElectionTimeout, maxElectionTimeout, hbInterval, lostQuorumInterval, lostQuorumCheck}

// hasten shortens them, once and for the whole process, before the first server of a cluster
// starts: they are read without a lock.
var hasten = sync.OnceFunc(func() {
	minElectionTimeout, maxElectionTimeout = time.Second, 2*time.Second
	hbInterval = 250 * time.Millisecond
	lostQuorumInterval, lostQuorumCheck = 3*time.Second, time.Second
})
