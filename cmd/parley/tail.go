package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
	"parley/wire"
)

// tailFlags say where to begin, where to end and how it looks.
type tailFlags struct {
	client clientFlags
	after  uint64
	last   int
	since  string
	cursor string
	count  int
	json   bool
}

func newTailCommand() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use:   "tail ROOM|PATTERN",
		Short: "Print a room's messages as they come",
		Long: `Print a room's messages as they come, until interrupted: those sent from now on, or from where
--after, --last or --since says. A pattern stands for all rooms that fit, also those that come to be
later: * is any one part of a name, and ** at the end is the rest. After a lost connection it goes on behind the last message, so
that none is missing and none comes twice; where the server has removed some, it says so on stderr.

With --json each line is the message as it is on the wire, and a gap is a line too ("op":"gap").
The "seq" of the last line is what --after needs to go on later. In a pattern seqs say nothing beyond
a room: there the last line with a "cursor" ("op":"cursor") has what --cursor needs, to go on behind
the lines in front of it; --after takes 0 alone, and --last is not possible.`,
		Example: `  parley tail lobby --last 20
  parley tail orders --after 813 --json | jq .body
  parley tail logs --since 10m
  parley tail 'orders.**' --since 1h
  parley tail 'sensors.*.temp' --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := f.start(cmd)
			if err == nil {
				err = f.roomsArg(args[0])
			}
			if err != nil {
				return err
			}
			return f.client.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
				return f.tail(ctx, c.Room(args[0]), parley.IsPattern(args[0]), opts, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})(cmd, args)
		},
	}
	f.client.register(cmd)
	p := cmd.Flags()
	p.Uint64Var(&f.after, "after", 0, "begin behind the message with this seq; 0 = with the oldest there is")
	p.IntVar(&f.last, "last", 0, "begin with so many of the newest messages")
	p.StringVar(&f.since, "since", "", "begin with messages not older than 10m, 24h, or a time as in 2026-11-22T07:00:00Z")
	p.StringVar(&f.cursor, "cursor", "", "in a pattern: begin behind what came in front of this cursor")
	p.IntVar(&f.count, "count", 0, "end after so many messages; 0 = go on")
	p.BoolVar(&f.json, "json", false, "print JSON objects")
	cmd.MarkFlagsMutuallyExclusive("after", "last", "since", "cursor")
	return cmd
}

// start reads the flags that say where to begin.
func (f *tailFlags) start(cmd *cobra.Command) ([]client.ReadOption, error) {
	given := cmd.Flags().Changed
	switch {
	case f.count < 0:
		return nil, usagef("--count is a number of messages")
	case given("after"):
		return []client.ReadOption{client.After(f.after)}, nil
	case given("last"):
		if f.last < 1 || f.last > wire.MaxLast {
			return nil, usagef("--last is a number of messages, from 1 to %d", wire.MaxLast)
		}
		return []client.ReadOption{client.Last(f.last)}, nil
	case given("since"):
		t, err := wire.ParseSince(f.since, time.Now())
		if err != nil {
			return nil, usagef("--since: %s", sentence(err))
		}
		return []client.ReadOption{client.Since(t)}, nil
	case given("cursor"):
		if _, err := parley.ParsePosition(f.cursor); err != nil {
			return nil, usagef("--cursor: %s", sentence(err))
		}
		return []client.ReadOption{client.Behind(f.cursor)}, nil
	}
	return nil, nil
}

// roomsArg checks a room's name or a pattern that was typed.
func (f *tailFlags) roomsArg(name string) error {
	if !parley.IsPattern(name) {
		if f.cursor != "" {
			return usagef("--cursor is for a pattern, and %s is a room", name)
		}
		return roomArg(name)
	}
	if _, err := parley.ParsePattern(name); err != nil {
		return usagef("%s", sentence(err))
	}
	if f.last > 0 || f.after > 0 {
		return usagef("in a pattern, begin with --since, --cursor or --after 0")
	}
	return nil
}

func (f *tailFlags) tail(ctx context.Context, room *client.Room, many bool, opts []client.ReadOption, stdout, stderr io.Writer) error {
	var line []byte
	n := 0
	if many && f.json {
		opts = append(opts, client.OnCursor(func(cursor string) {
			if at, err := parley.ParsePosition(cursor); err == nil {
				_, _ = stdout.Write(wire.JSONLines{}.Cursor(nil, room.Name(), at)) // the next message's write fails as well
			}
		}))
	}
	for m, err := range room.Messages(ctx, opts...) {
		var gap *client.Gap
		switch {
		case errors.As(err, &gap):
			if !f.json {
				tell(stderr, "parley: %s\n", gap)
				continue
			}
			line = wire.JSONLines{}.Gap(line[:0], gap.Room, gap.After, gap.Next)
		case err != nil:
			return err
		case f.json:
			line = wire.JSONLines{}.Message(line[:0], m)
			n++
		default:
			line = appendTimed(line[:0], m, many)
			n++
		}
		if _, err := stdout.Write(line); err != nil {
			return err
		}
		if n == f.count && n > 0 {
			return nil
		}
	}
	return nil
}

// appendTimed appends "HH:MM:SS name: body", in local time, with nothing in it that a terminal
// would act on; of many rooms with the room's name.
func appendTimed(dst []byte, m *parley.Message, many bool) []byte {
	dst = m.At.Local().AppendFormat(dst, "15:04:05 ")
	if many {
		return wire.TextRooms{}.Message(dst, m)
	}
	return wire.TextNamed{}.Message(dst, m)
}
