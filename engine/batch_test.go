package engine_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/engine"
)

// The times of elections are variables of another's package: where their names have gone, ours are
// zero and without effect.
func TestTheTimesOfElectionsAreFound(t *testing.T) {
	want := [...]time.Duration{4 * time.Second, 9 * time.Second, time.Second, 10 * time.Second, 10 * time.Second}
	if engine.TimesAsMade != want {
		t.Errorf("election, heartbeat and quorum times are %v, want %v", engine.TimesAsMade, want)
	}
}

func TestNodesThatCannotBe(t *testing.T) {
	const other = "127.0.0.1:20002"
	for name, c := range map[string]engine.Cluster{
		"no name":                   {Listen: "127.0.0.1:20001", Join: []string{other}},
		"a name of two words":       {Node: "a b", Listen: "127.0.0.1:20001", Join: []string{other}},
		"nobody to join":            {Node: "a", Listen: "127.0.0.1:20001"},
		"only itself to join":       {Node: "a", Listen: "127.0.0.1:20001", Join: []string{"127.0.0.1:20001"}},
		"no port":                   {Node: "a", Listen: "127.0.0.1", Join: []string{other}},
		"any port":                  {Node: "a", Listen: "127.0.0.1:0", Join: []string{other}},
		"in the open, no secret":    {Node: "a", Listen: ":20001", Join: []string{other}},
		"dials far, no secret":      {Node: "a", Listen: "127.0.0.1:20001", Join: []string{"192.0.2.1:20001"}},
		"told to others, no secret": {Node: "a", Listen: "127.0.0.1:20001", Advertise: "192.0.2.1:20001", Join: []string{other}},
	} {
		if _, err := engine.Open(t.Context(), engine.Config{Dir: t.TempDir(), Cluster: &c}); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

func TestAStrangerIsRefused(t *testing.T) {
	cl := newCluster(t, engine.Config{Cluster: &engine.Cluster{Secret: []byte("of the three alone")}})
	stranger := cl.configs[0]
	node := *stranger.Cluster
	node.Node, node.Listen, node.Secret = "n4", freeAddresses(t, 1)[0], []byte("guessed")
	stranger.Dir, stranger.Cluster = t.TempDir(), &node
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if e, err := engine.Open(ctx, stranger); err == nil {
		_ = e.Close()
		t.Error("a node with another secret joined")
	}
	for _, hello := range []string{
		"CONNECT {\"verbose\":false}\r\nPING\r\nSUB > 1\r\n",
		"CONNECT {\"user\":\"parley\",\"pass\":\"guessed\",\"name\":\"x\",\"server_id\":\"x\"}\r\nPING\r\n",
		"GET / HTTP/1.1\r\n\r\n",
	} {
		if got := talk(t, cl.configs[0].Cluster.Listen, hello); !strings.Contains(got, "-ERR") {
			t.Errorf("a stranger who says %q is answered %q", hello, got)
		}
	}
	say(t, cl.nodes[1], parley.Draft{Room: "lobby", ID: "1", Body: []byte("still here")})
}

// talk sends bytes to a port and reads until it is closed.
func talk(t *testing.T, addr, hello string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = c.Write([]byte(hello))
	var all strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			return all.String()
		}
	}
}

// A repeated id has the store refuse the whole batch it is in: the others are stored all the same,
// in the order they came, and the repeated one is answered with the first seq.
func TestRepeatedIDsAmongOthers(t *testing.T) {
	cl := newCluster(t, engine.Config{Partitions: 1})
	e := cl.nodes[1]
	repeated := func(i int) parley.Draft {
		return parley.Draft{Room: "a", From: "ada", ID: fmt.Sprint("r", i), Body: []byte("r"), Retry: true}
	}
	first := make(map[string]uint64)
	for i := range 20 {
		first[fmt.Sprint("r", i)] = say(t, e, repeated(i)).Seq
	}
	var all sync.WaitGroup
	var order []uint64
	var mu sync.Mutex
	const n = 3000
	for i := range n {
		d := parley.Draft{Room: "a", From: "ada", ID: fmt.Sprint(i), Body: fmt.Append(nil, i), Retry: i%3 == 0}
		if i%150 == 75 {
			d = repeated(i / 150)
		}
		all.Add(1)
		err := cl.nodes[i/1500].Append(t.Context(), d, func(r parley.Receipt, err error) {
			defer all.Done()
			mu.Lock()
			defer mu.Unlock()
			switch was := first[d.ID]; {
			case err != nil:
				t.Errorf("%s: %v", d.ID, err)
			case was != 0 && (r.Seq != was || !r.Duplicate):
				t.Errorf("%s repeated: %+v, first %d", d.ID, r, was)
			case was == 0 && r.Duplicate:
				t.Errorf("%s: %+v, and it is the first", d.ID, r)
			case was == 0:
				order = append(order, r.Seq)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	stored := readAll(t, e, "a")
	if want := n - 20 + 20; len(stored) != want || len(order) != n-20 {
		t.Fatalf("%d are stored, want %d; %d were acked", len(stored), want, len(order))
	}
	last := [2]int{-1, -1} // of each node's own
	for _, m := range stored[20:] {
		var i int
		if _, err := fmt.Sscan(string(m.Body), &i); err != nil {
			t.Fatal(err)
		}
		if i <= last[i/1500] {
			t.Fatalf("message %d of a node behind %d", i, last[i/1500])
		}
		last[i/1500] = i
	}
}
