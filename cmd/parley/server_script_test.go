package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"parley/internal/certtest"
)

// The scripts of testdata/script/server are stories of a server and its clients, each a process of
// its own. Beside exits they have these commands, each of which waits for what it brings about:
//
//	server start [FLAG...]    starts a server at PARLEY_SERVER, on the data of the one before; HTTP is an address to give it
//	server kill               ends it as a crash would
//	server stop               asks it to end, which it must do with exit code 0
//	server reload             has it read its configuration again
//	server says REGEXP        waits until its stderr matches
//	start NAME COMMAND...     runs a command with a name
//	dial NAME                 connects to the server as nc does, under a name
//	type NAME LINE            writes a line to its stdin
//	says NAME REGEXP          waits until what it has written matches; says NAME -stderr REGEXP
//	saidonce NAME REGEXP      what it has written until now matches exactly once
//	ends NAME [CODE]          closes its stdin and waits for it to end
//	certificate               writes cert.pem, key.pem and, with who vouches for them, ca.pem; anew each time
//	interrupt NAME [CODE]     interrupts it and waits for it to end, with 130 unless told otherwise
func TestServerScripts(t *testing.T) {
	authority := certtest.New(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script/server",
		Setup: func(env *testscript.Env) error {
			addr, err := freeAddress()
			if err != nil {
				return err
			}
			env.Setenv("PARLEY_SERVER", addr)
			web, err := freeAddress()
			if err != nil {
				return err
			}
			env.Setenv("HTTP", web)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // or each process lingers for a second
			s := &stage{actors: map[string]*actor{}}
			env.Values[stageKey{}] = s
			env.Defer(s.clear)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":       exits,
			"certificate": onStage(0, func(ts *testscript.TestScript, _ *stage, _ []string) { authority.Write(ts.MkAbs(".")) }),
			"server":      serverCommand,
			"start":       onStage(2, func(ts *testscript.TestScript, s *stage, args []string) { s.run(ts, args[0], args[1:]...) }),
			"dial":        onStage(1, dialServer),
			"type":        onStage(2, typeLine),
			"says":        onStage(2, says),
			"saidonce":    onStage(2, saidOnce),
			"ends":        onStage(1, ends),
			"interrupt":   onStage(1, interrupt),
		},
	})
}

// within is how long a script waits for anything.
const within = 30 * time.Second

// freeAddress finds an address at which a server can start more than once: its port is none of
// those that the system gives to outgoing connections.
func freeAddress() (string, error) {
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

type stageKey struct{}

// stage is what a script has running.
type stage struct{ actors map[string]*actor }

func (s *stage) clear() {
	for _, a := range s.actors {
		a.end()
	}
}

// actor is a process, or a connection, with what it has written so far.
type actor struct {
	cmd    *exec.Cmd // nil: a connection
	in     io.WriteCloser
	out    screen
	err    screen
	done   chan struct{} // closed when it has ended
	failed error         // how; read when done is closed
}

func (a *actor) end() {
	if a.cmd != nil {
		_ = a.cmd.Process.Kill()
	}
	_ = a.in.Close()
	<-a.done
}

// screen keeps what was written and tells of more.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
	return s.text.Write(p)
}

// look gives the text and a channel that is closed when there is more.
func (s *screen) look() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more == nil {
		s.more = make(chan struct{})
	}
	return s.text.String(), s.more
}

// wait waits until the text matches; an actor that ends meanwhile will write no more.
func (s *screen) wait(pattern string, ended <-chan struct{}) error {
	re, err := regexp.Compile("(?m)" + pattern)
	if err != nil {
		return err
	}
	late := time.After(within)
	for last := false; ; {
		text, more := s.look()
		if re.MatchString(text) {
			return nil
		}
		if last {
			return fmt.Errorf("it ended without %q:\n%s", pattern, text)
		}
		select {
		case <-more:
		case <-ended:
			last = true
		case <-late:
			return fmt.Errorf("no %q within %v:\n%s", pattern, within, text)
		}
	}
}

// onStage makes a command of a script of f, which needs at least so many arguments.
func onStage(least int, f func(*testscript.TestScript, *stage, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < least {
			ts.Fatalf("see TestServerScripts for what this command needs")
		}
		f(ts, ts.Value(stageKey{}).(*stage), args)
	}
}

func (s *stage) actor(ts *testscript.TestScript, name string) *actor {
	a := s.actors[name]
	if a == nil {
		ts.Fatalf("nobody is called %s", name)
	}
	return a
}

