package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"parley/client"
)

// mapFlags say what becomes of lines.
type mapFlags struct {
	client  clientFlags
	group   string
	answers string
	window  int
	onError string
	resume  string
	quiet   bool
}

// What --on-error takes.
const (
	onErrorStop  = "stop"
	onErrorSkip  = "skip"
	onErrorPrint = "print"
)

// Bounds of --window. The lines in hand, and their answers, are in memory.
const (
	defaultWindow = 1000
	maxWindow     = 100_000
)

func newMapCommand() *cobra.Command {
	var f mapFlags
	cmd := &cobra.Command{
		Use:   "map ROOM",
		Short: "Have workers do each line of stdin, and print their answers in order",
		Long: `Send each line of stdin to a room as a job, and print the answers in the order of the lines. The jobs
are done by those who work in the room, on as many machines as there are:

  parley work ROOM --group map --parallel 4 -- CMD

They may come, go and die meanwhile. An empty line is no job; its answer is empty. A job that failed
for good (its dead letter is in ROOM.dead) ends the run, or with --on-error skip has no line in the
output, or with --on-error print the line "error: " and the reason. Any that failed make the exit code 1.

With --resume FILE the run can go on after it was interrupted, killed or ended by an error: the file
keeps how far it is. Start it again with the same inputs. Where the output is a file, >> continues it
and > writes it anew from the answers that the server has; each answer is there once. Into a pipe, those
of the last moment before a kill come twice. Lines that failed, and ended the run, are tried again.`,
		Example: `  seq 10000 | parley map squares
  parley map squares --resume squares.run < inputs > outputs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(args[0]); err != nil {
				return err
			}
			out, _ := cmd.OutOrStdout().(*os.File)
			run, err := openRun(f.resume, args[0], &f, out)
			if err != nil {
				return err
			}
			f.client.name = run.Name // unless the user has chosen one
			return f.client.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
				return newMapping(c, &f, run, cmd, out).run(ctx)
			})(cmd, args)
		},
	}
	f.client.register(cmd)
	p := cmd.Flags()
	p.StringVar(&f.group, "group", "map", "the group whose workers do the jobs")
	p.StringVar(&f.answers, "answers", answersSuffix, "the room that answers come to; one that begins with a dot is behind ROOM")
	p.IntVar(&f.window, "window", defaultWindow, "how many lines may be on their way, from the first without an answer on")
	p.StringVar(&f.onError, "on-error", onErrorStop, "what to do when a job has failed: stop, skip or print")
	p.StringVar(&f.resume, "resume", "", "`FILE` that keeps how far the run is, to go on from there")
	p.BoolVar(&f.quiet, "quiet", false, "do not tell how far it is")
	return cmd
}

func (f *mapFlags) check(room string) error {
	for _, name := range []string{room, roomBehind(room, f.answers), room + deadSuffix} {
		if err := roomArg(name); err != nil {
			return err
		}
	}
	f.answers = roomBehind(room, f.answers)
	if err := roomArg(f.group); err != nil {
		return usagef("--group: %w", err)
	}
	if f.window < 1 || f.window > maxWindow {
		return usagef("--window is from 1 to %d", maxWindow)
	}
	switch f.onError {
	case onErrorStop, onErrorSkip, onErrorPrint:
		return nil
	}
	return usagef("--on-error is stop, skip or print")
}
