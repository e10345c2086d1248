package ws_test

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

func quote(s string) string { return strconv.QuoteToASCII(s) }

// parameters are those of a header, in an order of their own.
func parameters(header string) string {
	list := strings.Split(strings.ReplaceAll(header, " ", ""), ";")
	slices.Sort(list[1:])
	return strings.Join(list, ";")
}

// await waits until something holds that nobody tells of.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited for %s", what)
		}
	}
}

// running says whether a goroutine is in a function.
func running(function string) bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), function)
}
