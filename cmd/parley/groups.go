package main

import (
	"context"
	"encoding/json"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
)

func newGroupsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "groups",
		Short: "List the groups of workers of a room, or remove one",
		Long: `Those who work in a group share a room's messages out among them: see parley work. A group keeps every message
of its room as a job from its first worker on, until the job is finished or the group is removed.`,
	}
	cmd.AddCommand(newGroupListCommand(), newGroupRemoveCommand())
	return cmd
}

func newGroupListCommand() *cobra.Command {
	var flags clientFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list ROOM",
		Short: "List the groups of a room",
		Long: `List the groups of a room by name: the jobs that are not finished, those of them that a worker holds, the dead
letters that the group has made since it began, the sessions that take from it. It takes the right to work in the room.`,
		Example: `  parley groups list squares
  parley groups list squares --json | jq .pending`,
		Args: cobra.ExactArgs(1),
		RunE: aboutRoom(&flags, func(ctx context.Context, room *client.Room, cmd *cobra.Command, _ []string) error {
			list, err := room.Groups(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return encodeAll(cmd, list)
			}
			if len(list) == 0 {
				tell(cmd.ErrOrStderr(), "parley: %s has no groups\n", room.Name())
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			tell(w, "GROUP\tPENDING\tTAKEN\tDEAD\tSESSIONS\n")
			for _, g := range list {
				tell(w, "%s\t%d\t%d\t%d\t%d\n", g.Group, g.Pending, g.Taken, g.Dead, g.Sessions)
			}
			return w.Flush()
		}),
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for each group")
	return cmd
}

func newGroupRemoveCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "remove ROOM GROUP",
		Short: "Remove a group with its jobs",
		Long: `Remove a group with its jobs: those that are not finished are never done. Messages and dead letters stay. Workers
have to be stopped first; one that comes later begins a new group. It takes the right to moderate the room.`,
		Example: `  parley groups remove squares g`,
		Args:    cobra.ExactArgs(2),
		RunE: aboutRoom(&flags, func(ctx context.Context, room *client.Room, cmd *cobra.Command, args []string) error {
			if err := room.RemoveGroup(ctx, args[1]); err != nil {
				return err
			}
			tell(cmd.ErrOrStderr(), "parley: the group %s of %s is removed\n", args[1], room.Name())
			return nil
		}),
	}
	flags.register(cmd)
	return cmd
}

func newReadersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "readers",
		Short: "List the durable readers of a room, or remove one",
		Long:  "A durable reader is a name under which the server remembers how far a room was dealt with.",
	}
	cmd.AddCommand(newReaderListCommand(), newReaderRemoveCommand())
	return cmd
}

func newReaderListCommand() *cobra.Command {
	var flags clientFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list ROOM",
		Short:   "List the durable readers of a room",
		Long:    "List the durable readers of a room by name, with the seq up to which each has dealt with it. It takes the right to read the room.",
		Example: `  parley readers list orders`,
		Args:    cobra.ExactArgs(1),
		RunE: aboutRoom(&flags, func(ctx context.Context, room *client.Room, cmd *cobra.Command, _ []string) error {
			out := json.NewEncoder(cmd.OutOrStdout())
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			n := 0
			for reader, err := range room.Readers(ctx) {
				if err != nil {
					return err
				}
				if n++; asJSON {
					if err := out.Encode(reader); err != nil {
						return err
					}
					continue
				}
				if n == 1 {
					tell(w, "READER\tSEQ\n")
				}
				tell(w, "%s\t%d\n", reader.Reader, reader.Seq)
			}
			if n == 0 && !asJSON {
				tell(cmd.ErrOrStderr(), "parley: %s has no durable readers\n", room.Name())
			}
			return w.Flush()
		}),
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for each reader")
	return cmd
}

func newReaderRemoveCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "remove ROOM READER",
		Short: "Remove a durable reader with its position",
		Long: `Remove a durable reader with its position. Sessions that read as it have to leave first; one that comes later begins
where it says. It takes the right to moderate the room.`,
		Example: `  parley readers remove orders billing`,
		Args:    cobra.ExactArgs(2),
		RunE: aboutRoom(&flags, func(ctx context.Context, room *client.Room, cmd *cobra.Command, args []string) error {
			if err := room.RemoveReader(ctx, args[1]); err != nil {
				return err
			}
			tell(cmd.ErrOrStderr(), "parley: the reader %s of %s is removed\n", args[1], room.Name())
			return nil
		}),
	}
	flags.register(cmd)
	return cmd
}

// aboutRoom makes the RunE of a command that asks about a room, and about something in it by its name.
func aboutRoom(flags *clientFlags, do func(ctx context.Context, room *client.Room, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := roomArg(args[0]); err != nil {
			return err
		}
		if len(args) > 1 {
			if _, err := parley.ParseRoom(args[1]); err != nil {
				return usagef("%s: the names of groups and readers are like those of rooms, and this is none", args[1])
			}
		}
		return flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, args []string) error {
			ctx, cancel := answering(ctx)
			defer cancel()
			return do(ctx, c.Room(args[0]), cmd, args)
		})(cmd, args)
	}
}

// encodeAll prints one JSON object for each of a list.
func encodeAll[E any](cmd *cobra.Command, list []E) error {
	out := json.NewEncoder(cmd.OutOrStdout())
	for _, e := range list {
		if err := out.Encode(e); err != nil {
			return err
		}
	}
	return nil
}
