package session_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/quota"
	"parley/session"
	"parley/wire"
)

// unpriced are the operations that cost nothing, each for a reason that stands in prices.
var unpriced = []wire.Kind{wire.Answer, wire.Busy, wire.Drain, wire.Hello, wire.Leave, wire.Ping, wire.Release, wire.Signal, wire.Stop}

// priced are operations that cost something, each by the limit it meets; %d is another number each time.
var priced = map[wire.Kind]struct {
	op    string
	limit quota.Limit
}{
	wire.Send:        {`{"op":"send","room":"r","body":"x","ref":%d}`, quota.Sends},
	wire.Ask:         {`{"op":"ask","room":"r","body":"x","ref":%d}`, quota.Sends},
	wire.Take:        {`{"op":"take","room":"r","group":"g","ref":%d}`, quota.Sends},
	wire.Done:        {`{"op":"done","room":"r","reader":"a","seq":%d}`, quota.Sends},
	wire.Retry:       {`{"op":"retry","room":"r","job":"g.%d.1"}`, quota.Sends},
	wire.Fail:        {`{"op":"fail","room":"r","job":"g.%d.1"}`, quota.Sends},
	wire.Remove:      {`{"op":"remove","room":"r","group":"g%d"}`, quota.Sends},
	wire.Revoke:      {`{"op":"revoke","user":"u%d"}`, quota.Sends},
	wire.Join:        {`{"op":"join","room":"r%d","ref":1}`, quota.Joins},
	wire.Serve:       {`{"op":"serve","room":"r%d"}`, quota.Joins},
	wire.History:     {`{"op":"history","room":"r","ref":%d}`, quota.History},
	wire.Members:     {`{"op":"members","room":"r","ref":%d}`, quota.History},
	wire.ListRooms:   {`{"op":"rooms","ref":%d}`, quota.History},
	wire.ListGroups:  {`{"op":"groups","room":"r","ref":%d}`, quota.History},
	wire.ListReaders: {`{"op":"readers","room":"r","ref":%d}`, quota.History},
	wire.ListHooks:   {`{"op":"hooks","ref":%d}`, quota.History},
}

// No operation is let through of which nobody has said what it takes and what it costs, and none is free
// by being forgotten.
func TestEveryOperationHasARightAndAPrice(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(session.Handled(), session.Righted()); diff != "" {
		t.Errorf("rights (-carried out +with a right):\n%s", diff)
	}
	if diff := cmp.Diff(session.Handled(), session.Priced()); diff != "" {
		t.Errorf("prices (-carried out +with a price):\n%s", diff)
	}
	for _, kind := range session.Handled() {
		_, costs := priced[kind]
		if free := slices.Contains(unpriced, kind) || kind == wire.Quit; costs == free {
			t.Errorf("%q is priced: %v, and free: %v", kind, costs, free)
		}
		if _, err := wire.ParseOp(fmt.Appendf(nil, `{"op":%q}`, kind)); kind != wire.Quit && err != nil && strings.Contains(err.Error(), "no operation") {
			t.Errorf("no client can ask for %q: %v", kind, err)
		}
	}
}

// What costs something is refused beyond the rate, whatever comes of it otherwise; what is free never is.
func TestPricesArePaid(t *testing.T) {
	t.Parallel()
	const n = 50
	tight := func(l *parley.Limits) {
		l.SendsPerSecond, l.SendsBurst, l.JoinsPerSecond, l.HistoryPerSecond = 1, 2, 1, 1
	}
	for kind, tt := range priced {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := newServer(t)
			limit(t, server, tight)
			p := newPeer(t, server, wire.JSONLines{}, "ada")
			for i := range n {
				p.do(fmt.Sprintf(tt.op, i+1))
			}
			p.do(`{"op":"ping","ref":"end"}`)
			all := p.want(`"pong"`)
			refused := strings.Count(all, `"code":"rate_limited"`)
			if refused == 0 || refused != strings.Count(all, `"retry_ms":`) || server.Quota.Met()[tt.limit] != int64(refused) {
				t.Errorf("%d of %d were refused, and %d counted: %.400s", refused, n, server.Quota.Met()[tt.limit], all)
			}
		})
	}
	t.Run("free", func(t *testing.T) {
		t.Parallel()
		server := newServer(t)
		limit(t, server, tight)
		p := newPeer(t, server, wire.JSONLines{}, "ada")
		for range n {
			p.do(`{"op":"busy","room":"r","job":"g.1.1"}`, `{"op":"release","room":"r","job":"g.1.1"}`, `{"op":"done","room":"r","job":"g.1.1"}`,
				`{"op":"answer","room":"r","question":"4f.1","body":"x"}`, `{"op":"stop","room":"r","group":"g"}`, `{"op":"leave","room":"r"}`)
		}
		p.do(`{"op":"ping","ref":"end"}`)
		if all := p.want(`"pong"`); strings.Contains(all, `"rate_limited"`) {
			t.Errorf("refused: %.400s", all)
		}
	})
}
