package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	goclient "parley/client"
)

// killSenders send at the nodes that live on.
const killSenders = 10

// kills kills the leader as often as asked for, and starts it again.
func (n *nodes) kills(ctx context.Context, c Cluster) error {
	if c.Kills == 0 {
		return nil
	}
	waits := newHistogram()
	for i := range c.Kills {
		leader, err := n.whole(ctx)
		if err != nil {
			return err
		}
		wait, err := n.kill(ctx, leader, c.Size)
		if err != nil {
			return fmt.Errorf("kill %d: %w", i+1, err)
		}
		n.target(leader).say("kill %d: no ack for %v", i+1, wait.Round(time.Millisecond))
		record(waits, int64(wait))
		if err := n.start(ctx, leader); err != nil {
			return err
		}
	}
	row := Row{Load: "cluster, no acks after kill -9 of the leader", Peer: "3 nodes", Params: []Param{
		{"kills", c.Kills}, {"senders", killSenders}, {"size", c.Size},
	}}
	row.latency(waits)
	return n.setup.print([]Row{row})
}

// kill kills the leader under sends to the other nodes, and gives the time until the first ack of a
// message that was sent after it.
func (n *nodes) kill(ctx context.Context, leader, size int) (time.Duration, error) {
	body, err := filler(size)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, errors.New("no message was acknowledged any more"))
	defer cancel()
	sends, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(sends)
	type acked struct{ begun, at time.Time }
	acks := make(chan acked, 1024)
	for i := range killSenders {
		at := n.procs[(leader+1+i%(nodeCount-1))%nodeCount].at.tcp
		c, err := goclient.Connect(ctx, at, goclient.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			return 0, err
		}
		defer c.Close()
		g.Go(func() error {
			for {
				begun := time.Now()
				_, err := c.Room("kills").Publish(gctx, body)
				switch {
				case sends.Err() != nil:
					return nil
				case err != nil:
					return err
				}
				select {
				case acks <- acked{begun, time.Now()}:
				case <-gctx.Done():
					return nil
				}
			}
		})
	}
	var killed time.Time
	for warm := 0; ; {
		select {
		case <-gctx.Done():
			return 0, errors.Join(g.Wait(), context.Cause(ctx))
		case a := <-acks:
			if !killed.IsZero() && a.begun.After(killed) {
				stop()
				return a.at.Sub(killed), g.Wait()
			}
			if warm++; warm == 20*killSenders { // they are in full swing
				p := n.procs[leader]
				killed = time.Now()
				if err := p.cmd.Process.Kill(); err != nil {
					return 0, err
				}
				<-p.done
			}
		}
	}
}
