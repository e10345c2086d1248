// Parley is a messaging server in one program, and its client on the command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"

	"parley"
	"parley/client"
	"parley/server"
)

// Exit codes.
const (
	exitFailure     = 1
	exitUsage       = 2 // or configuration
	exitConnect     = 3
	exitDenied      = 4 // or unauthorized
	exitInterrupted = 130
)

const rootHelp = `Parley is a messaging server: clients join rooms and talk there. A room is an ordered log that
is kept on disk, so whoever was away can read on where they were.

Without a command it runs a server (parley serve). The other commands are its client; they talk
to the server that --server or PARLEY_SERVER names. Data goes to stdout, everything else to stderr.

Exit codes: 0 done · 1 failed · 2 wrong usage or configuration · 3 no server can be reached ·
4 denied or unauthorized · 130 interrupted`

func main() {
	signal.Ignore(syscall.SIGPIPE) // a pipe whose reader has gone is an error of write, and a quiet end
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run carries out one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(withDefault(args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	failed := keepErrors(root)
	err := fang.Execute(ctx, root, fang.WithVersion(version()), fang.WithErrorHandler(func(io.Writer, fang.Styles, error) {}))
	if err != nil {
		err = usagef("%w; see parley --help", err)
	} else {
		err = *failed
	}
	code := exitCode(err)
	if code != 0 && !errors.Is(err, errInterrupted) {
		for _, line := range linesOf(err) {
			tell(stderr, "parley: %s\n", oneLine(line))
		}
	}
	return code
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "parley",
		Short: "A messaging server in one program, and its client",
		Long:  rootHelp,
		Example: `  parley
  parley chat
  parley send lobby "hello"
  parley tail lobby --last 20
  tail -f app.log | parley send logs -`,
	}
	root.AddCommand(
		newServeCommand(), newConfigCommand(), newTokenCommand(), newAPIKeyCommand(), newSendCommand(), newTailCommand(), newChatCommand(), newRoomsCommand(), newRevokeCommand(),
		newClusterCommand(), newDrainCommand(), newBackupCommand(), newRestoreCommand(),
		newWorkCommand(), newMapCommand(), newJobsCommand(), newGroupsCommand(), newReadersCommand(), newHooksCommand(), newAskCommand(), newAnswerCommand(),
		newBenchCommand(), newVersionCommand(),
	)
	return root
}

// withDefault adds the command that is meant when none is named.
func withDefault(args []string) []string {
	if len(args) == 0 {
		return []string{"serve"}
	}
	switch first := args[0]; {
	case first == "-h", first == "--help", first == "-v", first == "--version", !strings.HasPrefix(first, "-"):
		return args
	}
	return append([]string{"serve"}, args...)
}

// keepErrors has the commands of a tree keep their errors, so that what Execute itself returns is
// wrong usage, and nothing else: the two differ in exit code, and only that is printed by us.
func keepErrors(cmd *cobra.Command) (failed *error) {
	failed = new(error)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.HasParent() && cmd.HasSubCommands() && !cmd.Runnable() {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() } // or a wrong name is help, and success
		}
		if run := cmd.RunE; run != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				*failed = run(cmd, args)
				return nil
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(cmd)
	return failed
}

// usageError is the user's to mend.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errInterrupted is the cause of a context that a signal has ended.
var errInterrupted = errors.New("interrupted")

// exitCode maps an error; the first that fits counts.
func exitCode(err error) int {
	var usage usageError
	var config *server.ConfigError
	var refusal *parley.Error
	switch {
	case err == nil, isReaderGone(err):
		return 0
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &config), errors.Is(err, client.ErrAddress):
		return exitUsage
	case errors.As(err, &refusal) && (refusal.Code == parley.Denied || refusal.Code == parley.Unauthorized):
		return exitDenied
	case errors.Is(err, client.ErrConnect):
		return exitConnect
	}
	return exitFailure
}

// isReaderGone says whether err is that of writing to a pipe of ours, and not to a connection.
func isReaderGone(err error) bool {
	var file *fs.PathError
	return errors.As(err, &file) && errors.Is(file.Err, syscall.EPIPE)
}

// interruptible ends ctx, with errInterrupted as its cause, at the first INT or TERM. The second
// ends the process at once, as it would have without us.
func interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
		signal.Stop(signals)
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// tell writes what a person should know, to stderr mostly: where that fails there is nobody to tell.
func tell(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// linesOf is what an error says: a line, or one for each mistake in a configuration.
func linesOf(err error) []string {
	var config *server.ConfigError
	if errors.As(err, &config) {
		return config.Lines()
	}
	return []string{err.Error()}
}

// oneLine makes a text fit for one line of a terminal, whoever wrote it.
func oneLine(s string) string {
	s = strings.ReplaceAll(s, "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
