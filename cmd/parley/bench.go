package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"parley/bench"
)

// benchFlags are the flags that all loads share.
type benchFlags struct {
	addr    string
	pid     int
	dir     string
	against []string
	json    bool
	quiet   bool
}

// command makes the command of one load.
func (f *benchFlags) command(use, short string, run func(context.Context, *bench.Setup) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.setup(cmd)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run(ctx, s)
		},
	}
}

// setup makes of the flags what a load needs.
func (f *benchFlags) setup(cmd *cobra.Command) (*bench.Setup, error) {
	if f.addr == "" && f.pid != 0 {
		return nil, errors.New("--pid goes with --addr")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	s := &bench.Setup{
		Executable: self, Addr: f.addr, PID: f.pid, Dir: f.dir, Against: f.against,
		Out: cmd.OutOrStdout(), JSON: f.json,
	}
	if !f.quiet {
		s.Progress = cmd.ErrOrStderr()
	}
	return s, nil
}

func newBenchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a server: what it delivers, and what that costs",
		Long: `Measure a server: what it delivers, and what that costs.

Each load starts a server of its own with an empty data directory, or drives one that runs already
(--addr; its CPU time and memory need --pid). --against runs the same load against a peer in the
same run, and prints the ratios. The load runs on the machine it measures, so compare ratios and
CPU time rather than rates.`,
		Args: cobra.NoArgs,
	}
	p := cmd.PersistentFlags()
	p.StringVar(&f.addr, "addr", "", "TCP address of a server that runs already, `HOST:PORT`")
	p.IntVar(&f.pid, "pid", 0, "process id of the server at --addr, for CPU time and memory")
	p.StringVar(&f.dir, "dir", "", "where data directories are made (default: the system's temporary directory)")
	p.StringSliceVar(&f.against, "against", nil, "run the same load against `PEER`s too: nats, write")
	p.BoolVar(&f.json, "json", false, "print one JSON object for each row")
	p.BoolVar(&f.quiet, "quiet", false, "print no progress")
	cmd.AddCommand(
		newBenchFanoutCommand(&f), newBenchPublishCommand(&f), newBenchResumeCommand(&f),
		newBenchIdleCommand(&f), newBenchStartCommand(&f), newBenchJoinCommand(&f),
		newBenchStormCommand(&f), newBenchClusterCommand(&f), newBenchAttackCommand(&f), newBenchWorkCommand(&f), newBenchAskCommand(&f),
		newBenchAllCommand(&f), newAttackerCommand(), newNATSServerCommand(), newWriteServerCommand(),
	)
	return cmd
}

func newBenchFanoutCommand(f *benchFlags) *cobra.Command {
	var l bench.Fanout
	cmd := f.command("fanout", "Many receivers in one room, and a few senders", func(ctx context.Context, s *bench.Setup) error {
		if l.Rooms > 0 {
			return s.Pattern(ctx, l)
		}
		return s.Run(ctx, l)
	})
	p := cmd.Flags()
	p.IntVar(&l.Receivers, "receivers", 1000, "connections that receive")
	p.IntVar(&l.Rooms, "rooms", 0, "send to so many rooms, to receivers in a pattern of them, and then to as many receivers in one room")
	p.IntVar(&l.Senders, "senders", 10, "connections that send")
	p.IntVar(&l.Inflight, "inflight", 256, "messages in flight over all senders: sent, and not yet seen by an observer")
	p.IntVar(&l.Rate, "rate", 0, "send so many messages a second on a schedule (0: as many as --inflight lets through)")
	p.StringVar(&l.Encoding, "encoding", "text", "of the receivers: text or json")
	p.IntVar(&l.Samples, "samples", bench.DefaultSamples, "receivers whose messages' latencies are taken")
	p.StringVar(&l.Transport, "transport", bench.TCP, "of the receivers: tcp, ws or sse; the last two have JSON, and no peers")
	p.BoolVar(&l.Compress, "compress", false, "with ws: compress messages, whose bodies are records in JSON")
	sizeFlag(cmd, &l.Size)
	windowFlags(cmd, &l.WarmUp, &l.For)
	return cmd
}

func newBenchPublishCommand(f *benchFlags) *cobra.Command {
	var l bench.Publish
	cmd := f.command("publish", "Sessions that send and wait until it is on disk", func(ctx context.Context, s *bench.Setup) error {
		return s.Run(ctx, l)
	})
	p := cmd.Flags()
	p.IntVar(&l.Sessions, "sessions", 100, "sessions, each on a connection of its own")
	p.IntVar(&l.Inflight, "inflight", 1, "sends a session keeps unanswered")
	p.IntVar(&l.Rooms, "rooms", 1, "rooms the sends go round")
	p.BoolVar(&l.IDs, "ids", false, "the sender chooses ids, and the server looks for duplicates")
	sizeFlag(cmd, &l.Size)
	windowFlags(cmd, &l.WarmUp, &l.For)
	return cmd
}

