package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"parley"
	"parley/engine"
)

// Cluster is how a node finds and trusts the others. Without Listen the server is alone.
type Cluster struct {
	Listen     string   `yaml:"listen"`                // address for the other nodes, host:port
	Join       []string `yaml:"join"`                  // where the others listen; its own address may be among them
	Advertise  string   `yaml:"advertise"`             // address by which the others reach Listen; "" = the same
	Public     []string `yaml:"public"`                // addresses that clients are told of this node; none = where it listens
	SecretFile string   `yaml:"secret_file" as:"path"` // file with what all nodes know and no stranger; "" = loopback alone

	TLS ClusterTLS `yaml:"tls"`

	// SlowElections leaves JetStream its own times to find a leader dead, for nodes short of CPU.
	SlowElections bool `yaml:"slow_elections"`
}

// ClusterTLS is what nodes show each other: with it, what they say is encrypted, and each checks the other's
// certificate. All three or none.
type ClusterTLS struct {
	Cert string `yaml:"cert" as:"path"` // PEM, for the address by which the others reach this node
	Key  string `yaml:"key" as:"path"`  // PEM
	CA   string `yaml:"ca" as:"path"`   // PEM, who vouches for nodes, and for nobody else
}

// Engine is where the log is kept.
type Engine struct {
	URL string `yaml:"url" as:"secret"` // of an external NATS cluster; "" = in Data
}

// leastSecret is how long a secret is that cannot be tried out.
const leastSecret = 16

// clusterFindings are what is wrong with nodes and their cluster.
func (c *Config) clusterFindings() (f findings) {
	clustered := c.Cluster.Listen != ""
	f.need(clustered || len(c.Cluster.Join) == 0, "cluster.listen", "a cluster is joined, and the others need an address of this node: --cluster-listen")
	f.need(!clustered || c.Node != "", "node", "a node of a cluster needs a name that no other has: --node")
	f.need(!clustered || len(c.Cluster.Join) > 0, "cluster.join", "say where the other nodes listen: --cluster-join")
	f.need(!clustered || c.Engine.URL == "", "engine.url", "a cluster of its own, or an external one: not both")
	f.need(clustered || !c.Adopt, "adopt", "there is no cluster that could adopt anything")
	f = append(f, c.routeFindings()...)
	f.need(c.Cluster.SecretFile != "" || !c.shared() || c.Auth == nil || c.Auth.OIDC == nil, "cluster.secret_file",
		"people sign in at a provider, and a sign-in at one node is known to the others by their secret: one is needed")
	if c.Cluster.SecretFile != "" {
		_, err := readSecret(c.Cluster.SecretFile)
		f.need(err == nil, "cluster.secret_file", "%v", err)
	}
	return f
}

// readSecret reads what all nodes know. Nothing of it is in an error.
func readSecret(file string) ([]byte, error) {
	secret, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	secret = bytes.TrimSpace(secret)
	if len(secret) < leastSecret {
		return nil, fmt.Errorf("%s holds fewer than %d bytes: openssl rand -hex 32 makes a good secret", file, leastSecret)
	}
	return secret, nil
}

// joinTo completes what the log is told.
func (c *Config) joinTo(e *engine.Config) error {
	e.URL, e.Node = c.Engine.URL, c.Node
	if c.Cluster.Listen == "" {
		return nil
	}
	e.Cluster = &engine.Cluster{
		Node: c.Node, Listen: c.Cluster.Listen, Join: c.Cluster.Join, Advertise: c.Cluster.Advertise,
		Adopt: c.Adopt, SlowElections: c.Cluster.SlowElections,
	}
	if c.Cluster.SecretFile == "" {
		return nil
	}
	secret, err := readSecret(c.Cluster.SecretFile)
	if err != nil {
		return badConfig("cluster.secret_file: %w", err)
	}
	e.Cluster.Secret = secret
	return nil
}

// shared says whether other nodes may have the same log.
func (c *Config) shared() bool { return c.Cluster.Listen != "" || c.Engine.URL != "" }

// Roster: which addresses clients may come to, told to each other over the bus.
const (
	rosterTopic = "servers"
	rosterEvery = time.Second
	rosterLease = time.Minute // a node that is away for long is told to clients no more
	rosterMost  = 64
)

