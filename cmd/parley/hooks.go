package main

import (
	"context"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/client"
	"parley/wire"
)

func newHooksCommand() *cobra.Command {
	var flags clientFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "hooks",
		Short: "List the hooks and how each fares",
		Long: `List the hooks of a running server that post what happens in rooms, by name: where to, the rooms with messages that
are still to be posted and the age of the oldest of these, what was taken and what became dead letters since the server
started, when something was last taken, and since when nothing is. It takes the right admin in every room.`,
		Example: `  parley hooks
  parley hooks --json | jq -r 'select(.failing_since) | .hook + ": " + .why'`,
		Args: cobra.NoArgs,
		RunE: flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
			ctx, cancel := answering(ctx)
			defer cancel()
			list, err := c.Hooks(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return encodeAll(cmd, list)
			}
			if len(list) == 0 {
				tell(cmd.ErrOrStderr(), "parley: the server has no hooks that post\n")
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			tell(w, "HOOK\tTO\tPENDING\tLAG\tSENT\tDEAD\tLAST SUCCESS\tSTATE\n")
			for _, h := range list {
				tell(w, "%s\t%s\t%d\t%v\t%d\t%d\t%s\t%s\n", h.Hook, h.To, h.Pending,
					(time.Duration(h.LagMS) * time.Millisecond).Round(time.Second), h.Sent, h.Dead, shortTime(h.LastSuccess), hookState(&h))
			}
			return w.Flush()
		}),
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for each hook")
	return cmd
}

// hookState says in words how a hook fares.
func hookState(h *wire.HookEntry) string {
	switch {
	case h.Gone:
		return "gone: it wants nothing any more"
	case h.FailingSince != nil:
		return "failing since " + shortTime(h.FailingSince) + ": " + oneLine(h.Why)
	}
	return "ok"
}

// shortTime is a time for people, to the second.
func shortTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}
