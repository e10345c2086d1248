package bench

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Start is a server that starts: from exec until it says that it is ready.
type Start struct {
	Messages int64 // in its data directory; 0 = an empty one
	Rooms    int
	Size     int // bytes of a body
	Times    int // the median counts
}

func (s Start) check() error {
	if s.Times < 1 || s.Messages < 0 || s.Rooms < 1 || s.Rooms >= 100_000 {
		return errors.New("start needs a number of times, and messages in 1 to 99,999 rooms")
	}
	_, err := filler(s.Size)
	return err
}

func (Start) peer(string, string) []string { return nil }

func (s Start) run(ctx context.Context, t *target) (Row, error) {
	if t.proc == nil {
		return Row{}, errors.New("start starts its server, so it cannot run against --addr")
	}
	if s.Messages > 0 {
		if err := fill(ctx, t, runName(), s.Rooms, s.Messages, s.Size); err != nil {
			return Row{}, err
		}
	}
	var took []time.Duration
	for range s.Times {
		var err error
		if s.Messages > 0 {
			err = t.restart(ctx)
		} else {
			err = t.renew(ctx)
		}
		if err != nil {
			return Row{}, err
		}
		took = append(took, t.proc.took)
	}
	slices.Sort(took)
	row := Row{Load: "start", Params: []Param{{"messages", s.Messages}, {"rooms", s.Rooms}, {"size", s.Size}, {"times", s.Times}}}
	const ms = float64(time.Millisecond)
	row.figure("median_ms", "median ms", float64(took[len(took)/2])/ms)
	row.figure("min_ms", "min ms", float64(took[0])/ms)
	row.figure("max_ms", "max ms", float64(took[len(took)-1])/ms)
	return row, nil
}
