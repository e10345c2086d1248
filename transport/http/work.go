package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"parley"
	"parley/wire"
)

// How long a take waits for a job.
const (
	takeWait    = 20 * time.Second
	maxTakeWait = 50 * time.Second // an answer has to be out before answerTime
)

var errLeaving = parley.Errorf(parley.Unavailable, "the server is going away; come back in a moment")

// take answers with jobs of a group, as soon as there is one: POST /rooms/{room}/take.
func (s *Server) take(w http.ResponseWriter, r *http.Request) error {
	caller, err := s.caller(r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	wait, err := waitOf(query)
	if err != nil {
		return err
	}
	op, err := wire.ParseQuery(wire.Take, r.PathValue("room"), query)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.leaving, cancel)()
	jobs, err := s.sessions.Take(ctx, caller, &op, wait)
	if s.leaving.Err() != nil && err != nil {
		return errLeaving
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, wire.JSONLines{}.Jobs(nil, jobs))
	return nil
}

// waitOf reads how long to wait.
func waitOf(query url.Values) (time.Duration, error) {
	if !query.Has("wait") {
		return takeWait, nil
	}
	d, err := time.ParseDuration(query.Get("wait"))
	if err != nil || d < 0 || d > maxTakeWait || len(query["wait"]) > 1 {
		return 0, parley.Errorf(parley.BadRequest, `"wait" is a duration from 0s to %v`, maxTakeWait)
	}
	return d, nil
}

// settled is the answer to what is said of a job.
type settled struct {
	Room      string `json:"room"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate,omitempty"` // of a dead letter: it was put back before
}

// settle takes what a worker says of a job: POST /rooms/{room}/jobs/{job}/done, or retry, release or fail.
// Of a dead letter: POST /rooms/{room}/letters/{letter}/retry.
func settle(kind wire.Kind) func(*Server, http.ResponseWriter, *http.Request) error {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		caller, err := s.caller(r)
		if err != nil {
			return err
		}
		op, err := jobOp(kind, r)
		if err != nil {
			return err
		}
		receipt, err := s.sessions.Settle(r.Context(), caller, op)
		if err != nil {
			return err
		}
		write(w, http.StatusOK, settled{Room: op.Room, Seq: receipt.Seq, Duplicate: receipt.Duplicate})
		return nil
	}
}

// jobOp reads an operation on the job, or the dead letter, in the path.
func jobOp(kind wire.Kind, r *http.Request) (*wire.Op, error) {
	query := r.URL.Query()
	if letter := r.PathValue("letter"); letter != "" {
		query = url.Values{"letter": {letter}}
	} else {
		query.Del("letter")
		query.Set("job", r.PathValue("job"))
	}
	op, err := wire.ParseQuery(kind, r.PathValue("room"), query)
	return &op, err
}

// extended is the answer to who needs longer.
type extended struct {
	Room       string `json:"room"`
	Job        string `json:"job"`
	DeadlineMS int64  `json:"deadline_ms"`
}

// busy gives a worker more time: POST /rooms/{room}/jobs/{job}/busy.
func (s *Server) busy(w http.ResponseWriter, r *http.Request) error {
	caller, err := s.caller(r)
	if err != nil {
		return err
	}
	op, err := jobOp(wire.Busy, r)
	if err != nil {
		return err
	}
	d, err := s.sessions.Busy(r.Context(), caller, op)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, extended{Room: op.Room, Job: op.Job, DeadlineMS: d.Milliseconds()})
	return nil
}

// ask puts the body to those who serve the room, and answers with what they say:
// POST /rooms/{room}/ask.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) error {
	caller, err := s.caller(r)
	if err != nil {
		return err
	}
	op, err := s.readSend(w, r, caller, wire.Ask)
	if err != nil {
		return err
	}
	answers, err := s.sessions.Ask(r.Context(), caller, op)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, wire.JSONLines{}.Answers(nil, answers))
	return nil
}
