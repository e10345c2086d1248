package server

import (
	"testing"
	"time"
)

// Members are told when an outage begins, and when it has been over for a while: one that comes and goes
// is told of once.
func TestAnOutageIsToldOfOnce(t *testing.T) {
	t.Parallel()
	const (
		quiet = iota
		begins
		ends
	)
	var o outage
	start := time.Now()
	for i, step := range []struct {
		at    time.Duration
		apart bool
		tell  int
	}{
		{0, false, quiet},
		{1 * time.Second, true, begins},
		{2 * time.Second, true, quiet},
		{3 * time.Second, false, quiet},
		{4 * time.Second, false, quiet}, // not long enough
		{4500 * time.Millisecond, true, quiet},
		{5 * time.Second, false, quiet},
		{6900 * time.Millisecond, false, quiet},
		{7 * time.Second, false, ends},
		{8 * time.Second, false, quiet},
		{9 * time.Second, true, begins},
	} {
		tell, told := o.see(start.Add(step.at), step.apart), quiet
		switch {
		case tell && o.told:
			told = begins
		case tell:
			told = ends
		}
		if told != step.tell {
			t.Errorf("step %d: %d is told, want %d", i, told, step.tell)
		}
	}
}
