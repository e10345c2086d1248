package main

import (
	"context"
	"errors"
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
	"golang.org/x/term"

	"parley/audit"
	"parley/server"
)

// newServeCommand makes parley serve, which is what parley does when it is told nothing.
func newServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: `Run a server. It keeps its messages in a data directory and can be stopped at any moment:
whatever it has acknowledged is on disk.

Each setting can be given as a flag, in the environment (PARLEY_TCP for --tcp, PARLEY_TCP_FILE for a
file that holds it) or in a file (--config), in this order of precedence; parley config init writes
a file with all of them. TERM or Ctrl-C stops it gently, a second one at once; HUP reads the file
again: keys, grants, limits, certificates and names change without a session lost.`,
		Example: `  parley serve
  parley serve --data /var/lib/parley --tcp 127.0.0.1:8000
  parley serve --open --http :8080 --hostname chat.example.org
  parley serve --retain-messages 1000 --retain-age 30d`,
		Args: cobra.NoArgs,
	}
	given := addSettings(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return serve(cmd.Context(), given.sources(), cmd.ErrOrStderr())
	}
	return cmd
}

// serve runs the server until a signal comes.
func serve(ctx context.Context, sources server.Sources, stderr io.Writer) (err error) {
	began := time.Now()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // before all else: it must not end a server that starts
	defer signal.Stop(hangups)
	config, err := sources.Read()
	if err != nil {
		return err
	}
	logger := newLogger(stderr, config.Log)
	for _, w := range config.Warnings() {
		logger.Warn("the configuration is most likely not what is meant", "warning", w)
	}
	log, err := audit.Open(config.AuditTo(), config.Log, stderr, logger)
	if err != nil {
		return &server.ConfigError{Err: fmt.Errorf("audit: %w", err)}
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	ctx, stop := untilSignal(ctx)
	defer stop()
	reload, stopReloading := reloads(ctx, hangups, sources, logger)
	defer stopReloading()
	return server.Run(ctx, config.Config, server.Options{
		Logger: logger, Audit: log, Reload: reload,
		Ready: func(a server.Addresses) {
			if config.Log == "json" {
				logger.Info("ready", "tcp", a.TCP, "http", a.HTTP, "data", config.Data, "access", config.Access(), "version", version(), "took", time.Since(began).String())
				return
			}
			_, _ = io.WriteString(stderr, welcome(&config.Config, a, time.Since(began))) // whoever closed stderr does not want it
		},
	})
}

// reloads gives the configuration as it is at each hangup, if it is good, until stop.
func reloads(ctx context.Context, hangups <-chan os.Signal, sources server.Sources, logger *slog.Logger) (_ <-chan server.Config, stop func()) {
	configs := make(chan server.Config)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hangups:
			case <-ctx.Done():
				return
			}
			config, err := sources.Read()
			if err != nil {
				for _, line := range linesOf(err) {
					logger.Error("the configuration is not reloaded; the old one stays", "err", line)
				}
				continue
			}
			for _, w := range config.Warnings() {
				logger.Warn("the configuration is most likely not what is meant", "warning", w)
			}
			select {
			case configs <- config.Config:
			case <-ctx.Done():
				return
			}
		}
	}()
	return configs, func() {
		cancel()
		<-done
	}
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
	if a.SecureTCP {
		fmt.Fprintf(&b, "\n     openssl s_client -quiet -connect %s:%s\n     parley chat --server tls://%s\n", host, port, near(a.TCP))
	} else {
		fmt.Fprintf(&b, "\n     nc %s %s\n     parley chat%s\n", host, port, serverFlag(near(a.TCP)))
	}
	if a.HTTP != "" {
		web := "http://" + near(a.HTTP)
		if a.SecureHTTP {
			web = "https://" + near(a.HTTP)
		}
		fmt.Fprintf(&b, "     %s/\n     curl -d hi %s/rooms/lobby\n     curl -N %s/rooms/lobby/events\n", web, web, web)
	}
	fmt.Fprintf(&b, "\n%s\n", config.Access())
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
