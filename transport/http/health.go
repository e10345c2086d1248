package httpapi

import (
	_ "embed" // the two descriptions
	"net/http"

	"parley"
)

//go:embed openapi.yaml
var openAPI []byte

//go:embed asyncapi.yaml
var asyncAPI []byte

// live answers as long as the process does: GET /livez.
func (s *Server) live(w http.ResponseWriter, _ *http.Request) error {
	write(w, http.StatusOK, health{"live"})
	return nil
}

// ready answers whether messages can be stored here, now and in a moment: GET /readyz.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) error {
	if s.draining.Load() {
		return parley.Errorf(parley.Unavailable, "the server is going away")
	}
	if err := s.sessions.Log.Ready(); err != nil {
		return err
	}
	write(w, http.StatusOK, health{"ready"})
	return nil
}

type health struct {
	Status string `json:"status"`
}

// metrics answers with the counters: GET /metrics. They tell of everybody's doings, so where grants are in
// force they are for who administers.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) error {
	if s.config.Metrics == nil {
		return parley.Errorf(parley.NotFound, "there are no metrics here")
	}
	caller, err := s.caller(r)
	if err != nil {
		return err
	}
	if err := s.sessions.Administers(caller, "metrics"); err != nil {
		return err
	}
	s.config.Metrics.ServeHTTP(w, r)
	return nil
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	writeYAML(w, openAPI)
	return nil
}

func (s *Server) asyncAPI(w http.ResponseWriter, _ *http.Request) error {
	writeYAML(w, asyncAPI)
	return nil
}

func writeYAML(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(b) // a client that has gone does not read it
}
