package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"parley"
	"parley/transport/sock"
)

// Backup writes all that the server holds to w, as a file.
type Backup func(ctx context.Context, w io.Writer) error

// backup answers who administers with all that the server holds: GET /backup. One is made at a time. An
// answer that breaks off is cut, so that nobody takes it for whole.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) error {
	caller, err := s.caller(r)
	if err != nil {
		return err
	}
	if s.config.Backup == nil {
		return parley.Errorf(parley.NotFound, "there is nothing to back up here")
	}
	if r.Method == http.MethodHead {
		return errMethod
	}
	if err := s.sessions.MayBackUp(caller, here(r)); err != nil {
		return err
	}
	if !s.backingUp.CompareAndSwap(false, true) {
		return parley.Errorf(parley.Conflict, "a backup is being made: one at a time")
	}
	defer s.backingUp.Store(false)
	h := w.Header()
	h.Set("Content-Type", "application/x-tar")
	h.Set("Content-Disposition", `attachment; filename="parley-`+time.Now().UTC().Format("20060102T150405Z")+`.tar"`)
	out := &patient{w: w, control: http.NewResponseController(w)}
	err = s.config.Backup(r.Context(), out)
	switch {
	case err == nil:
		return nil
	case out.begun:
		s.logger.Error("a backup broke off", "err", err)
		panic(http.ErrAbortHandler)
	}
	h.Del("Content-Disposition")
	return err
}

// here says whether a request surely comes from this machine: neither from a page in a browser nor
// through a proxy.
func here(r *http.Request) bool {
	for _, name := range []string{"Origin", "Sec-Fetch-Site", "Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	return sock.ClientAddr(r).Addr().Unmap().IsLoopback()
}

// patient is an answer that takes as long as it has to, as long as its client goes on reading.
type patient struct {
	w       io.Writer
	control *http.ResponseController
	begun   bool
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	p.begun = true
	if err := p.control.SetWriteDeadline(time.Now().Add(answerTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}
