package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"parley/client"
)

// A program that says something in a room and reads what is said there.
func Example() {
	server := newModel() // stands for the server at 127.0.0.1:8000
	defer server.close()

	ctx := context.Background()
	c, err := client.Connect(ctx, "127.0.0.1:8000", client.WithName("ada"), client.WithDialer(server.dial))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	lobby := c.Room("lobby")

	for _, text := range []string{"hello", "is anybody here?"} {
		if _, err := lobby.Publish(ctx, []byte(text)); err != nil {
			log.Fatal(err)
		}
	}

	n := 0
	for m, err := range lobby.Messages(ctx, client.After(0)) {
		var gap *client.Gap
		switch {
		case errors.As(err, &gap):
			fmt.Println(gap)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Printf("%s: %s\n", m.From, m.Body)
		}
		if n++; n == 2 {
			break // a real program goes on
		}
	}
	// Output:
	// ada: hello
	// ada: is anybody here?
}

// Sending much: many messages are on their way at once, in order, and each is answered.
func ExampleRoom_PublishAsync() {
	server := newModel()
	defer server.close()
	ctx := context.Background()
	c, err := client.Connect(ctx, "127.0.0.1:8000", client.WithDialer(server.dial))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	var sent []*client.Pending
	for i := range 100 {
		p, err := c.Room("readings").PublishAsync(ctx, fmt.Appendf(nil, `{"celsius":%d}`, i), client.AsJSON())
		if err != nil {
			log.Fatal(err)
		}
		sent = append(sent, p)
	}
	for _, p := range sent {
		if _, err := p.Wait(ctx); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("100 messages are durable")
	// Output:
	// 100 messages are durable
}
