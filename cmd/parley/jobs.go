package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"parley"
	"parley/client"
)

// deadSuffix makes the name of the room that has a room's dead letters.
const deadSuffix = ".dead"

func newJobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List the dead letters of a room, or put them back",
		Long: `A job that failed is a dead letter: a message in the room ROOM.dead. List them, or put them back into their
groups, once whatever stood in the way is mended.`,
	}
	cmd.AddCommand(newDeadCommand(), newRetryCommand())
	return cmd
}

// letter is what of a dead letter is needed here.
type letter struct {
	Room   string          `json:"room"`
	Group  string          `json:"group"`
	Seq    uint64          `json:"seq"`
	ID     string          `json:"id"`
	Tries  int             `json:"tries"`
	Reason string          `json:"reason"`
	Type   string          `json:"type"`
	Body   json.RawMessage `json:"body"`
}

func newDeadCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:     "dead ROOM",
		Short:   "List the dead letters of a room",
		Long:    "List the dead letters of a room, the oldest first, one JSON object a line. \"letter\" is what retry takes.",
		Example: `  parley jobs dead squares | jq -r .reason`,
		Args:    cobra.ExactArgs(1),
		RunE: flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, args []string) error {
			if err := roomArg(args[0]); err != nil {
				return err
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			return eachLetter(ctx, c, args[0], func(seq uint64, l *letter) error {
				return out.Encode(struct {
					Letter uint64 `json:"letter"`
					*letter
				}{seq, l})
			})
		}),
	}
	flags.register(cmd)
	return cmd
}

// retrying is how many letters are on their way back at a time.
const retrying = 64

func newRetryCommand() *cobra.Command {
	var flags clientFlags
	var group string
	var letters []uint
	cmd := &cobra.Command{
		Use:   "retry ROOM",
		Short: "Put dead letters back into the groups that they came from",
		Long: `Put the dead letters of a room back: each is a job again, of the group that it came from and of no other, with all
its tries before it. All of them, or those of one group, or those that --letter names. A letter is put back once: what was
put back before, also by a run that was killed, is passed over.`,
		Example: `  parley jobs retry squares --group g
  parley jobs retry squares --letter 17 --letter 19`,
		Args: cobra.ExactArgs(1),
		RunE: flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, args []string) error {
			if err := roomArg(args[0]); err != nil {
				return err
			}
			wanted := make(map[uint64]bool)
			for _, l := range letters {
				wanted[uint64(l)] = true
			}
			var back, before atomic.Int64
			g, ctx := errgroup.WithContext(ctx)
			g.SetLimit(retrying)
			err := eachLetter(ctx, c, args[0], func(seq uint64, l *letter) error {
				if (len(letters) > 0 && !wanted[seq]) || (group != "" && l.Group != group) {
					return nil
				}
				delete(wanted, seq)
				g.Go(func() error { return putBack(ctx, c, args[0], seq, &back, &before) })
				return ctx.Err()
			})
			if waited := g.Wait(); waited != nil { // it is why the reading has ended
				err = waited
			}
			tell(cmd.ErrOrStderr(), "parley: %d put back, %d were before\n", back.Load(), before.Load())
			if err == nil && len(wanted) > 0 {
				return fmt.Errorf("%s has no letters %v", args[0]+deadSuffix, slices.Sorted(maps.Keys(wanted)))
			}
			return err
		}),
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&group, "group", "", "only those of this group")
	cmd.Flags().UintSliceVar(&letters, "letter", nil, "only this one; may stand several times")
	return cmd
}

// putBack puts a letter back and counts it.
func putBack(ctx context.Context, c *client.Client, room string, seq uint64, back, before *atomic.Int64) error {
	was, err := c.Room(room).PutBack(ctx, seq)
	switch {
	case err != nil:
		return fmt.Errorf("letter %d: %w", seq, err)
	case was:
		before.Add(1)
	default:
		back.Add(1)
	}
	return nil
}

// eachLetter reads the dead letters of a room, as far as there are any.
func eachLetter(ctx context.Context, c *client.Client, room string, do func(seq uint64, l *letter) error) error {
	after := uint64(0)
	for more := true; more; {
		page, err := c.Room(room+deadSuffix).History(ctx, client.After(after), client.Limit(parley.MaxPage))
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			after = m.Seq
			l := new(letter)
			if json.Unmarshal(m.Body, l) != nil || l.Group == "" || l.Seq == 0 || m.From != parley.Server {
				continue // it tells of a gap, or somebody has said something there
			}
			if err := do(m.Seq, l); err != nil {
				return err
			}
		}
		more = page.More && len(page.Messages) > 0
	}
	return nil
}
