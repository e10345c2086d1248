// Events is a pipeline of orders through three services. See README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"parley/client"
	"parley/examples/temporary"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := events(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// events has a server, places some orders before any service is there, and tells what becomes of them.
func events(ctx context.Context, out io.Writer) error {
	s, err := temporary.Start()
	if err != nil {
		return err
	}
	return errors.Join(pipeline(ctx, s.Addr, out), s.Stop())
}

func pipeline(ctx context.Context, addr string, out io.Writer) error {
	shop, err := client.Connect(ctx, addr, client.WithName("shop"))
	if err != nil {
		return err
	}
	defer shop.Close()
	orders := []order{
		{"o-1", "book", 1200},
		{"o-2", "lamp", 4950},
		{"o-3", "castle", 99_000_000}, // nobody is trusted with that much
		{"o-4", "book", 1200},
	}
	for _, o := range orders {
		if err := place(ctx, shop, o); err != nil {
			return err
		}
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	wait, err := start(working, addr)
	if err != nil {
		return err
	}
	err = report(ctx, shop, out, len(orders)-1, 1)
	stop()
	return errors.Join(err, wait())
}

// report prints so many orders that were shipped, and so many that were refused.
func report(ctx context.Context, c *client.Client, out io.Writer, good, bad int) error {
	for m, err := range c.Room(shipped).Messages(ctx, client.After(0)) {
		if err != nil {
			return err
		}
		var o order
		if err := json.Unmarshal(m.Body, &o); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s, shipped\n", o.ID, o.Item)
		if good--; good == 0 {
			break
		}
	}
	for m, err := range c.Room(refused).Messages(ctx, client.After(0)) {
		if err != nil {
			return err
		}
		var letter struct {
			Group, Reason string
			Body          order
		}
		if err := json.Unmarshal(m.Body, &letter); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s, a dead letter of %s: %s\n", letter.Body.ID, letter.Body.Item, letter.Group, letter.Reason)
		if bad--; bad == 0 {
			break
		}
	}
	return nil
}
