package bench

import (
	"context"
	"fmt"
)

// Cut gives the lines that a stream makes which comes in pieces.
func Cut(pieces ...string) []string {
	var l lines
	var got []string
	for _, p := range pieces {
		_ = l.cut([]byte(p), func(line []byte) error {
			got = append(got, string(line))
			return nil
		})
	}
	return got
}

// Human is how a table writes a number.
var Human = human

// GoalNames lists the table of goals.
func GoalNames() []string {
	var names []string
	for _, g := range goals(DefaultFor) {
		names = append(names, g.name)
	}
	return names
}

// CheckGoals checks the loads of the table of goals.
func CheckGoals() error {
	for _, g := range goals(DefaultFor) {
		for _, l := range []Load{g.load, g.beside} {
			if l == nil {
				continue
			}
			if err := l.check(); err != nil {
				return fmt.Errorf("%s: %w", g.name, err)
			}
		}
	}
	return nil
}

// AllOf runs a table of three goals: any server meets the first and none the second; the third holds
// a load against itself.
func (s *Setup) AllOf(ctx context.Context, l Load, key string) error {
	return s.all(ctx, []goal{
		{name: "easy", load: l, peers: []string{NATS}, aims: []aim{{key: key, bound: 0, atLeast: true}}},
		{name: "hard", load: l, aims: []aim{{key: key, bound: -1}}},
		{name: "beside", load: l, beside: l, aims: []aim{{key: key, bound: 1e6, ratio: true}}},
	})
}

// CutFrames gives the messages that a stream of frames makes which comes in pieces.
func CutFrames(pieces ...string) []string {
	var f frames
	var got []string
	for _, p := range pieces {
		_ = f.cut([]byte(p), func(message []byte) error {
			got = append(got, string(message))
			return nil
		})
	}
	return got
}

// CountEvents counts the messages in a stream of events that comes in pieces.
func CountEvents(pieces ...string) (n int64) {
	e := eventCounter{mark: eventMark}
	for _, p := range pieces {
		k, _ := e.count([]byte(p))
		n += k
	}
	return n
}
