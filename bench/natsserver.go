package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATSServer is a plain nats-server as a peer.
type NATSServer struct {
	Port int    // on loopback; 0 = any free one
	Dir  string // of a file store that syncs each message before it acknowledges it; "" = core alone
}

// Serve runs the server until ctx ends. Its start line goes to ready.
func (n *NATSServer) Serve(ctx context.Context, ready io.Writer) error {
	port := n.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port,
		JetStream: n.Dir != "", StoreDir: n.Dir, SyncAlways: n.Dir != "",
		NoSigs: true, NoLog: true,
		// Pings would count as lines of messages.
		PingInterval: time.Hour, DisableShortFirstPing: true,
	})
	if err != nil {
		return fmt.Errorf("configure nats-server: %w", err)
	}
	ns.Start()
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	if !ns.ReadyForConnections(answerWithin) {
		return errors.New("nats-server did not become ready")
	}
	if n.Dir != "" {
		if err := makeStream(ctx, ns); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(ready, "tcp  %s\n", ns.Addr()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func makeStream(ctx context.Context, ns *server.Server) error {
	nc, err := nats.Connect("", nats.InProcessServer(ns))
	if err != nil {
		return fmt.Errorf("connect to nats-server: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: natsStream, Subjects: []string{natsPrefix + ">"},
		Storage: jetstream.FileStorage, Replicas: 1,
	})
	if err != nil {
		return fmt.Errorf("make a stream: %w", err)
	}
	return nil
}
