package main

import (
	"strings"
	"testing"
)

// The table shows every node, also the one that is down, the sums, and that a minority is one.
func TestTheTableOfACluster(t *testing.T) {
	const answer = `{"node":"n1","majority":MAJORITY,"ready":READY,"reason":"too few nodes","rooms":7,"members":90,"sessions":120,
		"nodes":[{"name":"n1","alive":true,"ready":true,"leads":3,"lag":0,"sessions":70,"rooms":5},
			{"name":"n2","alive":true,"ready":true,"leaving":true,"leads":1,"lag":12,"sessions":50,"rooms":4},
			{"name":"n3","alive":false,"ready":true,"leads":0,"lag":99,"sessions":40,"rooms":3}],
		"partitions":[{"stream":"rooms_0","leader":"n1","seq":812,"replicas":[
			{"node":"n2","alive":true,"current":false,"lag":12},{"node":"n3","alive":false}]}]}`
	whole := strings.NewReplacer("MAJORITY", "true", "READY", "true").Replace(answer)
	minority := strings.NewReplacer("MAJORITY", "false", "READY", "false").Replace(answer)
	for _, c := range []struct{ answer, says string }{
		{whole, "n1 up 3 0 70 5"},
		{whole, "n2 draining 1 12 50 4"},
		{whole, "n3 down 0 - - -"},
		{whole, "rooms_0 n1 812 n2 12 behind, n3 down"},
		{whole, "2 of 3 nodes up: 7 rooms, 90 members, 120 sessions"},
		{whole, "n1: ready"},
		{minority, "n1 hears no majority of the nodes"},
		{minority, "n1: not ready: too few nodes"},
	} {
		var out strings.Builder
		if err := showCluster(&out, []byte(c.answer)); err != nil {
			t.Fatal(err)
		}
		if words := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(words, c.says) {
			t.Errorf("not said: %s\n%s", c.says, out.String())
		}
	}
	if err := showCluster(new(strings.Builder), []byte(`{"nodes":[]}`)); err == nil {
		t.Error("a server alone is shown as a cluster")
	}
}
