package engine_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/engine"
)

func TestAClusterAdoptsWhatOneNodeHasStored(t *testing.T) {
	t.Parallel()
	cl := configureCluster(t, engine.Config{})
	alone := engine.Config{Dir: cl.configs[1].Dir}
	e := open(t, alone)
	want := fillRooms(t, e, 100)
	closeEngine(t, e)

	if _, err := engine.Open(t.Context(), cl.configs[1]); !errors.Is(err, engine.ErrAlone) {
		t.Fatalf("opened in a cluster as if there were nothing: %v", err)
	}
	for i := range cl.configs {
		cl.configs[i].Cluster.Adopt = true
	}
	cl.open(0, 1, 2)
	for i, at := range cl.nodes {
		if diff := cmp.Diff(want, allRooms(t, at), asText); diff != "" {
			t.Errorf("node %d (-want +got):\n%s", i, diff[:min(len(diff), 2000)])
		}
	}
	d := parley.Draft{Room: "big", ID: "1", From: "ada", Body: []byte("again"), Retry: true}
	if r := say(t, cl.nodes[0], d); !r.Duplicate || r.Seq != want["big"][0].Seq {
		t.Errorf("an id that was there: %+v", r)
	}
	more := sayMany(t, cl.nodes[2], "room1", 10)
	if last := want["room1"][len(want["room1"])-1].Seq; more[0] <= last {
		t.Errorf("seq %d behind %d", more[0], last)
	}
	all := allRooms(t, cl.nodes[2])
	cl.close(0, 1, 2)
	for i := range cl.configs {
		cl.configs[i].Cluster.Adopt = false
	}
	cl.open(0, 1, 2)
	if diff := cmp.Diff(all, allRooms(t, cl.nodes[1]), asText); diff != "" {
		t.Errorf("started again (-want +got):\n%s", diff[:min(len(diff), 2000)])
	}
	cl.close(0, 1, 2)
	if _, err := engine.Open(t.Context(), alone); err == nil {
		t.Error("one node alone opened what is a cluster's now")
	}
}
