package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// Orders that were placed before any service was there come through all three; the one that is
// refused is a dead letter with a reason.
func TestOrdersComeThrough(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := events(ctx, &out); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	slices.Sort(got) // two orders of different items come in either order
	want := []string{
		"o-1: book, shipped",
		"o-2: lamp, shipped",
		"o-3: castle, a dead letter of payment: refused: 99000000 is more than 100000",
		"o-4: book, shipped",
	}
	if !slices.Equal(got, want) {
		t.Errorf("it says\n%s", out.String())
	}
}
