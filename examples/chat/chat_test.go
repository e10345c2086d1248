package main

import (
	"context"
	"testing"
	"time"

	"parley/client"
	"parley/examples/temporary"
)

// Somebody asks the bot; the bot goes, is asked again while it is away, and answers when it is back.
func TestTheBotAnswers(t *testing.T) {
	s, err := temporary.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ada, err := client.Connect(ctx, s.Addr, client.WithName("ada"))
	if err != nil {
		t.Fatal(err)
	}
	defer ada.Close()
	lobby := ada.Room("lobby")

	stop := startBot(ctx, t, s.Addr)
	after := ask(ctx, t, lobby, 0, "bot: echo hello", "ada: hello")
	stop()
	say(ctx, t, lobby, "bot: count one two three")
	say(ctx, t, lobby, "to nobody in particular")
	defer startBot(ctx, t, s.Addr)()
	after = await(ctx, t, lobby, after, "ada: 3 words")
	ask(ctx, t, lobby, after, "bot: sing", "ada: I know time, echo and count")
}

func startBot(ctx context.Context, t *testing.T, addr string) (stop func()) {
	t.Helper()
	c, err := client.Connect(ctx, addr, client.WithName("bot"))
	if err != nil {
		t.Fatal(err)
	}
	// The first join of a reader is where it begins: before anybody asks.
	joined, cancel := context.WithCancel(ctx)
	for _, err := range c.Room("lobby").Messages(joined, client.AsReader("bot"), client.OnJoined(func(uint64) { cancel() })) {
		if err != nil {
			break
		}
	}
	cancel()
	running, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- (&bot{client: c, name: "bot", room: "lobby"}).run(running) }()
	return func() {
		t.Helper()
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

func say(ctx context.Context, t *testing.T, room *client.Room, text string) {
	t.Helper()
	if _, err := room.Publish(ctx, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func ask(ctx context.Context, t *testing.T, room *client.Room, after uint64, text, want string) uint64 {
	t.Helper()
	say(ctx, t, room, text)
	return await(ctx, t, room, after, want)
}

// await waits for what the bot says next behind a position.
func await(ctx context.Context, t *testing.T, room *client.Room, after uint64, want string) uint64 {
	t.Helper()
	for m, err := range room.Messages(ctx, client.After(after)) {
		if err != nil {
			t.Fatal(err)
		}
		if m.From != "bot" {
			continue
		}
		if string(m.Body) != want {
			t.Fatalf("the bot says %q, want %q", m.Body, want)
		}
		return m.Seq
	}
	return 0
}
