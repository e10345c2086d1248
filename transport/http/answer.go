package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"parley"
	"parley/quota"
	"parley/transport/sock"
)

// statuses are those of the codes.
var statuses = map[parley.Code]int{
	parley.BadRequest:   http.StatusBadRequest,
	parley.Unauthorized: http.StatusUnauthorized,
	parley.Denied:       http.StatusForbidden,
	parley.NotFound:     http.StatusNotFound,
	parley.Conflict:     http.StatusConflict,
	parley.TooLarge:     http.StatusRequestEntityTooLarge,
	parley.RateLimited:  http.StatusTooManyRequests,
	parley.Internal:     http.StatusInternalServerError,
	parley.Unavailable:  http.StatusServiceUnavailable,
	parley.NoResponders: http.StatusServiceUnavailable,
	parley.Timeout:      http.StatusGatewayTimeout,
}

// statusError is an error whose status says more than its code.
type statusError struct {
	status int
	err    *parley.Error
}

func (e statusError) Error() string { return e.err.Error() }

// Unwrap gives the error that has the code.
func (e statusError) Unwrap() error { return e.err }

var (
	errSlow   = statusError{http.StatusRequestTimeout, parley.Errorf(parley.BadRequest, "the body did not come in time")}
	errMethod = statusError{http.StatusMethodNotAllowed, parley.Errorf(parley.BadRequest, "this method is not for this path")}
)

// retryAfter is when to come back where the error has no hint.
const retryAfter = time.Second

// problem is an error as RFC 9457 has it.
type problem struct {
	Type   string      `json:"type"`
	Title  string      `json:"title"`
	Status int         `json:"status"`
	Detail string      `json:"detail"`
	Code   parley.Code `json:"code"`
}

// fail answers with an error: the one place that makes a status of a code.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := parley.AsError(err)
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		e = parley.Errorf(parley.Unavailable, "the client has gone") // nobody reads it
	}
	status := statuses[e.Code]
	if se := (statusError{}); errors.As(err, &se) {
		status = se.status
	}
	if status == 0 {
		status = http.StatusInternalServerError
	}
	if e.Code == parley.Internal {
		s.logger.Error("request failed", "err", err)
	}
	if e.Code == parley.Unavailable || e.Code == parley.RateLimited {
		w.Header().Set("Retry-After", seconds(e.Retry))
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	p := problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: e.Message, Code: e.Code}
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, status, p)
}

// seconds is when to come back, as Retry-After has it.
func seconds(retry time.Duration) string {
	return strconv.FormatInt(int64((max(retry, retryAfter)+time.Second-1)/time.Second), 10)
}

// write answers with a value as JSON.
func write(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // no value of ours cannot be encoded
	}
	writeJSON(w, status, b.Bytes())
}

// writeJSON answers with JSON, a newline at its end.
func writeJSON(w http.ResponseWriter, status int, b []byte) {
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that has gone does not read it
}

// writeFrame answers with a frame of the JSON encoding, without its op, which the path has said.
func writeFrame(w http.ResponseWriter, frame []byte) {
	_, rest, _ := bytes.Cut(frame, []byte(","))
	writeJSON(w, http.StatusOK, append([]byte{'{'}, rest...))
}

// setSafe sets the headers of every answer: what is said here is data, of this moment, for this site
// unless it is shared with another.
func setSafe(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if h.Get("Cross-Origin-Resource-Policy") == "" {
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
	}
	h.Set("Referrer-Policy", "no-referrer")
}

// bodyError says what went wrong when a body was read.
func bodyError(err error) error {
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return parley.Errorf(parley.TooLarge, "a body has at most %d bytes", tooBig.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlow
	}
	return parley.Errorf(parley.BadRequest, "the body could not be read").Because(err)
}

// writer is a http.ResponseWriter that knows its status, and gives away the connection below its guard.
type writer struct {
	http.ResponseWriter
	client  net.Addr       // as a proxy says; nil: who is at the other end
	account *quota.Account // its, where the request may become a connection; nil: that of the guard
	status  int
}

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Hijack implements http.Hijacker.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	if g := unguard(nc); g != nil {
		nc = g.Conn
	}
	if w.client != nil {
		nc = sock.From(nc, w.client)
	}
	w.account = nil // whoever has the connection closes it
	return nc, rw, nil
}
