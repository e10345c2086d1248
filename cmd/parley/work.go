package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
	"parley/wire"
)

// workFlags say which jobs to take and how.
type workFlags struct {
	client   clientFlags
	group    string
	parallel int
	deadline time.Duration
	tries    int
	answers  string
}

// answersSuffix makes the name of the room that has a room's answers.
const answersSuffix = ".answers"

func newWorkCommand() *cobra.Command {
	var f workFlags
	cmd := &cobra.Command{
		Use:   "work ROOM --group G -- CMD [ARG...]",
		Short: "Run a command for each job of a group",
		Long: `Run a command for each message of a room, sharing them with all others who work in the same group:
the body is on its stdin, and PARLEY_ROOM, PARLEY_SEQ, PARLEY_ID, PARLEY_FROM and PARLEY_TRIES are in its
environment. A group that is there for the first time begins with the oldest message.

What the command prints is sent to the room ROOM.answers under the id of the message it answers, then
the job is done. If it exits with 65 the job is a dead letter, in the room ROOM.dead; with any other
code but 0 it is tried again, later and perhaps elsewhere. A job whose worker dies is given to another.`,
		Example: `  parley work squares --group g --parallel 4 -- sh -c 'read n; echo $((n*n))'
  parley work mails --group senders --answers '' -- sendmail -t`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args); err != nil {
				return err
			}
			return f.client.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, args []string) error {
				return f.work(ctx, c, cmd, args)
			})(cmd, args)
		},
	}
	f.client.register(cmd)
	p := cmd.Flags()
	p.StringVar(&f.group, "group", "", "the group to work in (required)")
	p.IntVar(&f.parallel, "parallel", 1, "how many commands to run at a time")
	p.DurationVar(&f.deadline, "deadline", wire.DefaultDeadline, "after which silence of this worker its jobs go to others")
	p.IntVar(&f.tries, "tries", wire.DefaultTries, "how often to try a job before it is a dead letter")
	p.StringVar(&f.answers, "answers", answersSuffix, "the room to send output to; one that begins with a dot is behind ROOM; empty = nowhere")
	return cmd
}

func (f *workFlags) check(cmd *cobra.Command, args []string) error {
	if err := roomArg(args[0]); err != nil {
		return err
	}
	if f.group == "" {
		return usagef("--group says which group to work in")
	}
	if _, err := parley.ParseRoom(f.group); err != nil {
		return usagef("--group: %q is no name", f.group)
	}
	if f.parallel < 1 || f.parallel > wire.MaxPrefetch {
		return usagef("--parallel is from 1 to %d", wire.MaxPrefetch)
	}
	if f.tries < 1 || f.tries > wire.MaxTries {
		return usagef("--tries is from 1 to %d", wire.MaxTries)
	}
	if f.deadline < wire.MinDeadline || f.deadline > wire.MaxDeadline {
		return usagef("--deadline is from %v to %v", wire.MinDeadline, wire.MaxDeadline)
	}
	if dash := cmd.ArgsLenAtDash(); dash != 1 {
		return usagef("the command stands behind the room and two dashes: parley work ROOM --group G -- CMD")
	}
	f.answers = roomBehind(args[0], f.answers)
	if f.answers != "" {
		return roomArg(f.answers)
	}
	return nil
}

// roomBehind gives a room that is named by itself, or by what is behind another's name.
func roomBehind(room, name string) string {
	if name != "" && name[0] == '.' {
		return room + name
	}
	return name
}

func (f *workFlags) work(ctx context.Context, c *client.Client, cmd *cobra.Command, args []string) error {
	p := &program{args: args[1:], stderr: cmd.ErrOrStderr()}
	tell(cmd.ErrOrStderr(), "parley: working in %s of %s\n", f.group, args[0])
	return c.Work(ctx, args[0], f.group, func(ctx context.Context, j *parley.Job) error {
		return f.do(ctx, c, p, j)
	}, client.Parallel(f.parallel), client.Deadline(f.deadline), client.Tries(f.tries),
		client.OnLost(func(j *parley.Job, err error) {
			tell(cmd.ErrOrStderr(), "parley: job %d of %s: %s\n", j.Seq, j.Room, oneLine(sentence(err)))
		}))
}

// maxOutput bounds what a program may print: an answer is a message.
const maxOutput = 64 << 10

// do runs the program for a job, and sends what it prints before the job counts as done.
func (f *workFlags) do(ctx context.Context, c *client.Client, p *program, j *parley.Job) error {
	output, err := p.run(ctx, j.Body, maxOutput,
		"PARLEY_ROOM="+j.Room, "PARLEY_SEQ="+strconv.FormatUint(j.Seq, 10), "PARLEY_ID="+j.ID,
		"PARLEY_FROM="+j.From, "PARLEY_TRIES="+strconv.Itoa(j.Tries))
	var failed programError
	switch {
	case ctx.Err() != nil: // this worker ends: another may begin at once
		return client.RetryAfter(0, errInterrupted)
	case errors.As(err, &failed) && failed.code == exitFailed:
		return client.Fail(err)
	case err != nil:
		return err
	case f.answers == "":
		return nil
	}
	body, typ := shown(output)
	if _, err := c.Room(f.answers).Publish(ctx, body, client.WithType(typ), client.WithID(j.ID)); err != nil {
		return fmt.Errorf("send the answer: %w", err)
	}
	return nil
}
