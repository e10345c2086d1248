package engine_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/engine"
	"parley/internal/certtest"
)

// nodeTLS is what a node of an authority's shows and asks for.
func nodeTLS(t *testing.T, authority *certtest.Authority) *tls.Config {
	c := authority.Server()
	c.ClientAuth, c.ClientCAs, c.RootCAs = tls.RequireAndVerifyClientCert, authority.Pool(), authority.Pool()
	return c
}

// knock speaks TLS to a node as other nodes do, and gives what the node says: until it lets one in, or how
// it ends that.
func knock(t *testing.T, addr string, config *tls.Config, hello string) (string, error) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	secure := tls.Client(c, config)
	if _, err := io.WriteString(secure, hello); err != nil { // it shakes hands first
		return "", err
	}
	var said strings.Builder
	for in := bufio.NewReader(secure); !strings.HasSuffix(said.String(), "PONG\r\n"); {
		line, err := in.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			return said.String(), err
		}
	}
	return said.String(), nil
}

func TestNodesSpeakTLSAndRefuseStrangers(t *testing.T) {
	ours, others := certtest.New(t), certtest.New(t)
	cl := configureCluster(t, engine.Config{Cluster: &engine.Cluster{Secret: []byte("of the three alone")}})
	for i := range cl.configs {
		cl.configs[i].Cluster.TLS = nodeTLS(t, ours)
	}
	cl.open(0, 1, 2)
	seqs := sayMany(t, cl.nodes[0], "lobby", 20)
	for end := time.Now().Add(20 * time.Second); len(readAll(t, cl.nodes[2], "lobby")) < len(seqs); tick() {
		if time.Now().After(end) {
			t.Fatal("another node does not have the messages")
		}
	}

	addr := cl.configs[0].Cluster.Listen
	connect := func(secret string) string {
		node := engine.Cluster{Secret: []byte(secret)}
		return `CONNECT {"user":"parley","pass":"` + node.Password() + `","server_id":"x","name":"x","cluster":"parley"}` + "\r\nPING\r\n"
	}
	right := connect("of the three alone")
	if said := talk(t, addr, right); said != "" {
		t.Errorf("without TLS a node says %q", said)
	}
	bare := &tls.Config{RootCAs: ours.Pool(), ServerName: "127.0.0.1"}
	if said, err := knock(t, addr, bare, right); err == nil || said != "" {
		t.Errorf("without a certificate: %q, %v", said, err)
	}
	foreign := others.Server()
	foreign.RootCAs, foreign.ServerName = ours.Pool(), "127.0.0.1"
	if said, err := knock(t, addr, foreign, right); err == nil || said != "" {
		t.Errorf("with another authority's certificate: %q, %v", said, err)
	}
	known := ours.Server()
	known.RootCAs, known.ServerName = ours.Pool(), "127.0.0.1"
	if said, _ := knock(t, addr, known, connect("a guess of mine")); !strings.Contains(said, "Authorization Violation") {
		t.Errorf("with a certificate and another secret: %q", said)
	}
	if said, _ := knock(t, addr, known, right); !strings.Contains(said, "PONG") { // so it was the stranger's fault each time
		t.Errorf("with all that a node has: %q", said)
	}

	for name, change := range map[string]func(*engine.Cluster){
		"another authority": func(c *engine.Cluster) { c.TLS = nodeTLS(t, others) },
		"no TLS":            func(c *engine.Cluster) { c.TLS = nil },
	} {
		stranger := cl.configs[0]
		node := *stranger.Cluster
		node.Node, node.Listen = "n4", freeAddresses(t, 1)[0]
		change(&node)
		stranger.Dir, stranger.Cluster = t.TempDir(), &node
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if e, err := engine.Open(ctx, stranger); err == nil {
			_ = e.Close()
			t.Errorf("%s: it joined", name)
		}
		cancel()
	}
	say(t, cl.nodes[1], parley.Draft{Room: "lobby", ID: "1", Body: []byte("still here")})
}

func TestNodesCheckCertificatesBothWays(t *testing.T) {
	authority := certtest.New(t)
	for name, spoil := range map[string]func(*tls.Config){
		"asks nobody":   func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert },
		"checks nobody": func(c *tls.Config) { c.InsecureSkipVerify = true },
	} {
		c := engine.Cluster{Node: "a", Listen: "127.0.0.1:20001", Join: []string{"127.0.0.1:20002"}, TLS: nodeTLS(t, authority)}
		spoil(c.TLS)
		if _, err := engine.Open(t.Context(), engine.Config{Dir: t.TempDir(), Cluster: &c}); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}
