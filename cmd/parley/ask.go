package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
	"parley/wire"
)

func newAskCommand() *cobra.Command {
	var flags clientFlags
	var most int
	var timeout time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ask ROOM [TEXT|-]",
		Short: "Ask those who serve a room",
		Long: `Ask those who serve a room, and print what they answer: the first answer, or with --most as many as
come in time. Nothing of it is stored. If nobody serves the room, that is an error at once.

Without TEXT, or with -, the question is read from stdin.`,
		Example: `  parley ask prices apple
  parley ask nodes status --most 100 --timeout 1s`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case most < 1 || most > wire.MaxAnswers:
				return usagef("--most is from 1 to %d", wire.MaxAnswers)
			case timeout < wire.MinTimeout || timeout > wire.MaxTimeout:
				return usagef("--timeout is from %v to %v", wire.MinTimeout, wire.MaxTimeout)
			}
			if err := roomArg(args[0]); err != nil {
				return err
			}
			return flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, args []string) error {
				body, err := questionOf(cmd, args)
				if err != nil {
					return err
				}
				op := client.AskType(parley.Text)
				if asJSON {
					op = client.AskType(parley.JSON)
				}
				answers, err := c.Room(args[0]).AskAll(ctx, most, body, op, client.Within(timeout))
				if err != nil {
					return err
				}
				for _, a := range answers {
					if _, err := cmd.OutOrStdout().Write(append(a.Body, '\n')); err != nil {
						return err
					}
				}
				return nil
			})(cmd, args)
		},
	}
	flags.register(cmd)
	cmd.Flags().IntVar(&most, "most", 1, "how many answers are enough")
	cmd.Flags().DurationVar(&timeout, "timeout", wire.DefaultTimeout, "how long to wait for them")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the question is a JSON value")
	return cmd
}

// questionOf reads what is asked.
func questionOf(cmd *cobra.Command, args []string) ([]byte, error) {
	if len(args) == 2 && args[1] != "-" {
		return []byte(args[1]), nil
	}
	body, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxOutput+1))
	if err != nil {
		return nil, fmt.Errorf("read the question: %w", err)
	}
	if n := len(body); n > 0 && body[n-1] == '\n' {
		body = body[:n-1]
	}
	if len(body) == 0 {
		return nil, usagef("the question is empty")
	}
	return body, nil
}

func newAnswerCommand() *cobra.Command {
	var flags clientFlags
	var parallel int
	cmd := &cobra.Command{
		Use:   "answer ROOM -- CMD [ARG...]",
		Short: "Answer questions with a command",
		Long: `Serve a room: run a command for each question that is asked of it, with the question on its stdin. What
it prints is the answer. If it fails there is none from here, and who asked waits for others.`,
		Example: `  parley answer prices -- ./price-of
  parley answer nodes --parallel 8 -- sh -c 'hostname; uptime'`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := roomArg(args[0]); err != nil {
				return err
			}
			if parallel < 1 {
				return usagef("--parallel is 1 at least")
			}
			if cmd.ArgsLenAtDash() != 1 {
				return usagef("the command stands behind the room and two dashes: parley answer ROOM -- CMD")
			}
			return flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, args []string) error {
				p := &program{args: args[1:], stderr: cmd.ErrOrStderr()}
				tell(cmd.ErrOrStderr(), "parley: answering in %s\n", args[0])
				return c.Answer(ctx, args[0], parallel, func(ctx context.Context, q *parley.Question) ([]byte, parley.Type, error) {
					output, err := p.run(ctx, q.Body, maxOutput, "PARLEY_ROOM="+q.Room, "PARLEY_FROM="+q.From)
					var failed programError
					if errors.As(err, &failed) && ctx.Err() == nil {
						tell(cmd.ErrOrStderr(), "parley: not answered: %s\n", oneLine(failed.text))
					}
					body, typ := shown(output)
					return body, typ, err
				})
			})(cmd, args)
		},
	}
	flags.register(cmd)
	cmd.Flags().IntVar(&parallel, "parallel", 1, "how many commands to run at a time")
	return cmd
}
