package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"parley"
	"parley/engine"
)

// clusterStatus is what GET /cluster answers: from what this node knows, so at once, whoever can be
// reached.
type clusterStatus struct {
	*engine.Status
	Nodes  []nodeStatus `json:"nodes"`
	Ready  bool         `json:"ready"`            // this node
	Reason string       `json:"reason,omitempty"` // why not

	// Of the nodes that are up.
	Rooms    int `json:"rooms"`    // that somebody is in
	Members  int `json:"members"`  // users of rooms: one who is in two counts twice
	Sessions int `json:"sessions"` // connections

	Servers []string `json:"servers"` // where clients can come, as they are told
}

// nodeStatus is a node as the leaders see it, and what it says of itself. One that is not up said
// that a while ago.
type nodeStatus struct {
	engine.NodeStatus
	Ready    bool `json:"ready"`
	Leaving  bool `json:"leaving"` // it sends its clients away, or has ended
	Sessions int  `json:"sessions"`
	Rooms    int  `json:"rooms"` // active at it
}

// cluster answers how the cluster is, as this node sees it.
func (d *doors) cluster() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := d.status()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s) // a client that has gone does not read it
	})
}

func (d *doors) status() clusterStatus {
	own := d.listing()
	s := clusterStatus{Status: d.engine.Status(), Nodes: []nodeStatus{}, Ready: own.Ready, Servers: own.Servers}
	var reason *parley.Error
	if errors.As(d.engine.Ready(), &reason) {
		s.Reason = reason.Message
	}
	s.Rooms, s.Members = d.hub.Census()
	if s.Status == nil {
		s.Status = &engine.Status{Node: d.config.Node, Partitions: []engine.PartitionStatus{}}
		s.Sessions = own.Sessions
		return s
	}
	s.Servers = d.roster.servers()
	nodes := make(map[string]*nodeStatus)
	for _, n := range s.Status.Nodes {
		nodes[n.Name] = &nodeStatus{NodeStatus: n}
	}
	now := time.Now()
	known := d.roster.others()
	known[s.Node] = heard{d.roster.own(), now}
	for name, h := range known {
		n := nodes[name]
		if n == nil {
			n = &nodeStatus{NodeStatus: engine.NodeStatus{Name: name}}
			nodes[name] = n
		}
		n.Ready, n.Leaving, n.Sessions, n.Rooms = h.Ready, h.Leaving, h.Sessions, h.Rooms
		if h.fresh(now) {
			n.Alive = true
			s.Sessions += n.Sessions
		}
	}
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, *n)
	}
	slices.SortFunc(s.Nodes, func(a, b nodeStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// listing is what this node says of itself.
func (d *doors) listing() listing {
	return listing{
		Servers: d.public(), Ready: d.engine.Ready() == nil, Sessions: d.sessionCount(), Rooms: d.hub.Stats().Rooms,
	}
}

// sessionCount is how many clients are inside.
func (d *doors) sessionCount() (n int) {
	if !d.made.Load() {
		return 0
	}
	n = d.tcp.Stats().Open
	if d.pages != nil {
		n += d.ws.Stats().Open + d.sse.Stats().Open
	}
	return n
}
