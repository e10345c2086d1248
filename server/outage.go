package server

import (
	"context"
	"time"

	"parley/wire"
)

// What members are told when this node cannot store anything with the others, and when it can again. It
// begins when the engine says so, which it does after some seconds; that it is over is told when it has been
// so for a while, so that a network which comes and goes is told of once.
const (
	statusEvery  = 250 * time.Millisecond
	statusSteady = 2 * time.Second
)

// outage is what members know of this node.
type outage struct {
	told   bool      // that nothing can be stored
	steady time.Time // since when that is not so any more; zero: it is so
}

// see takes what is so now, and says whether members are to be told of another state than they know.
func (o *outage) see(now time.Time, apart bool) (tell bool) {
	switch {
	case apart:
		tell = !o.told
		o.told, o.steady = true, time.Time{}
	case o.told && o.steady.IsZero():
		o.steady = now
	case o.told && now.Sub(o.steady) >= statusSteady:
		tell = true
		o.told, o.steady = false, time.Time{}
	}
	return tell
}

var (
	statusApart = wire.Status{Message: "too few nodes of the cluster can be reached: nothing is stored, and nothing new comes, until that changes"}
	statusWhole = wire.Status{Available: true, Message: "enough nodes of the cluster can be reached again"}
)

// tellStatus tells members of outages until ctx ends.
func (d *doors) tellStatus(ctx context.Context) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	var o outage
	for {
		select {
		case now := <-tick.C:
			switch tell := o.see(now, d.engine.Apart() != nil); {
			case tell && o.told:
				d.hub.Announce(statusApart)
			case tell:
				d.hub.Announce(statusWhole)
			}
		case <-ctx.Done():
			return
		}
	}
}
