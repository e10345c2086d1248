package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"parley"
	"parley/client"
)

// bot answers what is said to it in a room.
type bot struct {
	client *client.Client
	name   string
	room   string
}

// run answers until ctx ends, which is no error. The server remembers up to where the room was dealt
// with, so a question that came while the bot was away is answered when it is back.
func (b *bot) run(ctx context.Context) error {
	room := b.client.Room(b.room)
	for m, err := range room.Messages(ctx, client.AsReader(b.name), client.NoEcho()) {
		var gap *client.Gap
		switch {
		case errors.As(err, &gap):
			continue // what is gone cannot be answered
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if err := b.hear(ctx, room, m); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// hear answers a message, if it is for the bot, and notes that it is dealt with. The answer's id is made of the
// question's seq: should the bot die between the two, the answer is sent again, and stored once.
func (b *bot) hear(ctx context.Context, room *client.Room, m *parley.Message) error {
	question, ok := strings.CutPrefix(string(m.Body), b.name+":")
	if ok && m.From != b.name {
		reply := fmt.Sprintf("%s: %s", m.From, answer(strings.TrimSpace(question), m.At))
		if _, err := room.Publish(ctx, []byte(reply), client.WithID(fmt.Sprintf("re-%d", m.Seq))); err != nil {
			return err
		}
	}
	_, err := room.Done(ctx, b.name, m.Seq)
	return err
}

// answer is what the bot knows.
func answer(question string, at time.Time) string {
	verb, rest, _ := strings.Cut(question, " ")
	switch verb {
	case "time":
		return at.UTC().Format("15:04 UTC")
	case "echo":
		return rest
	case "count":
		return fmt.Sprintf("%d words", len(strings.Fields(rest)))
	}
	return "I know time, echo and count"
}
