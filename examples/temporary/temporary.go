// Package temporary has a server for an example: on a free port, in a directory that goes with it.
package temporary

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"parley/server"
)

// Server is a server in this process.
type Server struct {
	Addr string // host:port of its TCP port

	dir   string
	stop  context.CancelFunc
	ended chan error // of one
}

// Start starts a server and returns when clients can come. Who starts it stops it.
func Start() (*Server, error) {
	dir, err := os.MkdirTemp("", "parley-example-")
	if err != nil {
		return nil, err
	}
	config := server.Default()
	config.Data, config.TCP, config.HTTP = dir, "127.0.0.1:0", ""
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{dir: dir, stop: cancel, ended: make(chan error, 1)}
	ready := make(chan string, 1)
	go func() {
		s.ended <- server.Run(ctx, config, server.Options{
			Logger: slog.New(slog.DiscardHandler),
			Ready:  func(a server.Addresses) { ready <- a.TCP },
		})
	}()
	select {
	case s.Addr = <-ready:
		return s, nil
	case err := <-s.ended:
		cancel()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
}

// Stop stops the server, waits for it and removes what it has stored. It is called once.
func (s *Server) Stop() error {
	s.stop()
	return errors.Join(<-s.ended, os.RemoveAll(s.dir))
}
