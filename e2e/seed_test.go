package e2e_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"
)

// The clients that the first server had: they read a greeting, one of them says a line without
// ending it and stays, and everyone else reads that line.

const seedLine = "Hello from the client!"

func TestSeedClients(t *testing.T) {
	t.Parallel()
	s := serve(t)
	clients := []*plainClient{dial(t, s), dial(t, s), dial(t, s)}
	clients[0].write(seedLine)
	for _, c := range clients[1:] {
		c.expect(seedLine)
	}
	// The sender reads the next one's line first: its own was not for it.
	clients[1].write(seedLine + " (2)")
	for _, c := range []*plainClient{clients[0], clients[2]} {
		c.expect(seedLine + " (2)")
	}
}

// crowd connects many plain clients and reads each one's greeting.
func crowd(t *testing.T, s *server, n int) []*peer {
	t.Helper()
	peers := make([]*peer, n)
	t.Cleanup(func() {
		for _, p := range peers {
			if p != nil {
				_ = p.Close()
			}
		}
	})
	var g errgroup.Group
	g.SetLimit(32)
	for i := range peers {
		g.Go(func() (err error) {
			if peers[i], err = reach(s.address()); err != nil {
				return err
			}
			line, err := peers[i].readLine()
			if err == nil && line != greeting {
				err = fmt.Errorf("greeted with %q", line)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return peers
}

// eachReads waits until every peer has read exactly this line.
func eachReads(t *testing.T, peers []*peer, want string) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(32)
	for i, p := range peers {
		g.Go(func() error {
			got, err := p.readLine()
			if err == nil && got != want {
				err = fmt.Errorf("client %d read %.80q, want %.80q", i, got, want)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestTwoThousandSeedClients(t *testing.T) {
	s := newServer(t, nil, lean)
	s.start()
	const n = 2000
	peers := crowd(t, s, n)
	if err := peers[0].say(seedLine); err != nil {
		t.Fatal(err)
	}
	eachReads(t, peers[1:], seedLine)
	if err := peers[1].say("and again\n"); err != nil {
		t.Fatal(err)
	}
	eachReads(t, append(append([]*peer{}, peers[0]), peers[2:]...), "and again")

	watcher := dial(t, s)
	watcher.here(n + 1)
	for _, p := range peers[:n/2] {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	watcher.here(n/2 + 1)
}

// Who has left is not in the room any more when the next question is asked.
func TestWhoLeavesIsGone(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := named(t, s, "ada"), named(t, s, "bob")
	ada.send("/who")
	ada.expect("* 2 in lobby: ada, bob")
	bob.send("/quit")
	bob.expect("* goodbye")
	bob.closed()
	ada.send("/who")
	ada.expect("* 1 in lobby: ada")

	eve := named(t, s, "eve")
	ada.here(2)
	if err := eve.Close(); err != nil {
		t.Fatal(err)
	}
	ada.here(1)
}
