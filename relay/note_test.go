package relay_test

import "testing"

// Whatever another node says, be it of another version, this one goes on.
func FuzzNotes(f *testing.F) {
	for _, n := range []string{
		`{"kind":"beat","life":"1","parts":[0,9,-1]}`,
		`{"kind":"bye","life":"1"}`,
		`{"kind":"answer","life":"1","id":1,"again":true}`,
		`{"kind":"job","life":"1","taker":1,"try":1,"given":{"Room":"r","Seq":1,"Job":"g.1.1"}}`,
		`{"kind":"job","life":"1","given":{}}`,
		`{"kind":"over","life":"1","seats":[{"taker":1,"try":1}]}`,
		`{"kind":"here","life":"1","seats":[{"taker":1,"try":1}]}`,
		`{"kind":"take","life":"1","id":1,"room":"r","group":"g","taker":1,"try":1,"prefetch":1,"tries":1,"time":1000,"holds":["g.1.1","x"]}`,
		`{"kind":"take","life":"1","id":2,"room":"r","group":"g","taker":1,"try":2,"after":0,"prefetch":1,"tries":1,"time":1000}`,
		`{"kind":"change","life":"1","id":3,"taker":1,"try":2}`,
		`{"kind":"stop","life":"1","id":4,"taker":1,"try":2}`,
		`{"kind":"leave","life":"1","taker":1,"try":2}`,
		`{"kind":"done","life":"1","id":5,"room":"r","job":"g.1.1"}`,
		`{"kind":"retry","life":"1","id":6,"room":"r","job":"g.1.1","delay":-1}`,
		`{"kind":"fail","life":"1","id":7,"room":"r","job":""}`,
		`{"kind":"busy","life":"1","id":8,"room":"r","job":"g.1.1","time":-1}`,
		`{"kind":"later","life":"1"}`, `{"kind":"unheard","life":"1"}`, `{`, ``, `null`,
	} {
		f.Add([]byte(n))
	}
	b := newBenchOf(f, kind{}, "n1", "n2")
	for p := range parts {
		b.own(p, "n1")
	}
	b.say("r", 1)
	w := b.take(b.nodes["n2"], "r", 1, patience)
	w.next()
	f.Fuzz(func(_ *testing.T, data []byte) { b.nodes["n1"].Hear("n3", data) })
}
