// Package audit keeps the log of who came, what they were granted, what they were refused, and what they
// did to others: one structured line each. It never holds a token, a body or any other secret, and
// whatever a value holds, it stays within its line and does nothing to the screen that shows it.
package audit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"parley"
)

// Log writes the lines. A nil Log writes none, and costs nothing. Its methods may be called by any
// goroutine.
type Log struct {
	handler slog.Handler
	out     *output // nil = the handler's own
}

// Where lines can go, beside a file.
const (
	Stderr = "stderr"
	Off    = "off"
)

// Open makes the log that a configuration asks for: Stderr, Off (nil) or the name of a file, which
// gets JSON lines at its end and is nobody else's to read. On stderr the form is text or json, as
// that of the server's own log. What cannot be written is said in failures, once until it can be again.
func Open(to, form string, stderr io.Writer, failures *slog.Logger) (*Log, error) {
	switch to {
	case Off:
		return nil, nil
	case Stderr:
		return newLog(&output{w: stderr, failures: failures}, form), nil
	}
	o := &output{name: to, failures: failures}
	if err := o.open(); err != nil {
		return nil, err
	}
	return newLog(o, "json"), nil
}

// New makes a log whose lines go to h, which has to keep values within them.
func New(h slog.Handler) *Log { return &Log{handler: h} }

func newLog(o *output, form string) *Log {
	var h slog.Handler
	if form == "json" {
		h = slog.NewJSONHandler(escaper{o}, nil)
	} else {
		h = slog.NewTextHandler(o, nil) // it writes with quotes, and escaped, what is not printable
	}
	return &Log{handler: h.WithAttrs([]slog.Attr{slog.String("log", "audit")}), out: o}
}

// Reopen opens the file anew, for who moves it away to begin another. One that cannot be opened
// leaves the old one in use.
func (l *Log) Reopen() error {
	if l == nil || l.out == nil || l.out.name == "" {
		return nil
	}
	return l.out.open()
}

// Close closes the file, if there is one. Nothing is written afterwards.
func (l *Log) Close() error {
	if l == nil || l.out == nil {
		return nil
	}
	return l.out.close()
}

// Client is of whom a line tells. What is not known is left out.
type Client struct {
	User      string // as the server knows them
	Session   parley.SessionID
	Transport string         // tcp, ws, sse or http
	Address   netip.AddrPort // theirs, behind proxies that are trusted
}

// attrs are a client's fields, in a fixed order.
func (c Client) attrs(more ...slog.Attr) []slog.Attr {
	attrs := make([]slog.Attr, 0, 4+len(more))
	if c.User != "" {
		attrs = append(attrs, slog.String("user", c.User))
	}
	if c.Session != 0 {
		attrs = append(attrs, slog.String("session", c.Session.String()))
	}
	if c.Transport != "" {
		attrs = append(attrs, slog.String("transport", c.Transport))
	}
	if c.Address.IsValid() {
		attrs = append(attrs, slog.String("address", c.Address.String()))
	}
	return append(attrs, more...)
}

func (l *Log) write(event string, attrs []slog.Attr) {
	ctx := context.Background()
	if !l.handler.Enabled(ctx, slog.LevelInfo) {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, event, 0)
	r.AddAttrs(attrs...)
	_ = l.handler.Handle(ctx, r) // output says what it cannot write
}

// Connected says that a client has become a session.
func (l *Log) Connected(c Client) {
	if l != nil {
		l.write("connected", c.attrs())
	}
}

// Refused says that a client was not let in, or not let do something: op is what it asked for, room
// where ("" = nowhere). Of the error, only what the client was told is written.
func (l *Log) Refused(c Client, op, room string, err error) {
	if l == nil {
		return
	}
	e := parley.AsError(err)
	l.write("refused", c.attrs(subject(op, room, slog.String("code", string(e.Code)), slog.String("why", e.Message))...))
}

// Granted says what a client may do from now on: by is what it showed (the name of an API key, a token's
// id; never a token), grants the sum of them.
func (l *Log) Granted(c Client, by string, grants fmt.Stringer) {
	if l == nil {
		return
	}
	attrs := []slog.Attr{slog.String("grants", grants.String())}
	if by != "" {
		attrs = append(attrs, slog.String("by", by))
	}
	l.write("granted", c.attrs(attrs...))
}

// Ended says that a session is over: why is "" where the client went by itself.
func (l *Log) Ended(c Client, why string) {
	if l == nil {
		return
	}
	if why == "" {
		why = "left"
	}
	l.write("ended", c.attrs(slog.String("why", why)))
}

// Acted says that a client has done what takes the right to moderate or to administer: op is what,
// room where ("" = everywhere), and details to whom.
func (l *Log) Acted(c Client, op, room string, details ...slog.Attr) {
	if l != nil {
		l.write("acted", c.attrs(subject(op, room, details...)...))
	}
}

// subject are the fields of what was asked for.
func subject(op, room string, more ...slog.Attr) []slog.Attr {
	attrs := []slog.Attr{slog.String("op", op)}
	if room != "" {
		attrs = append(attrs, slog.String("room", room))
	}
	return append(attrs, more...)
}

// output is where lines end up. It has its own lock, since a file may be opened anew.
type output struct {
	name     string // of the file; "" = none of its own
	failures *slog.Logger

	mu     sync.Mutex
	w      io.Writer
	file   *os.File
	failed bool // the last line could not be written
	closed bool
}

// open opens the file and puts it in the place of the one before.
func (o *output) open() error {
	f, err := os.OpenFile(o.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.file
	if o.closed {
		old = f
	} else {
		o.file, o.w = f, f
	}
	if old != nil {
		return old.Close()
	}
	return nil
}

// Write writes one line.
func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return len(line), nil
	}
	n, err := o.w.Write(line)
	if err != nil && !o.failed && o.failures != nil {
		o.failures.Error("the audit log cannot be written", "err", err)
	}
	o.failed = err != nil
	return n, err
}

func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	o.closed = true
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}
