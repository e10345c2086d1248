package server_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/auth"
	"parley/client"
	"parley/internal/certtest"
	"parley/server"
)

// runCluster runs three nodes of one cluster.
func runCluster(t *testing.T) (at []server.Addresses, stops []func() error) {
	t.Helper()
	return runNodes(t, nodes(t))
}

// nodes are the configurations of three nodes of one cluster.
func nodes(t *testing.T) (configs []server.Config) {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("known to these three alone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	join := freeAddresses(t, 3)
	for i := range 3 {
		c := configuration(t)
		c.Node, c.MinFree = fmt.Sprint("n", i+1), 0
		c.Cluster = server.Cluster{Listen: join[i], Join: join, SecretFile: secret}
		configs = append(configs, c)
	}
	return configs
}

func runNodes(t *testing.T, configs []server.Config) (at []server.Addresses, stops []func() error) {
	t.Helper()
	at, stops = make([]server.Addresses, len(configs)), make([]func() error, len(configs))
	var all sync.WaitGroup
	for i, c := range configs {
		all.Go(func() { at[i], stops[i] = run(t, c) })
	}
	all.Wait()
	t.Cleanup(func() { // together: the last one alone would wait for the others
		for _, stop := range stops {
			all.Go(func() { _ = stop() })
		}
		all.Wait()
	})
	return at, stops
}

// freeAddresses gives loopback addresses that nobody listened on a moment ago.
func freeAddresses(t *testing.T, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		all = append(all, l.Addr().String())
	}
	return all
}

