package httpapi

import (
	"net/http"
	"time"

	"parley"
	"parley/hooks"
	"parley/transport/sock"
	"parley/wire"
)

// hookPath is where others send to. It is no page's business where a request comes from there: it is
// signed.
const hookPath = "/hooks/{name}"

func anySite(*http.Request) error { return nil }

// Hooks are the hooks by which others send.
type Hooks interface {
	// Find finds the hook with a name; nil where there is none.
	Find(name string) *hooks.Inbound
}

// hook makes a message of a signed webhook: POST /hooks/{name}.
func (s *Server) hook(w http.ResponseWriter, r *http.Request) error {
	var in *hooks.Inbound
	if s.config.Hooks != nil {
		in = s.config.Hooks.Find(r.PathValue("name"))
	}
	if in == nil {
		w.Header().Set("Connection", "close") // its body is not read
		return parley.Errorf(parley.NotFound, "there is no hook of this name")
	}
	body, err := s.readBody(w, r, parley.JSON) // the signature comes before the type
	if err != nil {
		return err
	}
	var d hooks.Delivery
	caller, err := s.sessions.HookCaller(sock.ClientAddr(r), in.From(), in.Room, func() (err error) {
		d, err = in.Read(r.Header, body, time.Now())
		return err
	})
	if err != nil {
		return err
	}
	op := &wire.Op{Kind: wire.Send, Room: d.Room, ID: d.ID, Type: d.Type, Body: d.Body}
	if err := checkBody(op); err != nil {
		return err
	}
	id, receipt, err := s.sessions.Send(r.Context(), caller, op)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, sent{Room: op.Room, Seq: receipt.Seq, ID: id, Duplicate: receipt.Duplicate})
	return nil
}
