package engine_test

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"parley/engine"
)

// natsCluster runs three plain nats-servers with JetStream and gives their URL.
func natsCluster(t *testing.T) string {
	t.Helper()
	var routes []*url.URL
	addresses := freeAddresses(t, 3)
	for _, a := range addresses {
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: a})
	}
	var urls []string
	for i, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("nats", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, MaxPayload: 4 << 20,
			Username: "parley", Password: "secret",
			Cluster: server.ClusterOpts{Name: "nats", Host: host, Port: n}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("a nats-server did not start")
		}
		urls = append(urls, strings.Replace(s.ClientURL(), "nats://", "nats://parley:secret@", 1))
	}
	return strings.Join(urls, ",")
}

func TestAnExternalClusterHoldsTheLog(t *testing.T) {
	at := natsCluster(t)
	nodes := make([]*engine.Engine, 2)
	var both sync.WaitGroup
	for i := range nodes {
		both.Go(func() {
			nodes[i] = open(t, engine.Config{Dir: "none", URL: at, Node: fmt.Sprint("n", i+1), SafetyCheck: time.Second})
		})
	}
	both.Wait()
	tails := followRooms(t, nodes[1])
	s := startSenders(t, 16, nodes[0])
	s.until(1000)
	s.check(nodes...)
	wantTails(t, nodes[1], tails)
	if got := nodes[0].Status(); len(got.Nodes) != 3 {
		t.Errorf("status: %+v", got)
	}
	if err := nodes[0].Ready(); err != nil {
		t.Error(err)
	}
}
