package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
)

// deadSuffix makes the name of the room that has a room's dead letters.
const deadSuffix = ".dead"

func newJobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List the dead letters of a room, or put them back",
		Long: `A job that failed is a dead letter: a message in the room ROOM.dead. List them, or send what was in them to
the room again, once whatever stood in the way is mended.`,
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

func newRetryCommand() *cobra.Command {
	var flags clientFlags
	var group string
	var letters []uint
	cmd := &cobra.Command{
		Use:   "retry ROOM",
		Short: "Send what is in dead letters to the room again",
		Long: `Send what is in the dead letters of a room to it again, as new messages: every group of the room gets them.
All of them, or those of one group, or those that --letter names. To do so twice within 10 minutes sends nothing twice.`,
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
			n := 0
			err := eachLetter(ctx, c, args[0], func(seq uint64, l *letter) error {
				if (len(wanted) > 0 && !wanted[seq]) || (group != "" && l.Group != group) {
					return nil
				}
				n++
				return putBack(ctx, c, args[0], seq, l)
			})
			tell(cmd.ErrOrStderr(), "parley: %d put back\n", n)
			return err
		}),
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&group, "group", "", "only those of this group")
	cmd.Flags().UintSliceVar(&letters, "letter", nil, "only this one; may stand several times")
	return cmd
}

// putBack sends what is in a dead letter again. Its id is the letter's, so that it is sent once.
func putBack(ctx context.Context, c *client.Client, room string, seq uint64, l *letter) error {
	typ, err := parley.ParseType(l.Type)
	if err != nil {
		return err
	}
	body := []byte(l.Body)
	switch typ {
	case parley.Text:
		var text string
		err = json.Unmarshal(l.Body, &text)
		body = []byte(text)
	case parley.Binary:
		err = json.Unmarshal(l.Body, &body)
	}
	if err != nil {
		return fmt.Errorf("letter %d: %w", seq, err)
	}
	_, err = c.Room(room).Publish(ctx, body, client.WithType(typ), client.WithID(fmt.Sprintf("retry-%d", seq)))
	return err
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
			if json.Unmarshal(m.Body, l) != nil || l.Group == "" {
				continue // somebody has said something there
			}
			if err := do(m.Seq, l); err != nil {
				return err
			}
		}
		more = page.More && len(page.Messages) > 0
	}
	return nil
}
