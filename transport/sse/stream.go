package sse

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"parley"
	"parley/room"
	"parley/session"
	"parley/transport/sock"
	"parley/wire"
)

// finishTime is how long the last answers may take.
const finishTime = 5 * time.Second

// setHead sets the headers of every stream, beside what the caller says of all its answers: who may
// read them, for one.
func setHead(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")     // it ends with the connection, since it has no length
	h.Set("X-Accel-Buffering", "no") // a proxy that gathered events would hold them back
	h.Set("X-Content-Type-Options", "nosniff")
}

// head is how a stream begins.
func head(h http.Header) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(&b) // a Builder takes all
	b.WriteString("\r\n" + heartbeat)
	return b.String()
}

// stream is one connection. As a room.Socket it is used by one goroutine at a time.
type stream struct {
	sock.Conn
	server  *Server
	session *session.Session
	request *request      // nil once it is carried out
	watches []*room.Watch // of its rooms, until it is in them
	slot    int           // among the heartbeats

	// Owned by whoever writes.
	places *places
	owed   []byte // of an event begun, but for its last byte
}

// Begin implements sock.Handler: it joins the rooms.
func (s *stream) Begin(ctx context.Context) error {
	defer s.unwatch()
	q := s.request
	s.request = nil
	for i := range q.joins {
		if err := s.join(ctx, &q.joins[i], q.has.upTo(q.joins[i].Room)); err != nil {
			s.session.Refuse(nil, err)
			return errRefused
		}
	}
	s.server.beats.add(s)
	return nil
}

// errRefused ends a stream that was told why.
var errRefused = session.ErrRefused

// join enters a room. A client that breaks off before it has seen a message must come back to the
// place where it began, so an id comes first wherever that place is known. has is up to where it has been
// sent the room before.
func (s *stream) join(ctx context.Context, op *wire.Op, has uint64) error {
	if parley.IsPattern(op.Room) {
		return s.session.ListenMany(ctx, op, func(dst []byte, at parley.Position) []byte {
			s.places.setAt(op.Room, at)
			return append(s.places.appendID(dst), '\n')
		})
	}
	var old uint64 // the newest message that is too old for what was asked
	if since := op.Start.Since; !since.IsZero() {
		var err error
		if old, err = s.server.sessions.Log.Since(ctx, op.Room, since); err != nil {
			return err
		}
	}
	return s.session.Listen(ctx, op, has, func(dst []byte, seq uint64) []byte {
		if op.Reader != "" { // which has said where to begin
			s.places.set(op.Room, *op.Start.After)
			return append(s.places.appendID(dst), '\n')
		}
		replays := op.Start.Last > 0 && seq > 0 || !op.Start.Since.IsZero() && old < seq
		if op.Start.After == nil && !replays {
			s.places.set(op.Room, seq)
		}
		before := len(dst)
		if dst = s.places.appendID(dst); len(dst) > before {
			dst = append(dst, '\n')
		}
		return dst
	})
}

func (s *stream) unwatch() {
	for _, w := range s.watches {
		w.Close()
	}
	s.watches = nil
}

// Take implements sock.Handler. A client has nothing to say here.
func (s *stream) Take(context.Context, []byte) error { return nil }

// Deadline implements sock.Handler.
func (s *stream) Deadline() time.Time { return time.Time{} }

// Late implements sock.Handler.
func (s *stream) Late(context.Context) error { return nil }

// End implements sock.Handler.
func (s *stream) End(ctx context.Context, err error) {
	s.server.beats.remove(s)
	if !s.Aborted() && (errors.Is(err, errRefused) || errors.Is(err, io.EOF) && s.Leaving()) {
		wait, cancel := context.WithTimeout(ctx, finishTime)
		s.session.Finish(wait)
		cancel()
	}
	s.session.Close()
	s.unwatch()
	s.Close()
}

// beat queues a heartbeat, unless something waits to be written: that will do as well, and a client
// that does not read is not owed one for every quarter of a minute.
func (s *stream) beat() {
	s.session.Append(func(_ wire.Encoding, dst []byte) []byte {
		if len(dst) > 0 {
			return dst
		}
		return append(dst, heartbeat...)
	})
}

// composed are buffers for events with a stream's own ids.
var composed = sync.Pool{New: func() any { return new([]byte) }}

// TryWrite implements room.Socket. The shared events of a stream of several rooms get its own ids on
// the way. What is taken of p is always whole events or, where one was written in part, that one but
// for its last byte: the outlet keeps that, and so comes back for the rest, which is kept here.
func (s *stream) TryWrite(p []byte) (int, error) {
	if s.places.shared {
		return s.Conn.TryWrite(p)
	}
	if len(s.owed) > 0 {
		n, err := s.Conn.TryWrite(s.owed)
		if s.owed = s.owed[n:]; err != nil || len(s.owed) > 0 {
			return 0, err
		}
		s.owed = nil
	}
	buf := composed.Get().(*[]byte)
	defer composed.Put(buf)
	taken := 0
	for taken < len(p) {
		*buf = s.places.compose((*buf)[:0], p[taken:])
		n, err := s.Conn.TryWrite(*buf)
		in, owed := s.places.accept(*buf, n)
		taken += in
		s.owed = append([]byte(nil), owed...)
		if err != nil || n < len(*buf) {
			return taken, err
		}
	}
	return taken, nil
}