// run starts a process in the script's directory, with the script's environment.
func (s *stage) run(ts *testscript.TestScript, name string, command ...string) *actor {
	program, err := exec.LookPath(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], command[0]))
	if err != nil { // not one of ours: a shell
		program, err = exec.LookPath(command[0])
	}
	ts.Check(err)
	a := &actor{cmd: exec.Command(program, command[1:]...), done: make(chan struct{})}
	a.cmd.Dir = ts.MkAbs(".")
	for _, key := range []string{"PATH", "HOME", "TMPDIR", "PARLEY_SERVER", "PARLEY_TOKEN_FILE", "NO_COLOR", "TZ", "GORACE"} {
		a.cmd.Env = append(a.cmd.Env, key+"="+ts.Getenv(key))
	}
	a.cmd.Stdout, a.cmd.Stderr = &a.out, &a.err
	a.in, err = a.cmd.StdinPipe()
	ts.Check(err)
	ts.Check(a.cmd.Start())
	go func() {
		defer close(a.done)
		a.failed = a.cmd.Wait()
	}()
	if old := s.actors[name]; old != nil {
		old.end()
	}
	s.actors[name] = a
	return a
}

// exit waits for an actor to end with an exit code.
func (a *actor) exit(ts *testscript.TestScript, code int) {
	select {
	case <-a.done:
	case <-time.After(within):
		ts.Fatalf("it has not ended within %v", within)
	}
	text, _ := a.err.look()
	ts.Logf("[stderr]\n%s", text)
	checkCode(ts, a.failed, code)
}

func serverCommand(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(stageKey{}).(*stage)
	if neg || len(args) == 0 {
		ts.Fatalf("see TestServerScripts for what this command needs")
	}
	switch args[0] {
	case "start":
		flags := append([]string{"parley", "serve", "--data", "data", "--tcp", ts.Getenv("PARLEY_SERVER")}, args[1:]...)
		a := s.run(ts, "server", flags...)
		ts.Check(a.err.wait(`^tcp  `+regexp.QuoteMeta(ts.Getenv("PARLEY_SERVER"))+`$|"tcp":"`, a.done))
	case "kill":
		s.actor(ts, "server").end()
	case "stop":
		a := s.actor(ts, "server")
		ts.Check(a.cmd.Process.Signal(syscall.SIGTERM))
		a.exit(ts, 0)
	case "reload":
		ts.Check(s.actor(ts, "server").cmd.Process.Signal(syscall.SIGHUP))
	case "says":
		a := s.actor(ts, "server")
		ts.Check(a.err.wait(args[1], a.done))
	default:
		ts.Fatalf("a server cannot %s", args[0])
	}
}

func dialServer(ts *testscript.TestScript, s *stage, args []string) {
	c, err := net.DialTimeout("tcp", ts.Getenv("PARLEY_SERVER"), within)
	ts.Check(err)
	a := &actor{in: c, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		_, _ = io.Copy(&a.out, c) // ends when either side closes
	}()
	s.actors[args[0]] = a
}

func typeLine(ts *testscript.TestScript, s *stage, args []string) {
	_, err := io.WriteString(s.actor(ts, args[0]).in, args[1]+"\n")
	ts.Check(err)
}

func says(ts *testscript.TestScript, s *stage, args []string) {
	a := s.actor(ts, args[0])
	if args[1] == "-stderr" {
		ts.Check(a.err.wait(args[2], a.done))
		return
	}
	ts.Check(a.out.wait(args[1], a.done))
}

func saidOnce(ts *testscript.TestScript, s *stage, args []string) {
	text, _ := s.actor(ts, args[0]).out.look()
	if n := len(regexp.MustCompile("(?m)"+args[1]).FindAllString(text, -1)); n != 1 {
		ts.Fatalf("%q stands there %d times:\n%s", args[1], n, text)
	}
}

func ends(ts *testscript.TestScript, s *stage, args []string) {
	a := s.actor(ts, args[0])
	ts.Check(a.in.Close())
	a.exit(ts, codeOf(ts, args[1:], 0))
}

func interrupt(ts *testscript.TestScript, s *stage, args []string) {
	a := s.actor(ts, args[0])
	ts.Check(a.cmd.Process.Signal(syscall.SIGINT))
	a.exit(ts, codeOf(ts, args[1:], exitInterrupted))
}

// codeOf reads the exit code that a script names, if it names one.
func codeOf(ts *testscript.TestScript, args []string, otherwise int) int {
	if len(args) == 0 {
		return otherwise
	}
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	return code
}
