package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/client"
)

// answerWithin bounds how long a command waits that only asks.
const answerWithin = 30 * time.Second

func answering(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, answerWithin, fmt.Errorf("the server has not answered within %v", answerWithin))
}

func newRoomsCommand() *cobra.Command {
	var flags clientFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rooms",
		Short: "List the rooms",
		Long:  "List the rooms by name: who is in them now, the messages they hold, the seq of the newest.",
		Example: `  parley rooms
  parley rooms --json | jq -r .room`,
		Args: cobra.NoArgs,
		RunE: flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
			ctx, cancel := answering(ctx)
			defer cancel()
			if asJSON {
				return listRoomsJSON(ctx, c, cmd)
			}
			return listRooms(ctx, c, cmd)
		}),
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for each room")
	return cmd
}

func listRooms(ctx context.Context, c *client.Client, cmd *cobra.Command) error {
	// What is written here is kept until Flush, which says what came of it.
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
	n := 0
	for room, err := range c.Rooms(ctx) {
		if err != nil {
			return err
		}
		if n++; n == 1 {
			tell(w, "ROOM\tMEMBERS\tMESSAGES\tNEWEST\n")
		}
		tell(w, "%s\t%d\t%d\t%d\n", room.Room, room.Members, room.Messages, room.Seq)
	}
	if n == 0 {
		tell(cmd.ErrOrStderr(), "parley: there are no rooms yet; the first message makes one\n")
	}
	return w.Flush()
}

func listRoomsJSON(ctx context.Context, c *client.Client, cmd *cobra.Command) error {
	out := json.NewEncoder(cmd.OutOrStdout())
	for room, err := range c.Rooms(ctx) {
		if err != nil {
			return err
		}
		if err := out.Encode(room); err != nil {
			return err
		}
	}
	return nil
}
