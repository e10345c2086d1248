package e2e_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
)

// A room that keeps ten messages is sent ten thousand at once, by several, and its server is killed in the
// middle. Each that was acknowledged is a job, for a group whose workers are away meanwhile.
func TestABurstIntoASmallRoomMissesNoGroup(t *testing.T) {
	t.Parallel()
	s := serve(t, "--retain-messages", "10")
	c := hello(t, s, "ada")
	c.want(`{"op":"take","room":"r","group":"g"}`, `{"op":"taking"}`)
	c.want(`{"op":"stop","room":"r","group":"g"}`, `{"op":"stopped"}`)

	const messages, senders = 10_000, 4
	var mu sync.Mutex
	acked := make(map[int]bool)
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	burst := func(from, to int) (wait func()) {
		var all sync.WaitGroup
		for i := range senders {
			all.Go(func() {
				sp, err := speak(s.address(), fmt.Sprint("sender-", i))
				if err != nil {
					t.Error(err)
					return
				}
				defer sp.hangUp()
				all.Go(func() {
					for n := from + i; n < to; n += senders {
						if sp.say(fmt.Sprintf(`{"op":"send","room":"r","body":"%d","ref":%d}`+"\n", n, n)) != nil {
							return // the server is killed
						}
					}
				})
				for range (to - from) / senders {
					line, err := sp.readLine()
					if err != nil {
						return
					}
					var f struct {
						Op  string
						Ref int
					}
					if err := json.Unmarshal([]byte(line), &f); err != nil || f.Op != "ack" {
						t.Errorf("a send is answered with %s", line)
						return
					}
					mu.Lock()
					acked[f.Ref] = true
					mu.Unlock()
				}
			})
		}
		return all.Wait
	}
	wait := burst(0, messages/2)
	eventually(t, "some messages are stored", func() bool { return count() > messages/4 })
	s.kill()
	wait()
	s.start()
	burst(messages/2, messages)()
	if t.Failed() {
		return
	}

	w := hello(t, s, "worker")
	w.send(`{"op":"take","room":"r","group":"g","prefetch":256}`)
	given := make(map[int]bool)
	for missing := count(); missing > 0; {
		line, err := w.readLineWithin(patience)
		if err != nil {
			t.Fatalf("%d of %d messages that were acknowledged did not come to the group: %v", missing, count(), err)
		}
		var f struct {
			Op, Job string
			Body    string
		}
		if json.Unmarshal([]byte(line), &f) != nil || f.Op != "job" {
			continue
		}
		var n int
		if _, err := fmt.Sscan(f.Body, &n); err != nil {
			t.Fatal(err)
		}
		if acked[n] && !given[n] {
			missing--
		}
		given[n] = true
		w.send(`{"op":"done","room":"r","job":%q}`, f.Job)
	}
	if got := deadLetters(t, s); got != 0 {
		t.Errorf("%d dead letters tell of gaps", got)
	}
	t.Logf("%d messages were acknowledged, and all came to the group", count())
}

// deadLetters counts the messages in the room of dead letters.
func deadLetters(t *testing.T, s *server) int {
	t.Helper()
	c := hello(t, s, "reader")
	return len(c.ask(`{"op":"history","room":"r.dead","after":0,"limit":1000}`).Messages)
}
