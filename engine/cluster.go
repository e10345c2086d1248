package engine

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster says how this node and its peers find and trust each other. All nodes need the same
// peers, in Join or as their own Listen, and the same Secret.
type Cluster struct {
	Node   string   // this node's name, which no other has: letters, digits, - and _
	Listen string   // address of this node for the others, host:port
	Join   []string // addresses of the others; this node's own may be among them

	// Advertise is the address by which others reach Listen, where that is another (default Listen).
	Advertise string

	// Secret is what every node knows and no stranger. Without one only loopback addresses are
	// listened on and dialled. It is never logged.
	Secret []byte

	// TLS is what nodes show each other and what they ask for, as servers and as clients; nil = what they
	// say is not encrypted. It has to ask for certificates: see check.
	TLS *tls.Config `json:"-"` // it is no data

	// Adopt lets a data directory of one node alone become the beginning of this cluster's log.
	Adopt bool

	// SlowElections leaves the times by which a leader is found dead as JetStream has them: 4 to 9
	// seconds rather than 1 to 2.
	SlowElections bool
}

// maxReplicas is how many nodes hold each message where there are that many: two may then be
// asked while the third is away.
const maxReplicas = 3

func (c *Cluster) check() error {
	if c == nil {
		return nil
	}
	if !nodeName(c.Node) {
		return fmt.Errorf("engine: %q is no name of a node: 1 to 64 letters, digits, - and _", c.Node)
	}
	if len(c.others()) == 0 {
		return fmt.Errorf("engine: a cluster has more than one node: say where the others listen")
	}
	if c.TLS != nil && (c.TLS.ClientAuth != tls.RequireAndVerifyClientCert || c.TLS.InsecureSkipVerify) {
		return fmt.Errorf("engine: nodes of a cluster check each other's certificates, both ways")
	}
	addresses := append(slices.Clone(c.Join), c.Listen)
	if c.Advertise != "" {
		addresses = append(addresses, c.Advertise)
	}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			return fmt.Errorf("engine: address %q of a node: %w", a, err)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("engine: address %q of a node has no port from 1 to 65535", a)
		}
		if len(c.Secret) == 0 && !isLoopback(host) {
			return fmt.Errorf("engine: %s can be reached by others, who could read and write everything: a cluster secret is needed, or an address of 127.0.0.1", a)
		}
	}
	return nil
}

func nodeName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// free finds out early whether the address can be listened on: JetStream would only log it.
func (c *Cluster) free() error {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("engine: address for the other nodes: %w", err)
	}
	return l.Close()
}

// others gives the addresses to dial: those of Join but this node's own.
func (c *Cluster) others() []string {
	var out []string
	for _, a := range c.Join {
		if a != c.Listen && a != c.Advertise && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// size is how many nodes the cluster is made of at the start.
func (c *Cluster) size() int { return len(c.others()) + 1 }

// replicas is how many nodes hold each message.
func (c *Config) replicas() int {
	if c.Cluster != nil {
		return min(maxReplicas, c.Cluster.size())
	}
	if c.URL != "" {
		return maxReplicas
	}
	return 1
}

// handshakeWithin is how long nodes may take to show each other their certificates.
const handshakeWithin = 5 * time.Second

// routeUser is the name by which nodes know each other; the secret makes the password.
const routeUser = "parley"

// join adds to the options of an embedded server what makes it a node.
func (c *Cluster) join(o *server.Options) error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return err
	}
	o.ServerName = c.Node
	o.SyncAlways = true
	o.Tags = []string{nodeTag(c.Node)}
	// Routes are not made before there is a port for clients. Nobody is told of it, and without
	// the random password of this process's own user nobody gets in.
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT
	o.Cluster = server.ClusterOpts{Name: "parley", Host: host, Advertise: c.Advertise, NoAdvertise: true, AuthTimeout: 2}
	if o.Cluster.Port, err = strconv.Atoi(port); err != nil {
		return err
	}
	o.Cluster.Compression.Mode = server.CompressionOff
	if c.TLS != nil {
		o.Cluster.TLSConfig, o.Cluster.TLSTimeout = c.TLS.Clone(), handshakeWithin.Seconds()
		o.Cluster.AuthTimeout += o.Cluster.TLSTimeout
	}
	o.Cluster.WriteDeadline = routeWrites
	o.Cluster.PingInterval, o.Cluster.MaxPingsOut = routePings, routePingsOut
	if c.SlowElections {
		o.Cluster.PingInterval = slowRoutePings
	}
	if c.size() <= maxReplicas { // see readsHere
		// Every node has a replica of everything. Its reads stay with that one, so that what it has
		// shown once it finds again: routes do not carry them to others, which may be behind.
		own := &server.SubjectPermission{Deny: []string{directGet + ">"}}
		o.Cluster.Permissions = &server.RoutePermissions{Import: own, Export: own}
	}
	var user *url.Userinfo
	if len(c.Secret) > 0 {
		password, err := c.password()
		if err != nil {
			return err
		}
		o.Cluster.Username, o.Cluster.Password = routeUser, password
		user = url.UserPassword(routeUser, password)
	}
	for _, a := range c.others() {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: a, User: user})
	}
	return nil
}

// A route over a network that loses everything must not be trusted for long. TCP would try again ever
// more seldom, so that a cut that is healed stayed a cut for as long as it was one before; and a
// write that waits for the other side would keep this one from stopping.
const (
	routeWrites    = 2 * time.Second // without a byte taken, a route is made anew
	routePings     = time.Second
	routePingsOut  = 3 // without an answer, likewise
	slowRoutePings = 5 * time.Second
)

// password is what nodes say to each other: made of the secret, which itself is not said.
func (c *Cluster) password() (string, error) {
	key, err := hkdf.Key(sha256.New, c.Secret, nil, "parley cluster routes", sha256.Size)
	if err != nil {
		return "", fmt.Errorf("engine: cluster secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(key), nil
}

// nodeTag is by what a stream can be placed on one node.
func nodeTag(node string) string { return "server:" + node }
