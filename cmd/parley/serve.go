package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"parley/server"
)

// newServeCommand makes parley serve, which is what parley does when it is told nothing.
func newServeCommand() *cobra.Command {
	config, file := server.Default(), ""
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: `Run a server. It keeps its messages in a data directory and can be stopped at any moment:
whatever it has acknowledged is on disk.

Each setting can be given as a flag, in the environment (PARLEY_TCP for --tcp) or in a file
(--config), in this order of precedence. TERM or Ctrl-C stops it gently, a second one at once.`,
		Example: `  parley serve
  parley serve --data /var/lib/parley --tcp 127.0.0.1:8000
  parley serve --open --http :8080 --hostname chat.example.org
  parley serve --retain-messages 1000 --retain-age 24h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settle(cmd.Flags(), &config, file); err != nil {
				return err
			}
			return serve(cmd.Context(), config, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.Data, "data", config.Data, "directory that holds the messages")
	f.StringVar(&config.TCP, "tcp", config.TCP, "address for plain lines and JSON lines; port 0 takes a free one")
	f.StringVar(&config.HTTP, "http", config.HTTP, "address for HTTP; port 0 takes a free one, empty is off")
	f.StringSliceVar(&config.Hostnames, "hostname", config.Hostnames, "name that HTTP answers to, beside its address (repeatable)")
	f.StringSliceVar(&config.Origins, "origin", config.Origins, "origin of other sites' pages that may use HTTP, as https://chat.example (repeatable)")
	f.BoolVar(&config.Open, "open", config.Open, "listen on an address others can reach, with no authentication")
	f.IntVar(&config.Retain.Messages, "retain-messages", config.Retain.Messages, "messages kept of each room")
	f.DurationVar(&config.Retain.Age, "retain-age", config.Retain.Age, "age up to which messages are kept")
	f.DurationVar(&config.Dedupe, "dedupe", config.Dedupe, "how long a repeated id is recognised")
	f.IntVar(&config.Partitions, "partitions", config.Partitions, "streams of the log, fixed when the data directory is made")
	f.Int64Var(&config.MinFree, "min-free", config.MinFree, "bytes of free disk below which nothing is stored")
	f.DurationVar(&config.Pause, "pause", config.Pause, "silence that ends a plain line without newline; 0 = never")
	f.DurationVar(&config.Drain, "drain", config.Drain, "how long stopping may take")
	f.StringVar(&config.Log, "log", config.Log, "form of the log on stderr: text or json")
	f.StringVar(&file, "config", "", "configuration file (default parley.yml, if there is one)")
	return cmd
}

// defaultConfig is read when no other file is named, if it is there.
const defaultConfig = "parley.yml"

// settle works out the configuration: defaults, then the file, then the environment, then flags.
func settle(flags *pflag.FlagSet, config *server.Config, file string) error {
	given := map[string]string{}
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = valueOf(f) })
	if file == "" {
		file = os.Getenv("PARLEY_CONFIG")
	}
	if _, err := os.Stat(defaultConfig); file == "" && err == nil {
		file = defaultConfig
	}
	*config = server.Default()
	if file != "" {
		if err := config.Load(file); err != nil {
			return err
		}
	}
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "PARLEY_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := given[f.Name]
		from := "--" + f.Name
		if !ok {
			value, ok = os.LookupEnv(name)
			from = name
		}
		if !ok || f.Name == "config" || f.Name == "help" {
			return
		}
		if err := setFlag(f, value); err != nil && failed == nil {
			failed = &server.ConfigError{Err: fmt.Errorf("%s: %w", from, err)}
		}
	})
	return failed
}

// valueOf is a flag's value as setFlag takes it: a list has commas between its parts.
func valueOf(f *pflag.Flag) string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return strings.Join(list.GetSlice(), ",")
	}
	return f.Value.String()
}

// setFlag puts a value in the place of what was there, be it a list.
func setFlag(f *pflag.Flag, value string) error {
	list, ok := f.Value.(pflag.SliceValue)
	if !ok {
		return f.Value.Set(value)
	}
	return list.Replace(strings.FieldsFunc(value, func(r rune) bool { return r == ',' }))
}

// serve runs the server until a signal comes.
func serve(ctx context.Context, config server.Config, stderr io.Writer) error {
	began := time.Now()
	ctx, stop := untilSignal(ctx)
	defer stop()
	logger := newLogger(stderr, config.Log)
	return server.Run(ctx, config, logger, func(a server.Addresses) {
		if config.Log == "json" {
			logger.Info("ready", "tcp", a.TCP, "http", a.HTTP, "data", config.Data, "version", version(), "took", time.Since(began).String())
			return
		}
		_, _ = io.WriteString(stderr, welcome(&config, a, time.Since(began))) // whoever closed stderr does not want it
	})
}

// welcome says where the server is, and how to reach it from a browser, a terminal and curl.
func welcome(config *server.Config, a server.Addresses, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "parley %s is ready (%d ms), messages in %s\n\n", version(), took.Milliseconds(), config.Data)
	fmt.Fprintf(&b, "tcp  %s\n", a.TCP)
	if a.HTTP != "" {
		fmt.Fprintf(&b, "http %s\n", a.HTTP)
	}
	host, port, _ := net.SplitHostPort(near(a.TCP))
	fmt.Fprintf(&b, "\n     nc %s %s\n     parley chat%s\n", host, port, serverFlag(near(a.TCP)))
	if a.HTTP != "" {
		web := near(a.HTTP)
		fmt.Fprintf(&b, "     http://%s/\n     curl -d hi http://%s/rooms/lobby\n     curl -N http://%s/rooms/lobby/events\n", web, web, web)
	}
	if !config.Open {
		b.WriteString("\nOnly this machine can reach it, and whoever can may read and write every room.\n")
	}
	return b.String()
}

// near is an address as this machine reaches it: one that stands for all is none to connect to.
func near(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || !ip.IsUnspecified() {
		return addr
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// serverFlag is what a client command must be told to reach addr.
func serverFlag(addr string) string {
	if addr == server.Default().TCP {
		return ""
	}
	return " --server " + addr
}

// untilSignal ends the context at the first TERM or INT; a second one ends the process.
func untilSignal(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
			return
		}
		<-signals
		os.Exit(exitInterrupted)
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}

// newLogger writes the server's log: text for people, with colours on a terminal, or JSON.
func newLogger(w io.Writer, form string) *slog.Logger {
	if form == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	f, ok := w.(*os.File)
	colours := ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	return slog.New(tint.NewTextHandler(w, &tint.Options{TimeFormat: time.DateTime, NoColor: !colours}))
}
