package e2e_test

import (
	"testing"

	"parley/e2e/history"
)

// verdict fails the test with what is wrong in its history.
func (r *recorder) verdict(t testing.TB) {
	t.Helper()
	events := r.events(t)
	count := map[string]int{}
	for _, e := range events {
		count[e.Op+" "+e.Type]++
	}
	t.Logf("%d publishes, %d acknowledged, %d unknown, %d refused; %d messages received in %d sessions; %d faults",
		count["publish invoke"], count["publish ok"], count["publish info"], count["publish fail"],
		count["recv ok"], count["sub ok"], count["fault info"])
	for _, w := range history.Judge(events) {
		t.Error(w)
	}
}
