package httpapi

import (
	"net"
	"net/http"
	"time"
)

// Routes are the methods of each path, for the test that holds the description against them.
func Routes() map[string][]string {
	paths := make(map[string][]string)
	for path, methods := range routes {
		for m := range methods {
			paths[path] = append(paths[path], m)
		}
	}
	return paths
}

// Descriptions are the two files that are served.
func Descriptions() (open, async []byte) { return openAPI, asyncAPI }

// SetTimes changes how long a connection may idle and an answer may take, before Serve.
func (s *Server) SetTimes(idle, answer time.Duration) {
	s.http.IdleTimeout, s.http.WriteTimeout = idle, answer
}

// OnClosed has f called with the client's address of each connection that was closed.
func (s *Server) OnClosed(f func(from string)) {
	s.http.ConnState = func(nc net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			f(nc.RemoteAddr().String())
		}
	}
}
