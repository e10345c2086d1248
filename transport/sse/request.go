package sse

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"parley"
	"parley/session"
	"parley/wire"
)

// request is what a client wants to hear: a join for each room, and the name it goes by.
type request struct {
	joins  []wire.Op
	places *places // where it is in each room, as its ids say
	name   string  // "" = a guest's
}

// parseRequest reads what a request asks for. Last-Event-ID wins: it says how far the client has come,
// the query where it once began. A room that it does not name begins as the query says.
func parseRequest(r *http.Request, rooms []string, limits *parley.Limits) (*request, error) {
	if len(rooms) == 0 {
		return nil, parley.Errorf(parley.BadRequest, `a stream needs at least one "room"`)
	}
	if len(rooms) > limits.Rooms {
		return nil, session.TooManyRooms(limits.Rooms)
	}
	q := &request{places: &places{one: len(rooms) == 1}}
	query := r.URL.Query()
	after, err := resumePoints(r, query, len(rooms))
	if err != nil {
		return nil, err
	}
	for _, name := range rooms {
		op, err := wire.ParseQuery(wire.Join, name, query)
		if err != nil {
			return nil, err
		}
		if q.places.find(op.Room) >= 0 {
			return nil, parley.Errorf(parley.BadRequest, "the room %s stands twice", op.Room)
		}
		if seq, ok := after.of(op.Room); ok {
			op.Start = wire.Start{After: &seq}
		}
		q.joins = append(q.joins, op)
		q.places.add(op.Room, op.Start.After)
	}
	name := r.Header.Get("Parley-Name")
	if name == "" {
		name = query.Get("name") // EventSource cannot set a header
	}
	if name != "" {
		q.name, err = parley.ParseName(name)
	}
	return q, err
}

// points are the seqs behind which a client goes on.
type points struct {
	all    *uint64 // in a stream of one room
	byRoom map[string]uint64
}

func (p *points) of(room string) (uint64, bool) {
	if p.all != nil {
		return *p.all, true
	}
	seq, ok := p.byRoom[room]
	return seq, ok
}

// resumePoints reads Last-Event-ID or, where there is none, an "after" that names rooms as ids do;
// that one is taken out of the query.
func resumePoints(r *http.Request, query url.Values, rooms int) (points, error) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return parseID("Last-Event-ID", id, rooms)
	}
	if after := query.Get("after"); strings.Contains(after, ":") {
		query.Del("after")
		return parseID(`"after"`, after, rooms)
	}
	return points{}, nil
}

// parseID reads an id as a stream gives it: a seq, or room:seq,room:seq.
func parseID(what, id string, rooms int) (points, error) {
	bad := parley.Errorf(parley.BadRequest, "%s is a seq, or for several rooms room:seq,room:seq", what)
	if !strings.Contains(id, ":") {
		seq, err := strconv.ParseUint(id, 10, 63)
		if err != nil || rooms > 1 {
			return points{}, bad
		}
		return points{all: &seq}, nil
	}
	p := points{byRoom: make(map[string]uint64)}
	for pair := range strings.SplitSeq(id, ",") {
		name, number, _ := strings.Cut(pair, ":")
		room, err := parley.ParseRoom(name)
		if err != nil {
			return points{}, bad
		}
		seq, err := strconv.ParseUint(number, 10, 63)
		if err != nil {
			return points{}, bad
		}
		p.byRoom[room] = seq
	}
	return p, nil
}
