package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"parley/engine"
)

// backupFlags are what parley backup is told.
type backupFlags struct {
	web    webFlags
	data   string
	force  bool
	asJSON bool
}

func newBackupCommand() *cobra.Command {
	var flags backupFlags
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write all messages into a file, while the server goes on",
		Long: `Write all messages into a file, with their seqs and all else the log holds, while the server, or the cluster that
it is a node of, goes on. Of a cluster any one node is asked. The file is a tar whose every byte is covered by a
digest; it gets its name once it is whole, checked and on disk. parley restore makes a log of it.

Keep it as safe as the messages themselves: everything that anybody has said is in it, and nothing is encrypted.
Configuration, keys and certificates are not in it.

Where nobody has to say who they are it takes being on the same machine. With --data, the log of a server that
does not run is read instead.`,
		Example: `  parley backup monday.tar
  parley backup monday.tar --http https://chat.example.org
  parley backup monday.tar --data /var/lib/parley`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return because(ctx, flags.run(ctx, cmd, args[0]))
		},
	}
	flags.web.register(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.data, "data", "", "the data directory of one node that does not run, in place of a server")
	f.BoolVar(&flags.force, "force", false, "write over a file that is there")
	f.BoolVar(&flags.asJSON, "json", false, "tell progress on stderr, and the end on stdout, as JSON")
	return cmd
}

func (b *backupFlags) run(ctx context.Context, cmd *cobra.Command, file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) && !b.force {
		return usagef("%s is there already; --force writes over it", file)
	}
	progress := newTransfer(cmd.ErrOrStderr(), b.asJSON, 0)
	defer progress.clear()
	fill := func(out *os.File) (engine.BackupInfo, error) { return b.fetch(ctx, cmd, out, progress) }
	if b.data != "" {
		fill = func(out *os.File) (engine.BackupInfo, error) { return backUpData(ctx, b.data, out, progress) }
	}
	info, size, err := writeBackup(file, fill)
	if err != nil {
		return err
	}
	return progress.done(cmd.OutOrStdout(), file, size, info, "is written")
}

// fetch has a server make the backup, and checks each byte that comes.
func (b *backupFlags) fetch(ctx context.Context, cmd *cobra.Command, out io.Writer, progress *transfer) (engine.BackupInfo, error) {
	resp, err := b.web.get(ctx, cmd, "backup")
	if err != nil {
		return engine.BackupInfo{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	info, err := engine.ReadBackup(io.TeeReader(resp.Body, out), progress.tell)
	var broken *net.OpError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &broken):
		err = fmt.Errorf("%s has broken off; its log may say why: %w", b.web.at, err)
	case errors.Is(err, engine.ErrBackup):
		err = fmt.Errorf("what %s sends is %w", b.web.at, err)
	}
	return info, err
}

// backUpData backs up what no server has open.
func backUpData(ctx context.Context, data string, out *os.File, progress *transfer) (info engine.BackupInfo, err error) {
	if err := engine.BackUp(ctx, engine.Config{Dir: data}, out, progress.tell); err != nil {
		if errors.Is(err, engine.ErrInUse) {
			err = usagef("a server uses %s: without --data it is asked itself", data)
		}
		return info, err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return info, err
	}
	return engine.ReadBackup(out, nil)
}

// writeBackup makes a file that has its name once it is whole and on disk; until then it is a file beside
// it, of the name with .part at its end.
func writeBackup(file string, fill func(*os.File) (engine.BackupInfo, error)) (info engine.BackupInfo, size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.part") // 0600
	if err != nil {
		return info, 0, err
	}
	info, err = fill(f)
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return info, 0, errors.Join(err, os.Remove(f.Name()))
	}
	return info, size, syncDir(filepath.Dir(file))
}

// syncDir has a new name in a directory stay.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
