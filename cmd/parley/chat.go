package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
	"parley/wire"
)

// onEntry is how many messages a chat shows when it enters a room.
const onEntry = 20

func newChatCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "chat [ROOM]",
		Short: "Talk in a room",
		Long: `Talk in a room, lobby where none is named: what others say is printed, and each line you type is
sent. A line that begins with / is a command; /help lists them. Ctrl-D or /quit leaves.`,
		Example: `  parley chat
  parley chat ops.deploys --name ada`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			room := "lobby"
			if len(args) == 1 {
				room = args[0]
			}
			if err := roomArg(room); err != nil {
				return err
			}
			return flags.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
				ctx, stop := context.WithCancelCause(ctx)
				defer stop(nil)
				chat := &chat{client: c, out: cmd.OutOrStdout(), stop: stop}
				return chat.run(ctx, room, cmd.InOrStdin())
			})(cmd, args)
		},
	}
	flags.register(cmd)
	return cmd
}

// chat is a person in a room.
type chat struct {
	// Fixed at birth.
	client *client.Client
	stop   context.CancelCauseFunc // ends the chat

	// Owned by run.
	room  *client.Room
	leave func() // ends the printing of room's messages, and waits for that

	mu  sync.Mutex
	out io.Writer // every write is whole lines
}

// run talks until in or ctx ends.
func (c *chat) run(ctx context.Context, room string, in io.Reader) error {
	sent := make(chan *client.Pending, 1024)
	var wg sync.WaitGroup
	wg.Go(func() { c.collect(sent) })
	c.enter(ctx, room)
	lines := make(chan line)
	go func() { // a read of a terminal cannot be ended; the process does that
		defer close(lines)
		readLines(ctx, in, lines)
	}()
	for done := false; !done; {
		select {
		case l, ok := <-lines:
			switch {
			case !ok:
				done = true
			case l.err != nil:
				c.note("* " + oneLine(sentence(l.err)))
			default:
				done = c.typed(ctx, strings.TrimSuffix(string(l.body), "\r"), sent)
			}
		case <-ctx.Done():
			done = true
		}
	}
	cause := context.Cause(ctx)
	if cause == nil {
		if err := c.client.Flush(ctx); err != nil {
			cause = err
		}
	}
	c.leave()
	c.stop(nil)
	close(sent)
	wg.Wait()
	return cause
}

// enter goes to a room, and leaves the one before.
func (c *chat) enter(parent context.Context, room string) {
	if c.leave != nil {
		c.leave()
	}
	ctx, cancel := context.WithCancel(parent)
	done, joined := make(chan struct{}), make(chan uint64, 1)
	c.room = c.client.Room(room)
	c.leave = func() { cancel(); <-done }
	c.note(fmt.Sprintf("* you are %s in %s; /help lists the commands", oneLine(c.client.Status().User), c.room.Name()))
	go func(room *client.Room) {
		defer close(done)
		if err := c.listen(ctx, room, joined); err != nil && ctx.Err() == nil {
			c.stop(err)
		}
	}(c.room)
	select {
	case <-joined: // so that /who counts us
	case <-done:
	case <-ctx.Done():
	}
}

// listen prints what others say. Own lines stand there already, as they were typed.
func (c *chat) listen(ctx context.Context, room *client.Room, joined chan<- uint64) error {
	onJoined := client.OnJoined(func(seq uint64) {
		select {
		case joined <- seq:
		default:
		}
	})
	for m, err := range room.Messages(ctx, client.Last(onEntry), client.NoEcho(), onJoined) {
		var gap *client.Gap
		switch {
		case errors.As(err, &gap):
			c.note("* " + gap.Error())
		case err != nil:
			return err
		default:
			c.print(appendTimed(nil, m, false))
		}
	}
	return nil
}

// typed deals with a line; it says whether it was the last one.
func (c *chat) typed(ctx context.Context, text string, sent chan<- *client.Pending) (done bool) {
	switch {
	case text == "":
		return false
	case strings.HasPrefix(text, "//"):
		text = text[1:]
	case strings.HasPrefix(text, "/"):
		return c.command(ctx, text)
	}
	p, err := c.room.PublishAsync(ctx, []byte(text))
	if err != nil {
		c.note("* not sent: " + oneLine(sentence(err)))
		return false
	}
	select {
	case sent <- p:
	case <-ctx.Done():
	}
	return false
}

// collect tells of lines that were not stored.
func (c *chat) collect(sent <-chan *client.Pending) {
	for p := range sent {
		if _, err := p.Wait(context.Background()); err != nil { // ends with the chat
			c.note("* not sent: " + oneLine(sentence(err)))
		}
	}
}

// command carries out a line that begins with /.
func (c *chat) command(ctx context.Context, text string) (done bool) {
	op, err := wire.ParseLine(text)
	if err == nil && op.Kind == wire.Join {
		c.enter(ctx, op.Room)
		return false
	}
	if err == nil {
		ctx, cancel := answering(ctx)
		defer cancel()
		err = chatCommands[op.Kind](c, ctx, op)
	}
	if err != nil {
		c.note("* " + oneLine(sentence(err)))
	}
	return op.Kind == wire.Quit
}

// chatCommands are all that wire.ParseLine knows, but for join.
var chatCommands = map[wire.Kind]func(*chat, context.Context, wire.Op) error{
	wire.Help:    (*chat).help,
	wire.Quit:    func(*chat, context.Context, wire.Op) error { return nil },
	wire.Hello:   (*chat).rename,
	wire.Members: (*chat).who,
	wire.History: (*chat).history,
}

func (c *chat) help(context.Context, wire.Op) error {
	for _, l := range wire.HelpText {
		c.note("* " + l)
	}
	return nil
}

func (c *chat) rename(ctx context.Context, op wire.Op) error {
	if err := c.client.Rename(ctx, op.Name); err != nil {
		return err
	}
	c.note("* you are " + oneLine(c.client.Status().User))
	return nil
}

func (c *chat) who(ctx context.Context, _ wire.Op) error {
	users, n, err := c.room.Members(ctx)
	if err != nil {
		return err
	}
	c.print(wire.TextNamed{}.Members(nil, nil, c.room.Name(), users, n))
	return nil
}

func (c *chat) history(ctx context.Context, op wire.Op) error {
	if err := c.client.Flush(ctx); err != nil { // own lines are part of it
		return err
	}
	opts := []client.ReadOption{client.Limit(op.Limit)}
	if op.After != nil {
		opts = append(opts, client.After(*op.After))
	}
	page, err := c.room.History(ctx, opts...)
	if err != nil {
		return err
	}
	c.print(wire.TextNamed{}.Page(nil, nil, c.room.Name(), parley.Page{Messages: page.Messages, More: page.More}))
	return nil
}

func (c *chat) note(text string) { c.print([]byte(text + "\n")) }

// print writes whole lines. Where nobody reads them any more, the chat is over.
func (c *chat) print(lines []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.out.Write(lines); err != nil {
		c.stop(err)
	}
}
