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
	has    points  // by Last-Event-ID: what it has got
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
	one := len(rooms) == 1
	q := &request{places: &places{one: one, shared: one && !parley.IsPattern(rooms[0])}}
	query := r.URL.Query()
	after, again, err := resumePoints(r, query, rooms)
	if err != nil {
		return nil, err
	}
	if again {
		q.has = after
	}
	for _, name := range rooms {
		op, err := wire.ParseQuery(wire.Join, name, query)
		if err != nil {
			return nil, err
		}
		if q.places.find(op.Room) >= 0 {
			return nil, parley.Errorf(parley.BadRequest, "the room %s stands twice", op.Room)
		}
		if other, found := q.places.overlap(op.Room); found {
			return nil, parley.Errorf(parley.BadRequest, "%s and %s have rooms in common, which one stream shows once", other, op.Room)
		}
		if start, ok := after.of(op.Room); ok {
			op.Start = start
		}
		q.joins = append(q.joins, op)
		after := op.Start.After
		if op.Reader != "" {
			after = nil // the reader knows
		}
		q.places.add(op.Room, after)
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

// points are where a client goes on.
type points map[string]wire.Start

// upTo is the seq behind which it goes on in a room; 0 where that is not said.
func (p points) upTo(room string) uint64 {
	if after := p[room].After; after != nil {
		return *after
	}
	return 0
}

func (p points) of(room string) (wire.Start, bool) {
	start, ok := p[room]
	return start, ok
}

// resumePoints reads Last-Event-ID or, where there is none, an "after" that names rooms as ids do;
// that one is taken out of the query. again says that it was the former: the client has been here.
func resumePoints(r *http.Request, query url.Values, rooms []string) (p points, again bool, err error) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		p, err = parseID("Last-Event-ID", id, rooms)
		return p, true, err
	}
	if after := query.Get("after"); strings.Contains(after, ":") {
		query.Del("after")
		p, err = parseID(`"after"`, after, rooms)
	}
	return p, false, err
}

// parseID reads an id as a stream gives it: a place, or room:place,room:place. A room's place is a seq, a
// pattern's is a cursor.
func parseID(what, id string, rooms []string) (points, error) {
	bad := parley.Errorf(parley.BadRequest, "%s is a seq, of a pattern a cursor, or for several rooms room:seq,room:seq", what)
	pairs := strings.Split(id, ",")
	if !strings.Contains(id, ":") {
		if len(rooms) > 1 {
			return nil, bad
		}
		pairs = []string{rooms[0] + ":" + id}
	}
	p := make(points)
	for _, pair := range pairs {
		name, text, _ := strings.Cut(pair, ":")
		room, start, err := parsePlace(name, text)
		if err != nil {
			return nil, bad
		}
		p[room] = start
	}
	return p, nil
}

func parsePlace(name, text string) (room string, start wire.Start, err error) {
	if parley.IsPattern(name) {
		p, err := parley.ParsePattern(name)
		if err != nil {
			return "", start, err
		}
		start.Cursor, err = parley.ParsePosition(text)
		return p.String(), start, err
	}
	if room, err = parley.ParseRoom(name); err != nil {
		return "", start, err
	}
	seq, err := strconv.ParseUint(text, 10, 63)
	start.After = &seq
	return room, start, err
}