func newBenchWorkCommand(f *benchFlags) *cobra.Command {
	var l bench.Work
	cmd := f.command("work", "Workers that take jobs and finish them, each on disk", func(ctx context.Context, s *bench.Setup) error {
		return s.Work(ctx, l)
	})
	p := cmd.Flags()
	p.Int64Var(&l.Jobs, "jobs", 100_000, "jobs in all")
	p.IntVar(&l.Workers, "workers", 16, "workers, each on a connection of its own")
	p.IntVar(&l.Prefetch, "prefetch", 64, "jobs each holds at once")
	p.IntVar(&l.Rate, "rate", 0, "send so many jobs a second meanwhile, for how soon each begins (0: all are there before, and then again at half of the rate reached)")
	sizeFlag(cmd, &l.Size)
	return cmd
}

func newBenchAskCommand(f *benchFlags) *cobra.Command {
	var l bench.Ask
	cmd := f.command("ask", "Sessions that ask and sessions that answer", func(ctx context.Context, s *bench.Setup) error {
		return s.Run(ctx, l)
	})
	p := cmd.Flags()
	p.IntVar(&l.Askers, "askers", 10, "sessions that ask, one question at a time")
	p.IntVar(&l.Servers, "servers", 1, "sessions that answer")
	p.DurationVar(&l.For, "for", 5*time.Second, "how long")
	return cmd
}

func newBenchResumeCommand(f *benchFlags) *cobra.Command {
	var l bench.Resume
	cmd := f.command("resume", "Sessions that join a room with its newest messages", func(ctx context.Context, s *bench.Setup) error {
		if l.Messages == 0 {
			if l.Messages = 1000; l.Cold {
				l.Messages = l.Last + 10
			}
		}
		return s.Run(ctx, l)
	})
	p := cmd.Flags()
	p.IntVar(&l.Joins, "joins", 2000, "joins in all")
	p.IntVar(&l.Last, "last", 50, "messages each join asks for")
	p.IntVar(&l.Connections, "connections", 50, "connections that join and leave, one join under way on each")
	p.IntVar(&l.Messages, "messages", 0, "messages a room holds (default 1000; with --cold 10 more than --last)")
	p.BoolVar(&l.Cold, "cold", false, "each join is the first of its room since the server started")
	sizeFlag(cmd, &l.Size)
	return cmd
}

func newBenchIdleCommand(f *benchFlags) *cobra.Command {
	var l bench.Idle
	var secure bool
	cmd := f.command("idle", "Connections that say nothing: the memory each costs", func(ctx context.Context, s *bench.Setup) error {
		if secure {
			return s.Run(ctx, bench.IdleTLS{Idle: l})
		}
		return s.Run(ctx, l)
	})
	p := cmd.Flags()
	p.IntVar(&l.Connections, "connections", 10_000, "connections")
	p.StringVar(&l.Encoding, "encoding", "text", "text or json")
	p.StringVar(&l.Transport, "transport", bench.TCP, "tcp, ws or sse; the last two have JSON, and no peers")
	p.BoolVar(&secure, "tls", false, "over TLS, which has no peers")
	p.DurationVar(&l.Settle, "settle", 30*time.Second, "wait at most so long for the memory to come to rest")
	return cmd
}

func newBenchStartCommand(f *benchFlags) *cobra.Command {
	var l bench.Start
	cmd := f.command("start", "A server that starts: from exec until it is ready", func(ctx context.Context, s *bench.Setup) error {
		return s.Run(ctx, l)
	})
	p := cmd.Flags()
	p.Int64Var(&l.Messages, "messages", 0, "messages in its data directory, stored before through the protocol")
	p.IntVar(&l.Rooms, "rooms", 100, "rooms they are in")
	p.IntVar(&l.Times, "times", 5, "starts; the median counts")
	sizeFlag(cmd, &l.Size)
	return cmd
}

func newBenchJoinCommand(f *benchFlags) *cobra.Command {
	var l bench.Join
	cmd := f.command("join", "Clients that connect, join, leave and close", func(ctx context.Context, s *bench.Setup) error {
		return s.Run(ctx, l)
	})
	p := cmd.Flags()
	p.IntVar(&l.Joins, "joins", 20_000, "joins in all")
	p.IntVar(&l.Clients, "clients", 50, "clients at once")
	p.StringVar(&l.Transport, "transport", bench.TCP, "tcp or ws")
	return cmd
}

