package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// planned is one fault of a run: what, to whom, from when on and for how long.
type planned struct {
	kind  string
	node  int // whom it is done to; 0 = all
	other int // the other side of a cut
	at    time.Duration
	lasts time.Duration
}

func (p planned) String() string {
	who := fmt.Sprintf("n%d", p.node)
	switch {
	case p.node == 0:
		who = "all"
	case p.other != 0:
		who += fmt.Sprintf("/n%d", p.other)
	}
	return fmt.Sprintf("%.1fs %s %s for %.1fs", p.at.Seconds(), p.kind, who, p.lasts.Seconds())
}

// draw makes the plan of a run: faults of the kinds, some of which overlap, over so long.
func draw(seed uint64, kinds []string, length time.Duration) (plan []planned) {
	rng := rand.New(rand.NewPCG(seed, 0))
	for at := 500 * time.Millisecond; at < length; {
		kind := kinds[rng.IntN(len(kinds))]
		p := planned{kind: kind, at: at, lasts: 300*time.Millisecond + time.Duration(rng.Int64N(int64(3500*time.Millisecond)))}
		switch rng.IntN(8) {
		case 0, 1: // as short as can be
			p.lasts = time.Duration(rng.Int64N(int64(200 * time.Millisecond)))
		case 2: // long enough for whoever is cut off to refuse what he is given
			p.lasts += 4 * time.Second
		}
		p.lasts = min(p.lasts, length-at)
		p.node = 1 + rng.IntN(nodes)
		p.other = 1 + (p.node+rng.IntN(nodes-1))%nodes
		f := faults[kind]
		if f.all {
			p.node = 0
		}
		if !f.pair {
			p.other = 0
		}
		plan = append(plan, p)
		at += p.lasts
		if pause := time.Duration(rng.Int64N(int64(3 * time.Second))); rng.IntN(3) > 0 {
			at += pause
		} else {
			at -= time.Duration(rng.Int64N(int64(p.lasts) + 1)) // the next begins before this one ends
		}
	}
	slices.SortStableFunc(plan, func(a, b planned) int { return cmp.Compare(a.at, b.at) })
	return plan
}

// allKinds are the names of the faults there are, or those in a list with commas.
func allKinds(list string) ([]string, error) {
	var kinds []string
	if list == "" {
		for kind := range faults {
			kinds = append(kinds, kind)
		}
		slices.Sort(kinds)
		return kinds, nil
	}
	for kind := range strings.SplitSeq(list, ",") {
		if _, ok := faults[kind]; !ok {
			return nil, fmt.Errorf("there is no fault %q", kind)
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}
