// Chat is a bot that answers in a room. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"parley/client"
	"parley/examples/temporary"
)

func main() {
	addr := flag.String("server", "", "the server's address; without it, one is started for as long as this runs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := chat(ctx, *addr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func chat(ctx context.Context, addr string) error {
	if addr == "" {
		s, err := temporary.Start()
		if err != nil {
			return err
		}
		return errors.Join(talk(ctx, s.Addr), s.Stop())
	}
	return talk(ctx, addr)
}

func talk(ctx context.Context, addr string) error {
	c, err := client.Connect(ctx, addr, client.WithName("bot"))
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Printf("The bot is in the room lobby of %s. Talk to it from another terminal:\n\n", addr)
	fmt.Printf("  nc %s\n  bot: echo hello\n\nCtrl-C ends it.\n", strings.Replace(addr, ":", " ", 1))
	b := &bot{client: c, name: "bot", room: "lobby"}
	return b.run(ctx)
}