// roster is the addresses of all nodes that clients can come to.
type roster struct {
	bus    parley.Bus
	own    []string
	logger *slog.Logger
	fresh  chan struct{} // holds one wish: a node is there that was not

	mu    sync.Mutex
	nodes map[string]listing
}

// listing is what one node says of itself.
type listing struct {
	servers []string
	at      time.Time
}

func newRoster(bus parley.Bus, own []string, logger *slog.Logger) *roster {
	return &roster{bus: bus, own: own, logger: logger, fresh: make(chan struct{}, 1), nodes: make(map[string]listing)}
}

// run tells the others of this node, and hears of them, until ctx ends.
func (r *roster) run(ctx context.Context) {
	stop, err := r.bus.Subscribe(rosterTopic, r.hear)
	if err != nil {
		r.logger.Error("clients are told of no other node", "error", err)
		return
	}
	defer stop()
	data, err := json.Marshal(r.own)
	if err != nil {
		return // of strings nothing fails
	}
	tick := time.NewTicker(rosterEvery)
	defer tick.Stop()
	for {
		r.bus.Publish(rosterTopic, data)
		select {
		case <-tick.C:
		case <-r.fresh: // it has to hear of this node too, and at once
		case <-ctx.Done():
			return
		}
	}
}

func (r *roster) hear(from string, data []byte) {
	var servers []string
	if err := json.Unmarshal(data, &servers); err != nil || len(servers) > rosterMost {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.nodes[from]; !known {
		select {
		case r.fresh <- struct{}{}:
		default:
		}
	}
	r.nodes[from] = listing{servers, time.Now()}
}

// servers gives the addresses of all nodes, this one's first.
func (r *roster) servers() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.own)
	var others []string
	for node, l := range r.nodes {
		if time.Since(l.at) > rosterLease {
			delete(r.nodes, node)
			continue
		}
		others = append(others, l.servers...)
	}
	slices.Sort(others)
	return slices.Compact(append(all, others...))
}

// meet lets the nodes of a cluster, and so their clients, know of each other: their addresses, and when
// too few of them can be reached.
func (d *doors) meet() {
	bus := d.engine.Bus()
	if bus == nil {
		return
	}
	r := newRoster(bus, d.public(), d.logger)
	d.sessions.Servers, d.servers = r.servers, r.servers
	d.stopRoster = running(r.run)
	d.stopStatus = running(d.tellStatus)
}

// public gives the addresses that clients are told of this node.
func (d *doors) public() []string {
	if len(d.config.Cluster.Public) > 0 {
		return d.config.Cluster.Public
	}
	a := d.addresses()
	var all []string
	if reachable(a.TCP) {
		all = append(all, scheme(a.SecureTCP, "tls://", "")+a.TCP)
	}
	if a.HTTP != "" && reachable(a.HTTP) {
		all = append(all, scheme(a.SecureHTTP, "wss://", "ws://")+a.HTTP+"/ws")
	}
	return all
}

func scheme(secure bool, with, without string) string {
	if secure {
		return with
	}
	return without
}

// reachable says whether an address that is listened on is one to connect to, too.
func reachable(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && !ip.IsUnspecified()
}

// clusterStatus is what GET /cluster answers.
type clusterStatus struct {
	*engine.Status
	Ready    bool   `json:"ready"`
	Reason   string `json:"reason,omitempty"` // why not
	Rooms    int    `json:"rooms"`            // active at this node
	Sessions int    `json:"sessions"`         // at this node

	Servers []string `json:"servers"` // where clients can come, as they are told
}

// cluster answers how the cluster is, as this node sees it.
func (d *doors) cluster() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := clusterStatus{Status: d.engine.Status(), Ready: true, Rooms: d.hub.Stats().Rooms}
		if s.Status == nil {
			s.Status = &engine.Status{Node: d.config.Node, Nodes: []engine.NodeStatus{}, Partitions: []engine.PartitionStatus{}}
		}
		var reason *parley.Error
		if err := d.engine.Ready(); errors.As(err, &reason) {
			s.Ready, s.Reason = false, reason.Message
		}
		s.Servers = d.public()
		if d.servers != nil {
			s.Servers = d.servers()
		}
		s.Sessions = int(d.tcp.Stats().Open + d.ws.Stats().Open + d.sse.Stats().Open)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s) // a client that has gone does not read it
	})
}
