package main

import (
	"context"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
)

func newRevokeCommand() *cobra.Command {
	var flags clientFlags
	var key string
	var lift bool
	cmd := &cobra.Command{
		Use:   "revoke (USER | --key NAME)",
		Short: "End what a user or an API key may do",
		Long: `End what a user may do, or an API key by its name: every session of theirs ends within a second, and they
are let in no more, whatever they show, until --lift takes that back. It outlasts restarts. Who the
configuration revokes stays so.

It takes the right admin in every room: a token with admin=**.`,
		Example: `  parley revoke mallory
  parley revoke --key billing
  parley revoke mallory --lift`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := revokedUser(args, key)
			if err != nil {
				return err
			}
			return flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
				ctx, cancel := answering(ctx)
				defer cancel()
				if err := c.Revoke(ctx, user, key, lift); err != nil {
					return err
				}
				tell(cmd.ErrOrStderr(), "parley: %s\n", oneLine(revokedSentence(user, key, lift)))
				return nil
			})(cmd, args)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&key, "key", "", "the name of an API key")
	cmd.Flags().BoolVar(&lift, "lift", false, "take it back")
	return cmd
}

// revokedUser is the user that is meant, "" where it is a key.
func revokedUser(args []string, key string) (string, error) {
	switch {
	case (len(args) == 1) == (key != ""):
		return "", usagef("give a user, or --key and the name of an API key")
	case len(args) == 0:
		return "", nil
	}
	user, err := parley.ParseName(args[0])
	if err != nil {
		return "", usagef("%s", sentence(err))
	}
	return user, nil
}

func revokedSentence(user, key string, lift bool) string {
	who := user
	if key != "" {
		who = "the API key " + key
	}
	if lift {
		return who + " is let in again"
	}
	return who + " is let in no more"
}
