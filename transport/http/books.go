package httpapi

import (
	"net/http"

	"parley/session"
	"parley/wire"
)

// asked reads who asks, and for what: an operation of which path and query say all.
func (s *Server) asked(r *http.Request, kind wire.Kind) (session.Caller, *wire.Op, error) {
	query := r.URL.Query()
	for _, key := range []string{"group", "reader", "job"} {
		if query.Del(key); r.PathValue(key) != "" {
			query.Set(key, r.PathValue(key))
		}
	}
	op, err := wire.ParseQuery(kind, r.PathValue("room"), query)
	if err != nil {
		return session.Caller{}, nil, err
	}
	caller, err := s.caller(r)
	return caller, &op, err
}

// groups answers with the groups of a room: GET /rooms/{room}/groups.
func (s *Server) groups(w http.ResponseWriter, r *http.Request) error {
	caller, op, err := s.asked(r, wire.ListGroups)
	if err != nil {
		return err
	}
	list, err := s.sessions.Groups(r.Context(), caller, op)
	if err != nil {
		return err
	}
	writeFrame(w, wire.JSONLines{}.Groups(nil, nil, op.Room, list))
	return nil
}

// readers answers with readers of a room: GET /rooms/{room}/readers.
func (s *Server) readers(w http.ResponseWriter, r *http.Request) error {
	caller, op, err := s.asked(r, wire.ListReaders)
	if err != nil {
		return err
	}
	list, more, err := s.sessions.Readers(r.Context(), caller, op)
	if err != nil {
		return err
	}
	writeFrame(w, wire.JSONLines{}.Readers(nil, nil, op.Room, list, more))
	return nil
}

// remove removes what the path names: DELETE /rooms/{room}/groups/{group} or …/readers/{reader}.
func (s *Server) remove(w http.ResponseWriter, r *http.Request) error {
	caller, op, err := s.asked(r, wire.Remove)
	if err != nil {
		return err
	}
	if err := s.sessions.Remove(r.Context(), caller, op); err != nil {
		return err
	}
	writeFrame(w, wire.JSONLines{}.Removed(nil, nil, op.Room, op.Group, op.Reader))
	return nil
}

// advance moves a reader: POST /rooms/{room}/readers/{reader}/done?seq=N. It is how who follows events as
// a reader says how far it is.
func (s *Server) advance(w http.ResponseWriter, r *http.Request) error {
	caller, op, err := s.asked(r, wire.Done)
	if err != nil {
		return err
	}
	position, err := s.sessions.Advance(r.Context(), caller, op)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, settled{Room: op.Room, Seq: position})
	return nil
}

// hooks answers with how the hooks fare that post: GET /hooks.
func (s *Server) hooks(w http.ResponseWriter, r *http.Request) error {
	caller, op, err := s.asked(r, wire.ListHooks)
	if err != nil {
		return err
	}
	list, err := s.sessions.ListHooks(r.Context(), caller, op)
	if err != nil {
		return err
	}
	writeFrame(w, wire.JSONLines{}.Hooks(nil, nil, list))
	return nil
}
