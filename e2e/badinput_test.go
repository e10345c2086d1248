package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// A line of ten megabytes with no end is refused at the limit, and held by nobody.
func TestEndlessLine(t *testing.T) {
	s := newServer(t, nil, lean)
	s.start()
	listener := dial(t, s)
	listener.here(1)
	before, _ := s.process.memory(t)
	for name, first := range map[string]string{"plain": "x", "plain, behind a line": "a line\nx", "like JSON": "{", "a hello": `{"op":"hello","token":"`} {
		t.Run(name, func(t *testing.T) {
			var g errgroup.Group
			for range 20 {
				c := dial(t, s)
				g.Go(func() error {
					if err := c.say(first); err != nil {
						return err
					}
					chunk := strings.Repeat("x", 1<<20)
					for range 10 {
						if err := c.say(chunk); err != nil {
							break // closed, as it should be
						}
					}
					refused := false
					for {
						line, err := c.readLine()
						refused = refused || strings.HasPrefix(line, "* too_large: ")
						switch {
						case err == nil:
						case !refused:
							return fmt.Errorf("no refusal that can be read: %w", err)
						case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
							return nil
						default:
							return err
						}
					}
				})
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	_, peak := s.process.memory(t)
	if grown := (peak - before) >> 20; grown > 100 {
		t.Errorf("the server has grown by %d MB", grown)
	}
	eventually(t, "those that were refused are gone", func() bool { return s.process.descriptors(t) < 60 })
}

// The names of rooms that are no names are refused, in every operation; what is one stays apart
// from whatever the log uses itself.
func TestRoomNames(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := hello(t, s, "ada")
	bad := []string{
		"", "*", ">", ".", "..", "a.", ".a", "a..b", "a.*", "a.>", "$JS", "$JS.API.STREAM.LIST", "$SYS", "a b", " a", "a ", "\t", "a\tb",
		"a\nb", "a\x00b", "../etc", "a/b", `a\b`, "a%2fb", "a:b", "a,b", "a\u200db", "a\u202eb", "\u0301", "\ufeff", "a\ufe0f", "room!", "🙂",
		strings.Repeat("r", 129), strings.Repeat("r", 1024), strings.Repeat("é", 129),
	}
	for _, name := range bad {
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		ops := []string{"join", "leave", "history", "members"}
		if name == "*" || name == "a.*" { // these are patterns
			ops = ops[2:]
		}
		for _, op := range ops {
			c.want(fmt.Sprintf(`{"op":%q,"room":%s}`, op, quoted), `{"op":"error","code":"bad_request"}`)
		}
		c.want(fmt.Sprintf(`{"op":"send","room":%s,"body":"x"}`, quoted), `{"op":"error","code":"bad_request"}`)
	}
	c.want(`{"op":"rooms"}`, `{"rooms":[]}`)

	good := map[string]string{ // given: answered
		"_INBOX.x": "_INBOX.x", "a": "a", "A": "A", "ops.deploys": "ops.deploys", "-": "-", "_": "_", "0": "0", "é": "é", "e\u0301": "é",
		"комната": "комната", "部屋.一": "部屋.一", "हिन्दी": "हिन्दी", "lobby2": "lobby2", "con": "con", "room.0": "room.0",
		strings.Repeat("r", 128): strings.Repeat("r", 128),
	}
	for given, name := range good {
		c.want(fmt.Sprintf(`{"op":"join","room":%q}`, given), fmt.Sprintf(`{"op":"joined","room":%q}`, name))
		if given == "e\u0301" || given == "é" { // one room in two forms
			c.want(fmt.Sprintf(`{"op":"leave","room":%q}`, "é"), `{"op":"left"}`)
			continue
		}
		seq := c.publish(given, "to "+name)
		c.expect(`{"op":"message","room":%q,"seq":%d,"prev":0,"body":%q}`, name, seq, "to "+name)
	}
}

func TestThreeThousandConnections(t *testing.T) {
	s := newServer(t, nil, lean)
	s.start()
	before, _ := s.process.memory(t)
	peers := crowd(t, s, 3000)
	c := hello(t, s, "ada")
	c.publish("lobby", "to all of you")
	eachReads(t, peers, "to all of you")
	now, _ := s.process.memory(t)
	if each := (now - before) / 3000; each > 60<<10 {
		t.Errorf("a connection costs %d KB", each>>10)
	} else {
		t.Logf("a connection costs %d KB", each>>10)
	}
}

// Connections that come and go, in every way there is, leave nothing behind.
func TestChurnLeavesNothing(t *testing.T) {
	s := newServer(t, nil, lean, environ("GOTRACEBACK=all"))
	s.start()
	churn := func(rounds int) {
		var g errgroup.Group
		for worker := range 4 {
			g.Go(func() error {
				for i := range rounds {
					if err := visit(s, worker*rounds+i); err != nil {
						return fmt.Errorf("visit %d of %d: %w", i, worker, err)
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	watcher := dial(t, s)
	alone := func() { watcher.here(1) }
	churn(100) // what is made once is made
	alone()
	files := s.process.descriptors(t)
	memory, _ := s.process.memory(t)
	churn(1500)
	alone()
	eventually(t, fmt.Sprintf("there are no more descriptors than the %d before", files), func() bool {
		return s.process.descriptors(t) <= files
	})
	now, _ := s.process.memory(t)
	t.Logf("the server had %d MB before and %d MB behind 6,000 visits", memory>>20, now>>20)
	if grown := (now - memory) >> 20; grown > 60 {
		t.Errorf("6,000 visits have left %d MB", grown)
	}
	fresh := newServer(t, nil, lean, environ("GOTRACEBACK=all"))
	fresh.start()
	dial(t, fresh).here(1)
	if was, is := goroutines(t, fresh), goroutines(t, s); is > was+10 {
		t.Errorf("the server has %d goroutines, a fresh one %d", is, was)
	}
}

// goroutines ends a server and counts what it was doing.
func goroutines(t *testing.T, s *server) int {
	t.Helper()
	s.process.signal(syscall.SIGQUIT)
	s.process.exit(patience)
	return strings.Count("\n"+s.process.stderr.String(), "\ngoroutine ")
}

// visit is one short connection; n decides of which kind.
func visit(s *server, n int) error {
	if n%6 == 0 {
		sp, err := speak(s.address(), fmt.Sprintf("v%d", n%50))
		if err != nil {
			return err
		}
		defer sp.hangUp()
		if err := sp.say(`{"op":"join","room":"churn","last":5}` + "\n" + `{"op":"send","room":"churn","body":"x","ref":1}` + "\n"); err != nil {
			return err
		}
		for {
			f, err := sp.next()
			if err != nil || f.Op == "ack" {
				return err
			}
		}
	}
	p, err := reach(s.address())
	if err != nil {
		return err
	}
	defer p.hangUp()
	switch n % 6 {
	case 1:
		return nil // gone before the greeting
	case 2:
		_, err = p.readLine()
		return err
	case 3:
		return p.say("GET / HTTP/1.1\r\n\r\n")
	case 4:
		return p.say(`{"op":"hel`)
	}
	if err := p.say("/join elsewhere\n/quit\n"); err != nil {
		return err
	}
	_, err = io.ReadAll(p.in)
	return err
}

// One user sends to very many rooms, and joins and leaves them: none is kept in memory for long,
// and others go on.
func TestManyRooms(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil, lean)
	s.start()
	c := hello(t, s, "ada")
	before, _ := s.process.memory(t)
	const n = 5000
	var g errgroup.Group
	g.Go(func() error {
		for i := range n {
			room := fmt.Sprintf("room-%d", i)
			if err := c.say(fmt.Sprintf(`{"op":"join","room":%q}`+"\n"+`{"op":"send","room":%q,"body":"x"}`+"\n"+`{"op":"leave","room":%q}`+"\n", room, room, room)); err != nil {
				return err
			}
		}
		return nil
	})
	count := map[string]int{}
	for count["ack"] < n || count["left"] < n {
		f := c.next()
		if f.Op == "error" {
			t.Fatal(f.raw)
		}
		count[f.Op]++
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, peak := s.process.memory(t); (peak-before)>>20 > 200 {
		t.Errorf("%d rooms have cost %d MB", n, (peak-before)>>20)
	}
	seen, after := 0, "a" // in front of all of them
	for more := true; more; {
		f := c.ask(`{"op":"rooms","limit":1000,"after_room":%q}`, after)
		var list struct {
			Rooms []struct {
				Room          string
				Seq, Messages uint64
			}
			More bool
		}
		if err := json.Unmarshal([]byte(f.raw), &list); err != nil {
			t.Fatal(err)
		}
		for _, r := range list.Rooms {
			if r.Messages != 1 || r.Seq == 0 {
				t.Fatalf("%+v", r)
			}
			after = r.Room
		}
		seen += len(list.Rooms)
		more = list.More
	}
	if seen != n {
		t.Errorf("%d rooms are listed, want %d", seen, n)
	}
}
