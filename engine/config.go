package engine

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"
)

// Config says where the log lies and what it keeps. The zero value of a field is its default;
// only Dir has none.
type Config struct {
	Dir string // the data directory; it has one owner at a time. With URL it is not used

	// Node is this node's name where others share the log, by URL: letters, digits, - and _. With
	// Cluster it is the one given there.
	Node string

	// Cluster makes this engine one node of several that hold the log together. Nil: it is alone.
	Cluster *Cluster

	// URL is an external NATS cluster with JetStream, "nats://user:password@host:port" and more
	// of them with commas between. It holds the log in the place of the embedded one; how it syncs
	// decides then what an ack means.
	URL string

	// Partitions is the number of streams that rooms are spread over (default 4). It is recorded
	// when the directory is made, and another number is refused from then on.
	Partitions int

	RetainMessages int           // messages a room keeps (default 100,000; negative: no limit)
	RetainAge      time.Duration // how long a message is kept (default 30 days; negative: no limit)

	// Dedupe is how long a repeated id is answered with the first seq (default 10 minutes, or
	// RetainAge where that is shorter). Longer than RetainAge is refused.
	Dedupe time.Duration

	// MinFree is the free space, in bytes, below which appends are refused (default 64 MiB;
	// negative: none). A full disk is worse: the store then has to be reopened.
	MinFree int64

	// MaxInflight bounds the appends that are neither durable nor delivered yet; an append
	// counts one for every 4 KiB of its body begun (default 16,384, so 64 MiB).
	MaxInflight int

	// SafetyCheck is how often the log is asked for what the tail may have missed (default 5 s).
	SafetyCheck time.Duration

	// AppendTimeout is how long an append may stay without an answer before it fails with an
	// unknown outcome (default 15 s: a disk that others use can take that long for one sync; with
	// replicas 4.5 s, in which a leader that has died is replaced).
	AppendTimeout time.Duration

	Logger *slog.Logger // default: discard

	// Sync makes durable what was written to Dir before it was called. An error of it is final.
	// Default: syncfs, or where there is none, nothing: the store then syncs every write. It is
	// here for tests.
	Sync func() error

	losesCopy   func(seq uint64) bool // for tests: true = this live copy never comes
	closeWithin time.Duration         // how long the store may take to close; another for tests
}

// The defaults that Config names.
const (
	defaultPartitions  = 4
	maxPartitions      = 256
	defaultRetain      = 100_000
	defaultAge         = 30 * 24 * time.Hour
	defaultDedupe      = 10 * time.Minute
	defaultMinFree     = 64 << 20
	defaultMaxInflight = 16_384
	defaultSafetyCheck = 5 * time.Second
	defaultTimeout     = 15 * time.Second
	replicatedTimeout  = 4500 * time.Millisecond

	defaultCloseWithin    = time.Minute // a large log is written up before it is closed
	replicatedCloseWithin = 8 * time.Second
)

// withDefaults gives c with every field set, or says what is wrong with it. Unlimited retention is
// -1 from here on, no floor of free space 0.
func (c Config) withDefaults() (Config, error) {
	orInt(&c.Partitions, defaultPartitions)
	orInt(&c.RetainMessages, defaultRetain)
	orInt(&c.RetainAge, defaultAge)
	orInt(&c.MinFree, defaultMinFree)
	orInt(&c.MaxInflight, defaultMaxInflight)
	orInt(&c.SafetyCheck, defaultSafetyCheck)
	if c.replicated() {
		orInt(&c.AppendTimeout, replicatedTimeout)
		orInt(&c.closeWithin, replicatedCloseWithin)
	}
	orInt(&c.AppendTimeout, defaultTimeout)
	orInt(&c.closeWithin, defaultCloseWithin)
	if c.URL != "" {
		c.MinFree = -1 // the disk is another's
		if c.Node == "" {
			c.Node = rand.Text()
		}
	}
	if c.Cluster != nil {
		c.Node = c.Cluster.Node
	}
	c.RetainMessages, c.RetainAge, c.MinFree = max(c.RetainMessages, -1), max(c.RetainAge, -1), max(c.MinFree, 0)
	if c.Dedupe == 0 {
		c.Dedupe = defaultDedupe
		if c.RetainAge > 0 {
			c.Dedupe = min(c.Dedupe, c.RetainAge)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := c.Cluster.check(); err != nil {
		return c, err
	}
	switch {
	case c.URL != "" && c.Cluster != nil:
		return c, fmt.Errorf("engine: a node of a cluster of its own or a client of another one: not both")
	case c.URL != "" && !nodeName(c.Node):
		return c, fmt.Errorf("engine: %q is no name of a node: 1 to 64 letters, digits, - and _", c.Node)
	case c.Dir == "" && c.URL == "":
		return c, fmt.Errorf("engine: no data directory given")
	case c.Partitions < 1 || c.Partitions > maxPartitions:
		return c, fmt.Errorf("engine: %d partitions: between 1 and %d are possible", c.Partitions, maxPartitions)
	case c.Dedupe < minDedupe:
		return c, fmt.Errorf("engine: dedupe window %v: at least %v is possible", c.Dedupe, minDedupe)
	case c.RetainAge > 0 && c.RetainAge < minAge:
		return c, fmt.Errorf("engine: retention of %v: at least %v is possible", c.RetainAge, minAge)
	case c.RetainAge > 0 && c.Dedupe > c.RetainAge:
		return c, fmt.Errorf("engine: the dedupe window (%v) is longer than messages are kept (%v)", c.Dedupe, c.RetainAge)
	case c.MaxInflight < minInflight:
		return c, fmt.Errorf("engine: %d appends in flight: at least %d", c.MaxInflight, minInflight)
	case c.SafetyCheck < 0 || c.AppendTimeout < 0:
		return c, fmt.Errorf("engine: a negative interval")
	}
	return c, nil
}

// replicated says that others take part in storing a message, or do it alone: it is committed by
// batches that a majority has synced rather than by one sync of this node's disk.
func (c *Config) replicated() bool { return c.Cluster != nil || c.URL != "" }

// What JetStream can do at the least, and what one append of the largest body weighs.
const (
	minDedupe   = 100 * time.Millisecond
	minAge      = 100 * time.Millisecond
	minInflight = maxRecord/weightUnit + 1
)

func orInt[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}
