package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/client"
	"parley/wire"
)

// What is not messages is the same at every node of a cluster, too: questions and who answers them, lists,
// who is revoked, places in patterns.

// guardedNodes starts three nodes of one configuration, that know each other by a secret.
func guardedNodes(t *testing.T, config string) (nodes []*server) {
	t.Helper()
	all := freeAddresses(t, 6)
	join := strings.Join(all[:3], ",")
	var starting sync.WaitGroup
	failed := make([]error, 3)
	for i := range 3 {
		s := guarded(t, config)
		s.flags = []string{
			"--tcp", all[3+i], "--node", fmt.Sprint("n", i+1), "--cluster-listen", all[i], "--cluster-join", join,
			"--cluster-secret-file", "nodes.secret",
		}
		if err := os.WriteFile(filepath.Join(s.dir, "nodes.secret"), []byte("what these three know\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, s)
		starting.Go(func() { failed[i] = s.tryStart() })
	}
	starting.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	return nodes
}

// at connects a client to a node, and has it go to no other.
func at(t *testing.T, addr string, options ...client.Option) *client.Client {
	t.Helper()
	return anywhere(t, addr, append(options, client.WithDialer(func(ctx context.Context, to string) (net.Conn, error) {
		if to != addr {
			return nil, fmt.Errorf("%s is another node", to)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", to)
	}))...)
}

// anywhere connects a client to one of the nodes.
func anywhere(t *testing.T, addrs string, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.Connect(t.Context(), addrs, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// asked is a question that somebody was asked.
type asked struct{ who, body string }

// responder answers a room's questions with its own name, or tells of them and leaves them, until the
// test ends.
func responder(t *testing.T, c *client.Client, room, name string, tell chan<- asked) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var answering sync.WaitGroup
	answering.Go(func() {
		_ = c.Answer(ctx, room, 8, func(ctx context.Context, q *parley.Question) ([]byte, parley.Type, error) {
			if tell != nil {
				tell <- asked{name, string(q.Body)}
				<-ctx.Done()
			}
			return []byte(name), parley.Text, ctx.Err()
		})
	})
	t.Cleanup(func() { cancel(); answering.Wait() })
}

// gather asks until all of these have answered.
func gather(t *testing.T, c *client.Client, room string, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v answer", want), func() bool {
		answers, err := c.Room(room).AskAll(t.Context(), 100, []byte("?"), client.Within(patience))
		var got []string
		for _, a := range answers {
			got = append(got, string(a.Body))
		}
		slices.Sort(got)
		return err == nil && slices.Equal(got, want)
	})
}

func TestQuestionsCrossNodes(t *testing.T) {
	nodes, tcp := threeNodes(t)
	ask := make([]*client.Client, 3)
	for i, addr := range tcp {
		ask[i] = at(t, addr)
	}
	for _, c := range ask {
		begun := time.Now()
		if _, err := c.Room("nobody").Ask(t.Context(), []byte("?"), client.Within(patience)); parley.AsError(err).Code != parley.NoResponders {
			t.Errorf("where nobody serves: %v", err)
		}
		if took := time.Since(begun); took > patience/2 {
			t.Errorf("that nobody serves took %v", took)
		}
	}
	responder(t, at(t, tcp[1]), "r", "at n2", nil)
	gather(t, ask[0], "r", "at n2")
	var took []time.Duration
	for range 200 {
		begun := time.Now()
		if _, err := ask[0].Room("r").Ask(t.Context(), []byte("?"), client.Within(patience)); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("an ask at one node, answered at another: p50 %v, p99 %v", took[100], took[197])
	responder(t, at(t, tcp[2]), "r", "at n3", nil)
	responder(t, at(t, tcp[2]), "r", "at n3 too", nil)
	for _, c := range ask {
		gather(t, c, "r", "at n2", "at n3", "at n3 too")
	}
	if a, err := ask[1].Room("r").Ask(t.Context(), []byte("?")); err != nil || string(a.Body) != "at n2" {
		t.Errorf("asked at n2: %v, %v", a, err) // its own come first
	}
	var answer struct{ Answers []struct{ Body string } }
	resp, err := http.Post("http://"+nodes[0].webAddress()+"/rooms/r/ask?most=10", "text/plain", strings.NewReader("?"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Answers) != 3 {
		t.Errorf("over HTTP: %s, %v, %v", resp.Status, answer, err)
	}

	// A node dies with a question, and those of another are asked in its place.
	tell := make(chan asked, 1000)
	for i := range 2 {
		responder(t, at(t, tcp[1+i]), "slow", fmt.Sprint("n", 2+i), tell)
	}
	known := map[string]bool{}
	eventually(t, "both are asked", func() bool {
		_, _ = ask[0].Room("slow").AskAll(t.Context(), 2, []byte("are you there?"), client.Within(100*time.Millisecond))
		for len(tell) > 0 {
			known[(<-tell).who] = true
		}
		return len(known) == 2
	})
	next := func(body string) (who string) {
		t.Helper()
		late := time.After(patience)
		for {
			select {
			case a := <-tell:
				if a.body == body {
					return a.who
				}
			case <-late:
				t.Fatalf("nobody is asked %s", body)
			}
		}
	}
	type outcome struct {
		answers []*parley.Answer
		err     error
	}
	ended, begun := make(chan outcome, 2), time.Now()
	pose := func(body string, most int) {
		go func() {
			answers, err := ask[0].Room("slow").AskAll(t.Context(), most, []byte(body), client.Within(50*time.Second))
			ended <- outcome{answers, err}
		}()
	}
	pose("all of you?", 2)
	next("all of you?")
	next("all of you?")
	pose("one of you?", 1)
	first := next("one of you?")
	lonely := slices.Index([]string{"n1", "n2", "n3"}, first)
	nodes[lonely].kill()
	if other := next("one of you?"); other == first {
		t.Errorf("%s was asked twice", other)
	}
	t.Logf("another node was asked %v after the first", time.Since(begun).Round(time.Millisecond))
	nodes[3-lonely].kill()
	for range 2 { // nobody is left
		if o := <-ended; parley.AsError(o.err).Code != parley.NoResponders {
			t.Errorf("with nobody left: %v, %v", o.answers, o.err)
		}
	}
	if took := time.Since(begun); took > 45*time.Second {
		t.Errorf("it took %v", took)
	}
}

// listed gives the rooms that a node lists.
func listed(t *testing.T, c *client.Client) map[string]wire.RoomEntry {
	t.Helper()
	all := map[string]wire.RoomEntry{}
	for r, err := range c.Rooms(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[r.Room] = r
	}
	return all
}

func TestNodesAgree(t *testing.T) {
	nodes := guardedNodes(t, gateConfig)
	root := tokenFor(t, "root", []grant{{"**", everyRight}})
	roots := make([]*client.Client, 3)
	for i, s := range nodes {
		roots[i] = at(t, s.address(), client.WithToken(root))
	}

	t.Run("lists and members", func(t *testing.T) {
		_, err := roots[0].Room("lobby").Publish(t.Context(), []byte("hi"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i, room := range []string{"lobby", "silent"} { // at n2 and n3; in the second nothing was ever said
			c := at(t, nodes[1+i].address(), client.WithToken(tokenFor(t, fmt.Sprint("user", i), []grant{{"**", everyRight}})))
			go func() {
				for range c.Room(room).Messages(ctx) {
					return
				}
			}()
		}
		for i, c := range roots {
			eventually(t, fmt.Sprintf("n%d lists both with their members", i+1), func() bool {
				all := listed(t, c)
				return all["lobby"].Members == 1 && all["lobby"].Messages == 1 && all["silent"].Members == 1
			})
		}
	})

	t.Run("revoking", func(t *testing.T) {
		eve := tokenFor(t, "eve", inLobby)
		var guests []guest
		for _, s := range nodes {
			guests = append(guests, letJSON(t, s, eve), letSocket(t, s, eve))
		}
		begun := time.Now()
		if err := roots[0].Revoke(t.Context(), "eve", "", false); err != nil {
			t.Fatal(err)
		}
		wantEnds(t, guests)
		t.Logf("out at all nodes after %v", time.Since(begun).Round(time.Millisecond))

		// A node that is away hears of it before it lets anybody in.
		nodes[1].kill()
		trudy := tokenFor(t, "trudy", inLobby)
		eventually(t, "two of three can revoke", func() bool { return roots[2].Revoke(t.Context(), "trudy", "", false) == nil })
		nodes[1].start()
		for i, s := range nodes {
			if code, _ := webWay(t, s, principal{token: trudy}).(*web).do(http.MethodGet, "/rooms/lobby", ""); code != "unauthorized" {
				t.Errorf("n%d answers the revoked with %q", i+1, code)
			}
			for _, room := range []string{"$revoked", "%24revoked"} {
				if code, _ := webWay(t, s, principal{token: root}).(*web).do(http.MethodGet, "/rooms/"+room, ""); code != "bad_request" {
					t.Errorf("n%d shows %s: %q", i+1, room, code)
				}
			}
		}
		for i, c := range roots {
			for name := range listed(t, c) {
				if strings.HasPrefix(name, "$") {
					t.Errorf("n%d lists %s", i+1, name)
				}
			}
		}
		if err := roots[1].Revoke(t.Context(), "trudy", "", true); err != nil {
			t.Fatal(err)
		}
		for i, s := range nodes {
			eventually(t, fmt.Sprintf("n%d lets in again who may be", i+1), func() bool {
				code, _ := webWay(t, s, principal{token: trudy}).(*web).do(http.MethodGet, "/rooms/lobby", "")
				return code == ""
			})
		}
	})
}

// manyLog is what somebody was given of a pattern.
type manyLog struct {
	t    *testing.T
	came map[string][]uint64 // seqs by room
	last map[string]uint64
}

func (l *manyLog) take(m *parley.Message) {
	if prev := l.last[m.Room]; m.Seq <= prev || (m.Prev != prev) {
		l.t.Errorf("%s: %d, which follows %d, came behind %d", m.Room, m.Seq, m.Prev, prev)
	}
	l.last[m.Room] = m.Seq
	l.came[m.Room] = append(l.came[m.Room], m.Seq)
}

// A reader of a pattern goes on at one node with the cursor that another gave, through the loss of each,
// and gets every message of every room once, in its order.
func TestPatternsCrossNodes(t *testing.T) {
	nodes, tcp := threeNodes(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	writer := anywhere(t, strings.Join(tcp, ","))
	const rooms = 7
	sent := map[string][]uint64{}
	send := func(n int) {
		t.Helper()
		for range n {
			for i := range rooms {
				room := fmt.Sprintf("orders.r%d.new", i)
				r, err := writer.Room(room).Publish(ctx, []byte("x"))
				if err != nil {
					t.Fatal(err)
				}
				sent[room] = append(sent[room], r.Seq)
			}
			if _, err := writer.Room("other").Publish(ctx, []byte("not an order")); err != nil {
				t.Fatal(err)
			}
		}
	}
	log := &manyLog{t: t, came: map[string][]uint64{}, last: map[string]uint64{}}
	cursor := ""
	// read reads at a node until it has all that was sent, and keeps its last cursor.
	read := func(addr string) {
		t.Helper()
		options := []client.ReadOption{client.OnCursor(func(c string) { cursor = c })}
		if cursor == "" {
			options = append(options, client.After(0))
		} else {
			options = append(options, client.Behind(cursor))
		}
		c := at(t, addr)
		defer c.Close()
		all := 0
		for _, seqs := range sent {
			all += len(seqs)
		}
		n := 0
		for _, seqs := range log.came {
			n += len(seqs)
		}
		behind := cursor
		for m, err := range c.Room("orders.**").Messages(ctx, options...) {
			if err != nil {
				t.Fatal(err)
			}
			if m.Seq <= log.last[m.Room] {
				continue // behind the cursor's last frame, as it is promised
			}
			log.take(m)
			if n++; n == all {
				break
			}
		}
		t.Logf("read at %s from cursor %q on", addr, behind)
	}
	send(20)
	read(tcp[0])
	send(20)
	read(tcp[1])
	for i, s := range nodes {
		s.kill()
		send(20) // with two of three
		read(tcp[(i+1)%3])
		s.start()
		eventually(t, "it is one of three again", func() bool { return whole(t, s) })
		send(5)
		read(tcp[i])
	}
	for room, seqs := range sent {
		if !slices.Equal(seqs, log.came[room]) {
			t.Errorf("%s: sent %v, came %v", room, seqs, log.came[room])
		}
	}
	if cursor == "" {
		t.Error("no cursor came")
	}

	// Places in each room, rather than a cursor, hold at every node too.
	after, rest := map[string]uint64{}, 0
	for i := range rooms {
		room := fmt.Sprintf("orders.r%d.new", i)
		after[room] = sent[room][10*i]
		rest += len(sent[room]) - 10*i - 1
	}
	places, err := json.Marshal(after)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range nodes {
		c := hello(t, s, "reader")
		c.want(fmt.Sprintf(`{"op":"join","room":"orders.**","after":%s}`, places), `{"op":"joined","room":"orders.**"}`)
		behind := maps.Clone(after)
		for n := 0; n < rest; {
			f := c.next()
			if f.Op != "message" {
				continue
			}
			if f.Prev != behind[f.Room] {
				t.Fatalf("n%d: %s has %d behind %d", i+1, f.Room, f.Seq, behind[f.Room])
			}
			behind[f.Room] = f.Seq
			n++
		}
	}
}
