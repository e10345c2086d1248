package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newClusterDemoCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a cluster of three nodes on this machine, for trying it",
		Long: `Run a cluster of three nodes on this machine, for trying it: three processes of this program, on any free
ports of loopback, each with its page. Open two pages, or two terminals with parley chat, and kill a node.

On stdin it takes: kill n2 (as a crash would), stop n2 (as TERM does), start n2. A node that was killed
from elsewhere can be started the same way. TERM or Ctrl-C ends all three gently, a second one at once.

Without --dir the messages are in a directory that is removed at the end.`,
		Example: `  parley cluster demo
  parley cluster demo --dir ./three`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return runDemo(ctx, dir, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "where the nodes keep their messages and logs; it stays (default: a temporary directory)")
	return cmd
}

// demo is three nodes and who tells them what to do.
type demo struct {
	dir    string
	nodes  []*demoNode
	stdout io.Writer
	stderr io.Writer
}

// runDemo runs three nodes until ctx ends, and does what stdin says meanwhile.
func runDemo(ctx context.Context, dir string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "parley-demo-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	d := &demo{dir: dir, stdout: stdout, stderr: stderr}
	if d.nodes, err = demoNodes(dir); err != nil {
		return err
	}
	defer d.stopAll()
	if err := d.startAll(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	d.show()
	typed := make(chan line)
	go readLines(ctx, stdin, typed) // a read of a terminal cannot be ended; the process does that
	return d.listen(ctx, typed)
}

// startAll starts the nodes together: the first start of a cluster needs all of them.
func (d *demo) startAll(ctx context.Context) error {
	for _, n := range d.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	for _, n := range d.nodes {
		if err := n.awaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stopAll ends the nodes one after the other, which is gentler than at once: as long as two are left,
// what the third led is handed over, and what it had in flight is stored.
func (d *demo) stopAll() {
	for _, n := range d.nodes {
		if err := n.stop(); err != nil {
			tell(d.stderr, "parley: %s\n", oneLine(err.Error()))
		}
	}
}

// show says where the nodes are and how to try what a cluster is for.
func (d *demo) show() {
	w := tabwriter.NewWriter(d.stdout, 0, 0, 3, ' ', 0)
	tell(w, "NODE\tPID\tTCP\tHTTP\tPAGE\n")
	var servers []string
	for _, n := range d.nodes {
		tell(w, "%s\t%d\t%s\t%s\thttp://%s/\n", n.name, n.pid(), n.tcp, n.http, n.http)
		servers = append(servers, n.tcp)
	}
	_ = w.Flush() // whoever closed stdout does not want it
	tell(d.stdout, `
One cluster of three nodes; messages and logs are in %s.
Chat on two pages above, or in two terminals:

     parley chat --server %s
     parley cluster status --http %s

Then see a node fail: type "kill n1" here, or kill -9 one by its pid. Two of three go on; the
clients of the third go to them by themselves. "start n1" starts it again. Ctrl-C ends all.

`, d.dir, strings.Join(servers, ","), d.nodes[1].http)
}

// listen carries out what is typed, and says which nodes end, until ctx does.
func (d *demo) listen(ctx context.Context, typed <-chan line) error {
	for {
		var l line
		select {
		case <-ctx.Done():
			return nil
		case l = <-typed:
		case <-d.nodes[0].ended():
			d.lost(d.nodes[0])
			continue
		case <-d.nodes[1].ended():
			d.lost(d.nodes[1])
			continue
		case <-d.nodes[2].ended():
			d.lost(d.nodes[2])
			continue
		}
		if err := d.obey(ctx, string(l.body)); err != nil && ctx.Err() == nil {
			tell(d.stderr, "parley: %s\n", oneLine(err.Error()))
		}
	}
}

// lost notes that a node has ended that nobody here has ended.
func (d *demo) lost(n *demoNode) {
	how := n.forget()
	tell(d.stdout, "%s has ended (%v); start %s starts it again\n", n.name, how, n.name)
}

// obey carries out one line.
func (d *demo) obey(ctx context.Context, order string) error {
	words := strings.Fields(order)
	if len(words) == 0 {
		return nil
	}
	var node *demoNode
	for _, n := range d.nodes {
		if len(words) == 2 && n.name == words[1] {
			node = n
		}
	}
	switch {
	case node == nil:
	case words[0] == "kill" || words[0] == "stop":
		if node.pid() == 0 {
			return fmt.Errorf("%s is not running", node.name)
		}
		if words[0] == "stop" {
			if err := node.stop(); err != nil {
				return err
			}
		} else {
			node.kill()
		}
		tell(d.stdout, "%s has ended; start %s starts it again\n", node.name, node.name)
		return nil
	case words[0] == "start":
		if node.pid() != 0 {
			return fmt.Errorf("%s is running", node.name)
		}
		if err := node.start(); err != nil {
			return err
		}
		if err := node.awaitReady(ctx); err != nil {
			return err
		}
		tell(d.stdout, "%s is ready, process %d\n", node.name, node.pid())
		return nil
	}
	return errors.New("say kill, stop or start, and n1, n2 or n3")
}

// demoReady is how long a node may take to be ready, and to end.
const (
	demoReady = time.Minute
	demoEnd   = 30 * time.Second
)

// freePorts gives loopback addresses that nobody listens on, for servers that start in a moment, and
// again later: none is among those that the system gives to outgoing connections.
func freePorts(n int) (all []string, err error) {
	const first, last = 20000, 32000
	for range 100 * n {
		if len(all) == n {
			return all, nil
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first)))
		if l, e := net.Listen("tcp", addr); e == nil {
			defer func() { _ = l.Close() }() // all are held at once, so no two are the same
			all = append(all, addr)
		}
	}
	return nil, errors.New("no ports are free")
}
