package main

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"parley/server"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"parley": main})
}

// The scripts of testdata/script show the client's commands as a user types them. Each has a
// server of its own, at PARLEY_SERVER.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			addr, stop, err := startServer(filepath.Join(env.WorkDir, "data"))
			if err != nil {
				return err
			}
			env.Defer(stop)
			env.Setenv("PARLEY_SERVER", addr)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // or each process lingers for a second
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      exits,
			"interrupts": interrupts,
		},
	})
}

// startServer starts a server in this process.
func startServer(data string, change ...func(*server.Config)) (addr string, stop func(), err error) {
	config := server.Default()
	config.Data, config.TCP, config.HTTP = data, "127.0.0.1:0", ""
	for _, f := range change {
		f(&config)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- server.Run(ctx, config, server.Options{
			Logger: slog.New(slog.DiscardHandler), Ready: func(a server.Addresses) { ready <- a.TCP },
		})
	}()
	select {
	case addr := <-ready:
		return addr, func() {
			cancel()
			if err := <-ended; err != nil {
				panic(err) // a server that cannot stop: a bug, whatever the test is about
			}
		}, nil
	case err := <-ended:
		cancel()
		return "", nil, err
	}
}

// exits CODE COMMAND... runs a command that has to end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	checkCode(ts, ts.Exec(args[1], args[2:]...), want)
}

func checkCode(ts *testscript.TestScript, err error, want int) {
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit code %d; want %d", code, want)
	}
}

// interrupts COMMAND... runs a command, interrupts it when it has printed a line, and has it end
// with 130.
func interrupts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: interrupts COMMAND...")
	}
	program, err := exec.LookPath(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], args[0]))
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args[1:]...)
	cmd.Env = append(os.Environ(), "PARLEY_SERVER="+ts.Getenv("PARLEY_SERVER"))
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	ts.Check(cmd.Process.Signal(syscall.SIGINT))
	checkCode(ts, cmd.Wait(), exitInterrupted)
}
