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
		Short: "Show nodes, leaders and how far replicas are behind",
		Long:  `Show nodes, leaders and how far replicas are behind, as the node that is asked sees it.`,
		Example: `  parley cluster status
  parley cluster status --http https://chat.example.org --json | jq .nodes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			body, err := askCluster(ctx, cmd, &web)
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
	askWithin  = 10 * time.Second
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

// showCluster prints a table of the nodes and one of the partitions.
func showCluster(out io.Writer, body []byte) error {
	var s struct {
		Node  string
		Nodes []struct {
			Name  string
			Alive bool
			Leads int
			Lag   uint64
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
		Ready    bool
		Reason   string
		Rooms    int
		Sessions int
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	if len(s.Nodes) == 0 {
		return errors.New("this server is alone: it belongs to no cluster")
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	tell(w, "NODE\tSTATE\tLEADS\tLAG\n")
	for _, n := range s.Nodes {
		tell(w, "%s\t%s\t%d\t%d\n", n.Name, word(n.Alive, "up", "down"), n.Leads, n.Lag)
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
	tell(w, "\n%s: %s, %d active rooms, %d sessions\n", s.Node, word(s.Ready, "ready", "not ready: "+s.Reason), s.Rooms, s.Sessions)
	return w.Flush()
}

func word(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}