func newBenchStormCommand(f *benchFlags) *cobra.Command {
	var l bench.Storm
	cmd := f.command("storm", "Clients that are cut off and all come back at once", func(ctx context.Context, s *bench.Setup) error {
		return s.Run(ctx, l)
	})
	p := cmd.Flags()
	p.IntVar(&l.Clients, "clients", 5000, "clients")
	p.IntVar(&l.Missed, "missed", 100, "messages that are sent while they are away")
	p.StringVar(&l.Transport, "transport", bench.TCP, "tcp or ws")
	sizeFlag(cmd, &l.Size)
	return cmd
}

func newBenchAttackCommand(f *benchFlags) *cobra.Command {
	var a bench.Attack
	cmd := f.command("attack", "Two honest users while a hostile client does what it can", func(ctx context.Context, s *bench.Setup) error {
		return s.Attack(ctx, a)
	})
	p := cmd.Flags()
	p.StringSliceVar(&a.Kinds, "kind", nil, "attacks to run (default all): "+strings.Join(bench.AttackKinds(), ", "))
	p.IntVar(&a.Rate, "rate", 50, "messages a second of the honest users")
	p.DurationVar(&a.For, "for", 10*time.Second, "the measured window, once in peace and once under attack")
	p.DurationVar(&a.Settle, "settle", 3*time.Second, "time before each window")
	sizeFlag(cmd, &a.Size)
	return cmd
}

func newBenchClusterCommand(f *benchFlags) *cobra.Command {
	var c bench.Cluster
	cmd := f.command("cluster", "Three nodes: acks, deliveries across nodes, fan-out, leaders that die", func(ctx context.Context, s *bench.Setup) error {
		return s.Cluster(ctx, c)
	})
	p := cmd.Flags()
	p.IntVar(&c.Sessions, "sessions", 100, "sessions that publish, spread over the nodes, one send in flight each")
	p.IntVar(&c.Receivers, "receivers", 1000, "members of the fan-out, at a node that does not lead")
	p.IntVar(&c.Kills, "kills", 10, "leaders to kill")
	sizeFlag(cmd, &c.Size)
	windowFlags(cmd, &c.WarmUp, &c.For)
	return cmd
}

func newBenchAllCommand(f *benchFlags) *cobra.Command {
	var length time.Duration
	cmd := f.command("all", "The table of figures Parley is held against", func(ctx context.Context, s *bench.Setup) error {
		return s.All(ctx, length)
	})
	cmd.Flags().DurationVar(&length, "for", bench.DefaultFor, "the measured window of each load that has one")
	return cmd
}

func sizeFlag(cmd *cobra.Command, size *int) {
	cmd.Flags().IntVar(size, "size", bench.DefaultSize, "bytes of a message's body")
}

func windowFlags(cmd *cobra.Command, warmUp, length *time.Duration) {
	cmd.Flags().DurationVar(warmUp, "warm-up", bench.DefaultWarmUp, "time before the measured window")
	cmd.Flags().DurationVar(length, "for", bench.DefaultFor, "the measured window")
}

// peerCommand makes the command that runs a peer's server, until it is told to stop.
func peerCommand(use, short string, serve func(context.Context, io.Writer) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return serve(ctx, cmd.ErrOrStderr())
		},
	}
}

func newAttackerCommand() *cobra.Command {
	a := new(bench.Attacker)
	cmd := peerCommand("attacker", "Be a hostile client of a server that bench attack has started", a.Serve)
	f := cmd.Flags()
	f.StringVar(&a.Kind, "kind", "", "what it does")
	f.StringVar(&a.TCP, "tcp", "", "the server's address for lines, `HOST:PORT`")
	f.StringVar(&a.HTTP, "http", "", "its address for HTTP, `HOST:PORT`")
	f.StringVar(&a.Room, "room", "", "where the honest users are")
	return cmd
}

func newNATSServerCommand() *cobra.Command {
	n := new(bench.NATSServer)
	cmd := peerCommand("nats-server", "Run a plain nats-server, a peer of the loads", n.Serve)
	cmd.Flags().IntVar(&n.Port, "port", 0, "port on loopback (0: any free one)")
	cmd.Flags().StringVar(&n.Dir, "jetstream", "", "`DIR`ectory of a stream that syncs each message")
	return cmd
}

func newWriteServerCommand() *cobra.Command {
	w := new(bench.WriteServer)
	cmd := peerCommand("write-server", "Run a bare loop of writes, the floor under a fan-out", w.Serve)
	cmd.Flags().IntVar(&w.Port, "port", 0, "port on loopback (0: any free one)")
	cmd.Flags().IntVar(&w.Chunk, "chunk", 0, "bytes of one write")
	return cmd
}
