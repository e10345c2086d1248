// Package client speaks to a Parley server: it sends messages to rooms, reads them from rooms,
// and stays connected while servers come and go.
//
// A program connects once and shares the [Client] among its goroutines:
//
//	c, err := client.Connect(ctx, "127.0.0.1:8000", client.WithName("ada"))
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	lobby := c.Room("lobby")
//
// [Room.Publish] returns once the message is durable on the server, and [Room.PublishAsync]
// without waiting for that; both send again after a lost connection, under the same id, so that
// the server stores the message once:
//
//	receipt, err := lobby.Publish(ctx, []byte("hello"))
//
// [Room.Messages] is the room as it goes on, from any position, for as long as ctx lives. When
// the connection is lost it resumes behind the last message: none is left out and none comes
// twice. Where the server has removed some meanwhile, it says so with a [Gap], and goes on:
//
//	for m, err := range lobby.Messages(ctx, client.After(position)) {
//		var gap *client.Gap
//		switch {
//		case errors.As(err, &gap):
//			log.Print(gap)
//		case err != nil:
//			return err
//		default:
//			handle(m)
//		}
//	}
//
// [Room.History] reads a page of the past, [Room.Members] says who is there, [Client.Rooms] lists
// the rooms. [OnPresence] has [Room.Messages] tell who comes and goes, and [Room.Signal] and
// [OnSignal] carry what is for now alone, such as who is typing.
//
// [Client.Work] takes jobs of a group and has a function do each; [Room.Ask] asks those who serve a room with
// [Client.Answer]. [AsReader] and [Room.Done] keep a position on the server:
//
//	err := c.Work(ctx, "squares", "g", func(ctx context.Context, job *parley.Job) error {
//		return square(job.Body) // nil is done, an error a retry
//	}, client.Parallel(4))
//
// A position is a seq: keep the Seq of the last message you have dealt with, and give it to
// [After] when your program starts again.
//
// # How it works
//
// The client keeps one connection at a time (session.go) and makes a new one when it ends
// (connect.go), to the next of its addresses, to which a cluster adds those of all its nodes
// (servers.go). What must outlive a connection is kept outside of
// it: messages that are not acknowledged in the outbox (outbox.go), positions in subscriptions
// (subscription.go). Nothing here waits without a context, and no buffer is without a bound.
//
// The package knows the protocol (package wire) and nothing of how a server works.
package client
