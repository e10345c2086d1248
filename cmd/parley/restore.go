package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"parley/engine"
	"parley/server"
)

// restoreFlags are what parley restore is told, beside where the log is to be.
type restoreFlags struct {
	check, replace, asJSON bool
}

// restoreSettings are the settings of a server that count for a restore.
var restoreSettings = []string{"config", "data", "partitions", "engine-url"}

func newRestoreCommand() *cobra.Command {
	var flags restoreFlags
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a log of a backup, every message at its seq",
		Long: `Make a log of a backup, every message at its seq, in the data directory of a server that does not run: --data or
the configuration, as parley serve has it, says which. Start the server afterwards. What is older than its
configuration keeps is removed then.

The whole file is read and checked before anything is changed: one that was damaged, be it in one byte, or cut
off is refused. A directory with messages is refused, too; --replace puts them aside, into replaced- and the time in
it, where they stay until you remove them. A restore that is broken off changes nothing, and can begin anew.

For a cluster, restore on one node's empty data directory, and start all its nodes with --adopt, the others with
empty ones. With --engine-url the log of an external NATS cluster is made, while no server uses it.`,
		Example: `  parley restore monday.tar --data /var/lib/parley
  parley restore monday.tar --check`,
		Args: cobra.ExactArgs(1),
	}
	given := addSettings(cmd.Flags())
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Hidden = !slices.Contains(restoreSettings, f.Name) })
	f := cmd.Flags()
	f.BoolVar(&flags.check, "check", false, "read and check the file, and change nothing")
	f.BoolVar(&flags.replace, "replace", false, "put messages that are there already aside")
	f.BoolVar(&flags.asJSON, "json", false, "tell progress on stderr, and the end on stdout, as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		return because(ctx, flags.run(ctx, cmd, given.sources(), args[0]))
	}
	return cmd
}

func (r *restoreFlags) run(ctx context.Context, cmd *cobra.Command, sources server.Sources, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return usagef("%w", err)
	}
	defer func() { _ = file.Close() }()
	size, err := file.Stat()
	if err != nil {
		return err
	}
	if !size.Mode().IsRegular() {
		return usagef("%s is no file: a backup is read twice", name)
	}
	progress := newTransfer(cmd.ErrOrStderr(), r.asJSON, size.Size())
	defer progress.clear()
	var info engine.BackupInfo
	then := "is whole"
	if r.check {
		info, err = engine.ReadBackup(file, progress.tell)
	} else {
		info, then, err = r.restore(ctx, sources, file, progress)
	}
	if err != nil {
		return restoreError(name, err)
	}
	return progress.done(cmd.OutOrStdout(), name, size.Size(), info, then)
}

func (r *restoreFlags) restore(ctx context.Context, sources server.Sources, file *os.File, progress *transfer) (info engine.BackupInfo, then string, err error) {
	settled, err := sources.Read()
	if err != nil {
		return info, "", err
	}
	config, err := settled.Storage(slog.New(slog.DiscardHandler))
	if err != nil {
		return info, "", err
	}
	where := settled.Data
	then = "is restored in " + where
	switch {
	case config.URL != "":
		where = "the external cluster"
		then = "is restored in " + where
	case config.Cluster != nil:
		then += ", for the cluster to --adopt"
	}
	info, err = engine.Restore(ctx, config, file, engine.Restoring{Replace: r.replace, Progress: progress.tell})
	if errors.Is(err, engine.ErrInUse) {
		err = usagef("a server uses %s: stop it first", where)
	}
	return info, then, err
}

// restoreError says what is to be done about an error.
func restoreError(file string, err error) error {
	switch {
	case errors.Is(err, engine.ErrBackup):
		return fmt.Errorf("%s: %w", file, err)
	case errors.Is(err, engine.ErrNotEmpty):
		return fmt.Errorf("%w; --replace puts them aside", err)
	}
	return err
}
