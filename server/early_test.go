package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"parley"
)

// A server that is told to stop while it starts has not failed, whatever the parts say that were starting.
func TestToldToStopBeforeItIsReady(t *testing.T) {
	t.Parallel()
	told, tell := context.WithCancel(context.Background())
	tell()
	behind := parley.Errorf(parley.Unavailable, "the replica is behind")
	mistake := badConfig("the port is taken")
	for _, of := range []struct {
		ctx       context.Context
		err, want error
	}{
		{told, context.Canceled, nil},
		{told, fmt.Errorf("wait: %w", context.Canceled), nil},
		{told, behind, nil},
		{told, mistake, mistake},
		{t.Context(), behind, behind},
		{t.Context(), context.Canceled, context.Canceled},
	} {
		if got := early(of.ctx, of.err, slog.New(slog.DiscardHandler)); !errors.Is(got, of.want) {
			t.Errorf("%v, told %v: %v, want %v", of.err, of.ctx.Err() != nil, got, of.want)
		}
	}
}
