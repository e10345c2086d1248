package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"parley/client"
)

func newDrainCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Have a server let its clients go, and end",
		Long: `Have the server at --server end as TERM does: it is not ready any more, partitions of a cluster that it leads
are handed to other nodes, its clients are told when to come back, what is in flight is answered, and it ends
within the time that its configuration gives (drain, 10 s). The clients of a node go to the others.

It takes the right admin in every room: a token with admin=**. Where nobody has to say who they are it takes
being on the same machine, by TCP. The command returns when the server has begun.`,
		Example: `  parley drain
  parley drain --server 10.0.0.2:8000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
				ctx, cancel := answering(ctx)
				defer cancel()
				if strings.Contains(flags.server, ",") {
					return usagef("--server: one server is drained at a time")
				}
				if err := c.Drain(ctx); err != nil {
					return err
				}
				tell(cmd.ErrOrStderr(), "parley: %s drains\n", oneLine(flags.server))
				return nil
			})(cmd, args)
		},
	}
	flags.register(cmd)
	return cmd
}
