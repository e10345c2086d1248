package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"parley/e2e/history"
)

// figures are sums over histories.
type figures struct {
	runs, failed                                     int
	sent, acked, unknown, refused, received, session int
	faults                                           map[string]int
	longest                                          time.Duration // without an ack, under faults
	recovered                                        time.Duration // from the heal until all nodes were ready, at most
	slowest                                          time.Duration // from a send to its outcome, where one was told
	wrong                                            int
}

// count takes one history's figures.
func count(list []history.Event) figures {
	f := figures{runs: 1, faults: make(map[string]int)}
	var last, healed int64
	sent := make(map[string]int64)
	for _, e := range list {
		switch e.Op + " " + e.Type {
		case "publish invoke":
			f.sent++
			sent[e.ID] = e.T
		case "publish ok":
			f.acked++
			if last > 0 {
				f.longest = max(f.longest, time.Duration(e.T-last))
			}
			last = e.T
			f.slowest = max(f.slowest, time.Duration(e.T-sent[e.ID]))
		case "publish info":
			f.unknown++
		case "publish fail":
			f.refused++
			f.slowest = max(f.slowest, time.Duration(e.T-sent[e.ID]))
		case "recv ok":
			f.received++
		case "sub ok":
			f.session++
		case "fault info":
			switch {
			case e.Name == "heal":
				healed = e.T
			case e.Name == "recovered":
				f.recovered = time.Duration(e.T - healed)
			case !strings.HasPrefix(e.Name, "end of "):
				f.faults[e.Name]++
			}
		}
	}
	return f
}

// add sums up.
func (f *figures) add(g figures) {
	if f.faults == nil {
		f.faults = make(map[string]int)
	}
	f.runs += g.runs
	f.failed += g.failed
	f.sent += g.sent
	f.acked += g.acked
	f.unknown += g.unknown
	f.refused += g.refused
	f.received += g.received
	f.session += g.session
	f.wrong += g.wrong
	f.longest, f.recovered = max(f.longest, g.longest), max(f.recovered, g.recovered)
	f.slowest = max(f.slowest, g.slowest)
	for kind, n := range g.faults {
		f.faults[kind] += n
	}
}

func (f *figures) print(w io.Writer) {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(f.faults)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, f.faults[kind]))
	}
	_, _ = fmt.Fprintf(w, "  %d sends, %d acks, %d unknown, %d refused; %d messages read in %d sessions\n  faults: %s\n  longest time without acks %.1fs, from a send to its outcome %.1fs, all ready %.1fs after the heal\n",
		f.sent, f.acked, f.unknown, f.refused, f.received, f.session, strings.Join(kinds, ", "), f.longest.Seconds(), f.slowest.Seconds(), f.recovered.Seconds())
}
