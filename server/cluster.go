package server

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"parley/engine"
	"parley/session"
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

// others is how many other nodes there are to join.
func (c *Cluster) others() int {
	others := make(map[string]bool)
	for _, a := range c.Join {
		others[a] = a != c.Listen && a != c.Advertise
	}
	n := 0
	for _, other := range others {
		if other {
			n++
		}
	}
	return n
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

// meet lets the nodes of a cluster, and so their clients, know of each other.
func (d *doors) meet() {
	bus := d.engine.Bus()
	if bus == nil {
		return
	}
	d.roster = newRoster(bus, d.listing, d.logger)
	d.sessions.Servers = d.roster.servers
	d.stopRoster = running(d.roster.run)
	d.stopStatus = running(d.tellStatus)
}

// How the clients of a node go to the others.
const (
	arrivals   = 5000                   // a second, that the others take in beside what they do
	partJitter = 100 * time.Millisecond // for those who are told at the same moment
)

// part has clients sent to the other nodes, where there are any: no faster than those take them in, as long
// as that is within half of the time that is left.
func (d *doors) part(ctx context.Context) {
	if d.roster == nil {
		return
	}
	servers := d.roster.elsewhere()
	if len(servers) == 0 {
		return
	}
	over := time.Duration(d.sessionCount()) * time.Second / arrivals
	if end, ok := ctx.Deadline(); ok {
		over = max(0, min(over, time.Until(end)/2))
	}
	d.sessions.Part(session.Parting{Over: over, Least: time.Millisecond, Most: partJitter, Servers: servers})
}

// handOver runs f and waits for it, but not for more than half of the time that is left: clients have
// to be told too.
func handOver(ctx context.Context, wg *sync.WaitGroup, f func()) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		f()
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
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
