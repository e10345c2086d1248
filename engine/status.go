package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Status is what a node knows of its cluster.
type Status struct {
	Node       string            `json:"node"`     // who says this
	Majority   bool              `json:"majority"` // it knows of a leader with a majority for every partition
	Nodes      []NodeStatus      `json:"nodes"`
	Partitions []PartitionStatus `json:"partitions"`
}

// NodeStatus is one node as the leaders see it.
type NodeStatus struct {
	Name  string `json:"name"`
	Alive bool   `json:"alive"`
	Leads int    `json:"leads"` // partitions
	Lag   uint64 `json:"lag"`   // messages that the most backward of its replicas lacks
}

// PartitionStatus is one partition of the log.
type PartitionStatus struct {
	Stream   string          `json:"stream"`
	Leader   string          `json:"leader"` // "" = none with a majority
	Seq      uint64          `json:"seq"`    // of its newest message that this node has shown
	Replicas []ReplicaStatus `json:"replicas"`
}

// ReplicaStatus is one replica beside the leader.
type ReplicaStatus struct {
	Node    string `json:"node"`
	Alive   bool   `json:"alive"`
	Current bool   `json:"current"`
	Lag     uint64 `json:"lag"`
}

// stale is how old a look at a leader may be to count.
const stale = 4 * watchEvery

// Status gives what was last seen of the cluster, a second or so ago; nil where this node is alone. It
// asks nobody. Nodes that cannot be reached are those that were there once.
func (e *Engine) Status() *Status {
	if e.batches == nil {
		return nil
	}
	s := &Status{Node: e.cfg.Node, Majority: true, Nodes: []NodeStatus{}}
	nodes := make(map[string]*NodeStatus)
	if e.cfg.Cluster != nil {
		nodes[e.cfg.Node] = &NodeStatus{Name: e.cfg.Node, Alive: true}
	}
	e.watched.mu.Lock()
	defer e.watched.mu.Unlock()
	for i, w := range e.watched.by {
		p := PartitionStatus{Stream: e.parts[i].stream, Seq: e.parts[i].told.Load(), Replicas: []ReplicaStatus{}}
		fresh := time.Since(w.at) < stale
		s.Majority = s.Majority && fresh
		if w.leader != "" {
			n := nodeOf(nodes, w.leader) // also one that was not heard lately is of the cluster
			if fresh {
				p.Leader = w.leader
				n.Alive = true
				n.Leads++
			}
		}
		for _, r := range w.replicas {
			p.Replicas = append(p.Replicas, e.replica(r, fresh, nodeOf(nodes, r.Name)))
		}
		s.Partitions = append(s.Partitions, p)
	}
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, *n)
	}
	slices.SortFunc(s.Nodes, func(a, b NodeStatus) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// replica gives what a leader says of another node, and adds it to what is known of that one.
func (e *Engine) replica(r *jetstream.PeerInfo, fresh bool, n *NodeStatus) ReplicaStatus {
	alive := fresh && e.alive(r)
	n.Alive = n.Alive || alive
	n.Lag = max(n.Lag, r.Lag)
	return ReplicaStatus{Node: r.Name, Alive: alive, Current: fresh && r.Current, Lag: r.Lag}
}

func nodeOf(nodes map[string]*NodeStatus, name string) *NodeStatus {
	n := nodes[name]
	if n == nil {
		n = &NodeStatus{Name: name}
		nodes[name] = n
	}
	return n
}
