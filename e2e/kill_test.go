package e2e_test

import (
	"math/rand/v2"
	"testing"
)

// The server is killed twenty times under load. Who has an ack finds the message afterwards, once,
// and whoever reads sees all of them in one order.
func TestKill9UnderLoad(t *testing.T) {
	s := serve(t)
	l := startLoad(t, s, []string{"a", "b"}, 3, 2)
	for range 20 {
		l.rec.await(t, 100+rand.IntN(400))
		l.fault("kill-9")
		s.kill()
		s.start()
	}
	l.rec.await(t, 100)
	l.finish()
}

// A crash of a server that nobody talks to costs nothing, and one while it starts neither.
func TestKill9WhileStarting(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := hello(t, s, "ada")
	r := &filledRoom{name: "r"}
	r.fill(c, 50)
	s.kill()
	for i := range 5 {
		p, err := s.launch()
		if err != nil {
			t.Fatal(err)
		}
		s.process = p
		eventually(t, "it has opened some of its files", func() bool {
			return p.descriptors(t) > 6+2*i || tcpLine.MatchString(p.stderr.String())
		})
		s.kill()
	}
	s.start()
	c = hello(t, s, "ada")
	c.want(`{"op":"join","room":"r","after":0}`, `{"op":"joined"}`)
	r.fill(c, 1)
	r.readBy(c, 0, 51)
}