func TestThreeNodesAreOneServer(t *testing.T) {
	at, stops := runCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for {
		var told struct{ Servers []string }
		_, body := get(t, "http://"+at[1].HTTP+"/cluster")
		if err := json.Unmarshal([]byte(body), &told); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if len(told.Servers) == 6 { // each node's two doors
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the nodes do not know of each other: %s", body)
		}
	}
	ada, err := client.Connect(ctx, at[0].TCP, client.WithName("ada"))
	if err != nil {
		t.Fatal(err)
	}
	defer ada.Close()
	bob, err := client.Connect(ctx, at[1].TCP, client.WithName("bob"))
	if err != nil {
		t.Fatal(err)
	}
	defer bob.Close()
	messages := bob.Room("lobby").Messages(ctx, client.After(0))
	came := make(chan *parley.Message, 1000)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			came <- m
		}
	}()
	for i := range 20 {
		if _, err := ada.Room("lobby").Publish(ctx, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		if m := <-came; string(m.Body) != fmt.Sprint(i) {
			t.Fatalf("%q came where %d is due", m.Body, i)
		}
	}
	cy, err := client.Connect(ctx, at[2].TCP, client.WithName("cy"))
	if err != nil {
		t.Fatal(err)
	}
	defer cy.Close()
	for {
		who, _, err := cy.Room("lobby").Members(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(who, "bob") {
			break
		}
	}

	// Each node knows of all: one room, with ada in no room, bob in it, and cy in another one.
	if _, err := cy.Room("elsewhere").Publish(ctx, []byte("x")); err != nil {
		t.Fatal(err)
	}
	said := untilStatus(t, at[1], func(s *status) bool {
		return s.Ready && s.Majority && len(s.Nodes) == 3 && s.up() == 3 && s.Sessions == 3 && s.Members == 1 && s.Rooms == 1
	})
	for _, n := range said.Nodes {
		if n.Sessions != 1 || !n.Ready || n.Leaving {
			t.Errorf("of %s it is said: %+v", n.Name, n)
		}
	}
	for i := range at {
		untilStatus(t, at[i], func(s *status) bool { return s.Members == 1 && s.Rooms == 1 && s.Sessions == 3 })
	}

	// Bob's node goes, and he goes on at another that he was told of; what was said meanwhile he gets.
	if err := stops[1](); err != nil {
		t.Error(err)
	}
	untilStatus(t, at[0], func(s *status) bool {
		return s.Majority && len(s.Nodes) == 3 && s.up() == 2 && s.Sessions == 3 && s.Members == 1 && !s.Nodes[1].Alive
	})
	for i := 20; i < 40; i++ {
		if _, err := ada.Room("lobby").Publish(ctx, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := 20; i < 40; i++ {
		if m := <-came; string(m.Body) != fmt.Sprint(i) {
			t.Fatalf("%q came where %d is due", m.Body, i)
		}
	}
	// The next that stops leaves a minority, which says so, and answers.
	if err := stops[2](); err != nil {
		t.Error(err)
	}
	untilStatus(t, at[0], func(s *status) bool {
		return !s.Majority && !s.Ready && s.Reason != "" && len(s.Nodes) == 3 && s.up() == 1 && s.Nodes[0].Alive
	})
	go func() { _ = stops[0]() }()
}

// status is what the tests read of GET /cluster.
type status struct {
	Majority bool
	Nodes    []struct {
		Name                  string
		Alive, Ready, Leaving bool
		Sessions, Rooms       int
	}
	Ready                    bool
	Reason                   string
	Rooms, Members, Sessions int
}

func (s *status) up() (n int) {
	for _, node := range s.Nodes {
		if node.Alive {
			n++
		}
	}
	return n
}

// untilStatus asks a node until it says what is wanted.
func untilStatus(t *testing.T, at server.Addresses, want func(*status) bool) *status {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		code, body := get(t, "http://"+at.HTTP+"/cluster")
		s := new(status)
		if err := json.Unmarshal([]byte(body), s); err != nil || code != 200 {
			t.Fatalf("GET /cluster: %d %s", code, body)
		}
		if want(s) {
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("GET /cluster: %s", body)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestClustersThatCannotBe(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("guessable"), 0o600); err != nil {
		t.Fatal(err)
	}
	joins := []string{"127.0.0.1:20001"}
	cert, key, ca := certtest.New(t).Write(t.TempDir())
	for name, change := range map[string]func(*server.Config){
		"no name":               func(c *server.Config) { c.Node = "" },
		"nobody to join":        func(c *server.Config) { c.Cluster.Join = nil },
		"no address":            func(c *server.Config) { c.Cluster.Listen = "" },
		"a short secret":        func(c *server.Config) { c.Cluster.SecretFile = short },
		"a missing secret":      func(c *server.Config) { c.Cluster.SecretFile = short + "er" },
		"two logs":              func(c *server.Config) { c.Engine.URL = "nats://127.0.0.1:4222" },
		"TLS, and no authority": func(c *server.Config) { c.Cluster.TLS = server.ClusterTLS{Cert: cert, Key: key} },
		"TLS by nobody's key":   func(c *server.Config) { c.Cluster.TLS = server.ClusterTLS{Cert: cert, Key: ca, CA: ca} },
		"TLS trusting nobody":   func(c *server.Config) { c.Cluster.TLS = server.ClusterTLS{Cert: cert, Key: key, CA: key} },
		"TLS, alone": func(c *server.Config) {
			*c = configuration(t)
			c.Cluster.TLS = server.ClusterTLS{Cert: cert, Key: key, CA: ca}
		},
		"sign-ins that only one node knows": func(c *server.Config) { c.Auth = &auth.Config{OIDC: &auth.OIDCConfig{}} },
		"adopt, alone":                      func(c *server.Config) { *c = configuration(t); c.Adopt = true },
	} {
		c := configuration(t)
		c.Node, c.Cluster = "n1", server.Cluster{Listen: "127.0.0.1:20002", Join: joins}
		change(&c)
		if err := c.Check(); err == nil {
			t.Errorf("%s: it was taken", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

// The certificates that nodes show each other are replaced while they run, and count from then on.
func TestNodesTakeNewCertificates(t *testing.T) {
	old, authority := certtest.New(t), certtest.New(t)
	dir := t.TempDir()
	cert, key, _ := old.Write(dir)
	both := filepath.Join(dir, "both.pem") // the old authority goes, the new one comes
	if err := os.WriteFile(both, append(old.PEM(), authority.PEM()...), 0o600); err != nil {
		t.Fatal(err)
	}
	configs := nodes(t)
	for i := range configs {
		configs[i].Cluster.TLS = server.ClusterTLS{Cert: cert, Key: key, CA: both}
	}
	at, stops := runNodes(t, configs)
	authority.Write(dir)
	mine, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range configs {
		await(t, "a node shows the new certificate", func() bool {
			c, err := tls.Dial("tcp", configs[i].Cluster.Listen, &tls.Config{
				RootCAs: authority.Pool(), ServerName: "127.0.0.1", Certificates: []tls.Certificate{mine},
			})
			if err != nil {
				return false
			}
			return c.Close() == nil
		})
	}
	if err := stops[2](); err != nil {
		t.Error(err)
	}
	at[2], stops[2] = run(t, configs[2]) // all that it dials, and all that dial it, show the new ones
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cy, err := client.Connect(ctx, at[2].TCP, client.WithName("cy"))
	if err != nil {
		t.Fatal(err)
	}
	defer cy.Close()
	if _, err := cy.Room("lobby").Publish(ctx, []byte("back")); err != nil {
		t.Error(err)
	}
	var ending sync.WaitGroup
	for _, stop := range stops {
		ending.Go(func() { _ = stop() })
	}
	ending.Wait()
}
