package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/client"
)

func newClusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Look at the nodes of a cluster, or try one",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newClusterStatusCommand(), newClusterDemoCommand())
	return cmd
}

func newClusterStatusCommand() *cobra.Command {
	var web webFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, leaders, how far replicas are behind, rooms and members",
		Long: `Show nodes, leaders, how far replicas are behind, rooms, members and sessions, of the whole cluster, as the
node that is asked knows it. It asks no other, so it answers at once, also where too few of them can be
reached, and then says so. A node that is down stands there as such.`,
		Example: `  parley cluster status
  parley cluster status --http https://chat.example.org --json | jq .nodes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if err := web.settle(cmd); err != nil {
				return err
			}
			var body []byte
			var err error
			for one := range strings.SplitSeq(web.at, ",") {
				node := web
				node.at = strings.TrimSpace(one)
				if body, err = askCluster(ctx, cmd, &node); !errors.Is(err, client.ErrConnect) {
					break
				}
			}
			if err != nil {
				return because(ctx, err)
			}
			if asJSON {
				_, err = cmd.OutOrStdout().Write(body)
				return err
			}
			return showCluster(cmd.OutOrStdout(), body)
		},
	}
	web.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what the server answers, one JSON object")
	return cmd
}

// Bounds of the question.
const (
	askWithin  = 5 * time.Second // of one node
	answerMost = 4 << 20
)

// askCluster gets what the node at an address knows.
func askCluster(ctx context.Context, cmd *cobra.Command, web *webFlags) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	resp, err := web.get(ctx, cmd, "cluster")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMost))
	if err != nil {
		return nil, fmt.Errorf("%w to %s: %w", client.ErrConnect, web.at, err)
	}
	return body, nil
}

// clusterAnswer is what of the server's answer is shown.
type clusterAnswer struct {
	Node     string
	Majority bool
	Nodes    []struct {
		Name                   string
		Alive, Ready, Leaving  bool
		Leads, Sessions, Rooms int
		Lag                    uint64
	}
	Partitions []struct {
		Stream   string
		Leader   string
		Seq      uint64
		Replicas []struct {
			Node    string
			Alive   bool
			Current bool
			Lag     uint64
		}
	}
	Ready                    bool
	Reason                   string
	Rooms, Members, Sessions int
}

// showCluster prints a table of the nodes, one of the partitions and the sums.
func showCluster(out io.Writer, body []byte) error {
	var s clusterAnswer
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	if len(s.Nodes) == 0 {
		return errors.New("this server is alone: it belongs to no cluster")
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	up := 0
	tell(w, "NODE\tSTATE\tLEADS\tLAG\tSESSIONS\tROOMS\n")
	for _, n := range s.Nodes {
		if !n.Alive {
			tell(w, "%s\tdown\t0\t-\t-\t-\n", n.Name)
			continue
		}
		up++
		state := word(n.Leaving, "draining", word(n.Ready, "up", "not ready"))
		tell(w, "%s\t%s\t%d\t%d\t%d\t%d\n", n.Name, state, n.Leads, n.Lag, n.Sessions, n.Rooms)
	}
	tell(w, "\nPARTITION\tLEADER\tSEQ\tREPLICAS\n")
	for _, p := range s.Partitions {
		var replicas []string
		for _, r := range p.Replicas {
			state := word(r.Current, "current", fmt.Sprintf("%d behind", r.Lag))
			replicas = append(replicas, r.Node+" "+word(r.Alive, state, "down"))
		}
		tell(w, "%s\t%s\t%d\t%s\n", p.Stream, word(p.Leader != "", p.Leader, "none"), p.Seq, strings.Join(replicas, ", "))
	}
	tell(w, "\n%d of %d nodes up: %d rooms, %d members, %d sessions\n", up, len(s.Nodes), s.Rooms, s.Members, s.Sessions)
	if !s.Majority {
		tell(w, "%s hears no majority of the nodes: what is shown of the others is what it knew before\n", s.Node)
	}
	tell(w, "%s: %s\n", s.Node, word(s.Ready, "ready", "not ready: "+s.Reason))
	return w.Flush()
}

func word(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}
