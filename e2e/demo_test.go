package e2e_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"parley"
	"parley/client"
)

// shownNode is a node as parley cluster demo prints it.
type shownNode struct {
	name, tcp, http string
	pid             int
}

var demoTable = regexp.MustCompile(`(?m)^(n\d) +(\d+) +(\S+) +(\S+) +http://(\S+)/$`)

// runDemo starts parley cluster demo and reads what it prints.
func runDemo(t *testing.T) (p *process, say io.Writer, nodes []shownNode, temporary string) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	temporary = t.TempDir()
	p, err = launchFed(t, in, must(t, binary), t.TempDir(), []string{"TMPDIR=" + temporary}, "cluster", "demo")
	_ = in.Close() // the program has it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdout.wait(regexp.MustCompile(`Ctrl-C ends all`), p.done, 2*patience); err != nil {
		t.Fatalf("%v\n%s%s", err, &p.stdout, &p.stderr)
	}
	for _, f := range demoTable.FindAllStringSubmatch(p.stdout.String(), -1) {
		pid, err := strconv.Atoi(f[2])
		if err != nil || f[4] != f[5] {
			t.Fatalf("%q (%v)", f, err)
		}
		nodes = append(nodes, shownNode{name: f[1], pid: pid, tcp: f[3], http: f[4]})
	}
	if len(nodes) != 3 {
		t.Fatalf("it shows %d nodes:\n%s", len(nodes), &p.stdout)
	}
	return p, out, nodes, temporary
}

// The story that the demo is for: a chat over two nodes goes on when one of them crashes, and the one
// that comes back has it all.
func TestClusterDemo(t *testing.T) {
	t.Parallel()
	demo, say, nodes, temporary := runDemo(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	connect := func(name, addr string) *client.Client {
		c, err := client.Connect(ctx, addr, client.WithName(name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	ada := connect("ada", nodes[0].tcp) // of the others she learns from the server
	bob := connect("bob", nodes[1].tcp)
	shown := make(chan *parley.Message)
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		for m, err := range bob.Room("lobby").Messages(ctx, client.After(0)) {
			if err != nil {
				return
			}
			select {
			case shown <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { cancel(); <-reading }()
	said := 0
	chat := func() {
		t.Helper()
		for range 5 {
			said++
			if _, err := ada.Room("lobby").Publish(ctx, fmt.Append(nil, said)); err != nil {
				t.Fatal(err)
			}
			select {
			case m := <-shown:
				if string(m.Body) != fmt.Sprint(said) {
					t.Fatalf("shown %q where %d is due", m.Body, said)
				}
			case <-ctx.Done():
				t.Fatalf("message %d is not shown at the other node", said)
			}
		}
	}
	chat()

	if err := syscall.Kill(nodes[0].pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	chat()
	waitFor := func(text string) {
		t.Helper()
		if _, err := demo.stdout.wait(regexp.MustCompile(text), demo.done, 2*patience); err != nil {
			t.Fatalf("%v\n%s%s", err, &demo.stdout, &demo.stderr)
		}
	}
	waitFor(`n1 has ended \(signal: killed\)`)

	if _, err := io.WriteString(say, "dance n1\nstart n2\nstart n1\n"); err != nil {
		t.Fatal(err)
	}
	waitFor(`n1 is ready, process \d+`)
	for _, want := range []string{"say kill, stop or start", "n2 is running"} {
		if !strings.Contains(demo.stderr.String(), want) {
			t.Errorf("not said: %s", want)
		}
	}
	page, err := connect("cy", nodes[0].tcp).Room("lobby").History(ctx)
	if err != nil || len(page.Messages) != said {
		t.Errorf("the node that came back shows %d messages of %d (%v)", len(page.Messages), said, err)
	}
	if _, err := io.WriteString(say, "kill n3\n"); err != nil {
		t.Fatal(err)
	}
	waitFor(`n3 has ended; `)
	chat()

	demo.signal(syscall.SIGTERM)
	if code := demo.exit(2 * patience); code != 0 {
		t.Errorf("exit code %d\n%s", code, &demo.stderr)
	}
	if err := syscall.Kill(nodes[1].pid, 0); err == nil {
		t.Errorf("%s has outlived the demo", nodes[1].name)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
