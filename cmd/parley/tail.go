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
	count  int
	json   bool
}

func newTailCommand() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use:   "tail ROOM",
		Short: "Print a room's messages as they come",
		Long: `Print a room's messages as they come, until interrupted: those sent from now on, or from where
--after, --last or --since says. After a lost connection it goes on behind the last message, so
that none is missing and none comes twice; where the server has removed some, it says so on stderr.

With --json each line is the message as it is on the wire, and a gap is a line too ("op":"gap").
The "seq" of the last line is what --after needs to go on later.`,
		Example: `  parley tail lobby --last 20
  parley tail orders --after 813 --json | jq .body
  parley tail logs --since 10m`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := f.start(cmd)
			if err == nil {
				err = roomArg(args[0])
			}
			if err != nil {
				return err
			}
			return f.client.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
				return f.tail(ctx, c.Room(args[0]), opts, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})(cmd, args)
		},
	}
	f.client.register(cmd)
	p := cmd.Flags()
	p.Uint64Var(&f.after, "after", 0, "begin behind the message with this seq; 0 = with the oldest there is")
	p.IntVar(&f.last, "last", 0, "begin with so many of the newest messages")
	p.StringVar(&f.since, "since", "", "begin with messages not older than 10m, 24h, or a time as in 2026-11-22T07:00:00Z")
	p.IntVar(&f.count, "count", 0, "end after so many messages; 0 = go on")
	p.BoolVar(&f.json, "json", false, "print JSON objects")
	cmd.MarkFlagsMutuallyExclusive("after", "last", "since")
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
	}
	return nil, nil
}

func (f *tailFlags) tail(ctx context.Context, room *client.Room, opts []client.ReadOption, stdout, stderr io.Writer) error {
	var line []byte
	n := 0
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
			line = appendTimed(line[:0], m)
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
// would act on.
func appendTimed(dst []byte, m *parley.Message) []byte {
	dst = m.At.Local().AppendFormat(dst, "15:04:05 ")
	return wire.TextNamed{}.Message(dst, m)
}
