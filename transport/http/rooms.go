package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"parley"
	"parley/auth"
	"parley/session"
	"parley/transport/sock"
	"parley/wire"
)

// guest is who sends where no name is given.
const guest = "guest"

// send stores the body as a message: POST /rooms/{room}.
func (s *Server) send(w http.ResponseWriter, r *http.Request) error {
	caller, err := s.caller(r)
	if err != nil {
		return err
	}
	op, err := s.readSend(w, r, caller, wire.Send)
	if err != nil {
		return err
	}
	id, receipt, err := s.sessions.Send(r.Context(), caller, op)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if receipt.Duplicate {
		status = http.StatusOK
	}
	write(w, status, sent{Room: op.Room, Seq: receipt.Seq, ID: id, Duplicate: receipt.Duplicate})
	return nil
}

// sent is the answer to a send.
type sent struct {
	Room      string `json:"room"`
	Seq       uint64 `json:"seq"`
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate,omitempty"`
}

// caller finds who makes a request: by its credential, else by the name it goes by.
func (s *Server) caller(r *http.Request) (session.Caller, error) {
	credential, err := auth.FromRequest(r, false)
	if err != nil {
		return session.Caller{}, err
	}
	name := guest
	if given := r.Header.Get("Parley-Name"); given != "" {
		if name, err = parley.ParseName(given); err != nil {
			return session.Caller{}, err
		}
	}
	return s.sessions.Caller(r.Context(), sock.ClientAddr(r), credential, name)
}

// readSend makes a send of a request, or another kind of operation that has a body: what else there is to
// say of it stands in the query. What needs no body is checked before that is read.
func (s *Server) readSend(w http.ResponseWriter, r *http.Request, caller session.Caller, kind wire.Kind) (*wire.Op, error) {
	parsed, err := wire.ParseQuery(kind, r.PathValue("room"), r.URL.Query())
	if err != nil {
		return nil, err
	}
	op := &parsed
	if err := s.sessions.Permit(caller, op); err != nil {
		return nil, err
	}
	if ids := r.Header.Values("Idempotency-Key"); len(ids) > 0 {
		if op.ID = ids[0]; len(ids) > 1 {
			return nil, parley.Errorf(parley.BadRequest, "Idempotency-Key stands twice")
		}
		if err := parley.CheckID(op.ID); err != nil {
			return nil, err
		}
	}
	op.Type = typeOf(r.Header.Get("Content-Type"))
	if op.Body, err = s.readBody(w, r, op.Type); err != nil {
		return nil, err
	}
	return op, checkBody(op)
}

// checkBody holds a body against its type. JSON is compact afterwards.
func checkBody(op *wire.Op) error {
	switch {
	case len(op.Body) == 0:
		return parley.Errorf(parley.BadRequest, "an empty body")
	case op.Type == parley.JSON:
		return readJSON(op)
	case op.Type == parley.Text && !utf8.Valid(op.Body):
		return parley.Errorf(parley.BadRequest, "a text is valid UTF-8; what is none has the Content-Type application/octet-stream")
	}
	return nil
}

// typeOf is the type of a body with this Content-Type. What curl -d says of it is what a form would.
func typeOf(contentType string) parley.Type {
	media, _, _ := strings.Cut(contentType, ";")
	switch media = strings.ToLower(strings.TrimSpace(media)); {
	case media == "application/json":
		return parley.JSON
	case media == "", media == "application/x-www-form-urlencoded", strings.HasPrefix(media, "text/"):
		return parley.Text
	}
	return parley.Binary
}

// readBody reads the whole body, within the limit and in time. JSON is measured when it is compact;
// before, it has as much room as a frame.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, t parley.Type) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, parley.Errorf(parley.BadRequest, "a body is sent as it is, not as %q", clip(e))
	}
	bounds := s.sessions.Bounds()
	limit := bounds.Message
	if t == parley.JSON {
		limit = max(limit, bounds.Frame)
	}
	if r.ContentLength > int64(limit) {
		w.Header().Set("Connection", "close")
		return nil, parley.Errorf(parley.TooLarge, "a body has at most %d bytes; this one has %d", limit, r.ContentLength)
	}
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(s.config.SlowBody)) // broken: the read says so
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if err != nil { // the deadline stays: net/http reads on, to let the client read the answer
		w.Header().Set("Connection", "close")
		return nil, bodyError(err)
	}
	return body, conn.SetReadDeadline(time.Time{})
}

// readJSON checks and compacts a JSON body, as a frame has it.
func readJSON(op *wire.Op) error {
	if !json.Valid(op.Body) {
		return parley.Errorf(parley.BadRequest, "the body is no JSON")
	}
	frame := make([]byte, 0, len(op.Body)+64)
	frame = append(frame, `{"op":"send","room":"r","type":"json","body":`...)
	frame = append(append(frame, op.Body...), '}')
	read, err := wire.ParseOp(frame)
	op.Body = read.Body
	return err
}

// page answers with a page of a room's messages: GET /rooms/{room}.
func (s *Server) page(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	if err := readLast(query); err != nil {
		return err
	}
	op, err := wire.ParseQuery(wire.History, r.PathValue("room"), query)
	if err != nil {
		return err
	}
	caller, err := s.caller(r)
	if err != nil {
		return err
	}
	page, err := s.sessions.Page(r.Context(), caller, &op)
	if err != nil {
		return err
	}
	writeFrame(w, wire.JSONLines{}.Page(nil, nil, op.Room, page))
	return nil
}

// readLast makes a limit of "last": the newest page with that many messages.
func readLast(query url.Values) error {
	if !query.Has("last") {
		return nil
	}
	if query.Has("after") || query.Has("before") || query.Has("limit") {
		return parley.Errorf(parley.BadRequest, `"last" stands alone: without "after", "before" and "limit"`)
	}
	query["limit"] = query["last"]
	return nil
}

// members answers with who is in a room: GET /rooms/{room}/members.
func (s *Server) members(w http.ResponseWriter, r *http.Request) error {
	op, err := wire.ParseQuery(wire.Members, r.PathValue("room"), nil)
	if err != nil {
		return err
	}
	caller, err := s.caller(r)
	if err != nil {
		return err
	}
	users, count, err := s.sessions.Members(r.Context(), caller, &op)
	if err != nil {
		return err
	}
	writeFrame(w, wire.JSONLines{}.Members(nil, nil, op.Room, users, count))
	return nil
}

// rooms answers with the rooms there are: GET /rooms.
func (s *Server) rooms(w http.ResponseWriter, r *http.Request) error {
	op, err := wire.ParseQuery(wire.ListRooms, "", r.URL.Query())
	if err != nil {
		return err
	}
	caller, err := s.caller(r)
	if err != nil {
		return err
	}
	list, more, err := s.sessions.Rooms(r.Context(), caller, &op)
	if err != nil {
		return err
	}
	writeFrame(w, wire.JSONLines{}.Rooms(nil, nil, list, more))
	return nil
}

// roomEvents gives the connection to the events of one room: GET /rooms/{room}/events.
func (s *Server) roomEvents(w http.ResponseWriter, r *http.Request) error {
	return s.config.Events.Stream(w, r, []string{r.PathValue("room")})
}

// events gives the connection to the events of several rooms: GET /events?room=a&room=b.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	return s.config.Events.Stream(w, r, r.URL.Query()["room"])
}
