package session

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"parley"
	"parley/ask"
	"parley/audit"
	"parley/auth"
	"parley/quota"
	"parley/room"
	"parley/wire"
	"parley/work"
)

// Server is what all sessions of a server share.
type Server struct {
	Log    parley.Log
	Hub    *room.Hub
	Work   work.Books
	Desk   *ask.Desk
	Limits parley.Limits // where there is no Quota
	Logger *slog.Logger

	Auth  *auth.Authority // who may do what; nil = anyone may do anything
	Audit *audit.Log      // who came and what they did; nil = none
	Quota *quota.Quota    // what each may take, and the limits in force; nil = no rates

	// Servers gives the addresses of all nodes that a client may come to, for welcome; nil = there
	// is one.
	Servers func() []string

	// Drain has the server end in order. It may be called again, and returns at once; nil = it cannot
	// be told to by a client.
	Drain func()

	Hooks func() []wire.HookEntry // the hooks that post, by name; nil = there are none

	sessions register // where grants may be in force
	refusals meter
	revoker  atomic.Pointer[revoker]
	parting  atomic.Pointer[Parting]
}

// Conn is what a session needs of its connection.
type Conn interface {
	room.Socket
	// Leave ends the reading of the connection, as when the client has closed its side: what is
	// in flight is answered, then it closes. Any goroutine may call it.
	Leave()
	// Addr is the client's address.
	Addr() net.Addr
}

// Session is one connection. Its methods are called by the one goroutine that reads the
// connection; answers may be written by others.
type Session struct {
	server *Server
	conn   Conn
	id     parley.SessionID
	out    *room.Outlet
	enc    wire.Encoding

	user    string
	slots   chan struct{} // one for each send in flight; made at the first send
	account *quota.Account

	expelling sync.Mutex // held over expel; before mu

	mu      sync.Mutex      // what is here, others change too when what is granted changes
	who     *auth.Principal // whom it acts for
	timer   *time.Timer     // ends the session when who's word does; nil = that has no end
	members []*room.Member
	closed  bool

	takings  []*taking  // the groups it takes from
	readings []*reading // the rooms it is in as a reader
	servings []*serving // the rooms whose questions come to it

	ended atomic.Pointer[parley.Error] // why it was dismissed; nil = it was not
}

// ErrEnd is returned by Do when the session is over: the transport finishes it and closes.
var ErrEnd = errors.New("the session is over")

// New makes a session that answers through conn. It has a guest's name until it gives its own, and
// may do what anybody may until it says who it is.
func (s *Server) New(conn Conn, enc wire.Encoding) *Session {
	var random [13]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	id := parley.SessionID(binary.LittleEndian.Uint64(random[:8]))
	ss := &Session{server: s, conn: conn, id: id, enc: enc, user: guest(random[8:]), who: s.anonymous()}
	ss.out = s.Hub.NewOutlet(conn, id, enc)
	if s.guarded() {
		ss.user = unproven + ss.user
	}
	ss.out.Rename(ss.user, enc)
	if s.Audit != nil {
		s.Audit.Connected(ss.client())
	}
	if s.Auth != nil {
		ss.mu.Lock()
		ss.limitTime()
		ss.mu.Unlock()
		s.sessions.add(ss)
		ss.recheck() // for what has changed before it stood there to be found
	}
	return ss
}

// guest makes a guest's name from random bytes.
func guest(random []byte) string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789" // 32, none like another
	var b strings.Builder
	b.WriteString("guest-")
	for _, r := range random {
		b.WriteByte(letters[r%32])
	}
	return b.String()
}

// User is the name the session goes by.
func (s *Session) User() string { return s.user }

// ID is the session's id.
func (s *Session) ID() parley.SessionID { return s.id }

// Use changes the session's encoding; its cursors keep their places.
func (s *Session) Use(enc wire.Encoding) {
	s.enc = enc
	s.out.Rename(s.user, enc)
}

// Paced waits while the session has too many answers unread, or does too much: for a transport that
// answers without Do.
func (s *Session) Paced(ctx context.Context) error {
	if err := s.account.Operate(ctx); err != nil {
		return err
	}
	return s.out.Ready(ctx)
}

// Refuse answers with an error. One that is no parley.Error is our fault: people read that
// something went wrong, and our log says what.
func (s *Session) Refuse(ref []byte, err error) {
	e := parley.AsError(err)
	if e.Code == parley.Internal {
		s.server.Logger.Error("operation failed", "session", s.id, "err", err)
	}
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Error(dst, ref, e) })
}

// Tell writes a line of the server's own to a plain client.
func (s *Session) Tell(lines ...string) {
	s.out.Reply(func(_ wire.Encoding, dst []byte) []byte {
		for _, l := range lines {
			dst = wire.TextBare{}.Answer(dst, l)
		}
		return dst
	})
}

// Raw writes bytes as they are: a greeting, or an answer in a protocol that is not ours.
func (s *Session) Raw(text string) {
	s.out.Reply(func(_ wire.Encoding, dst []byte) []byte { return append(dst, text...) })
}

// Finish waits until every send in flight is answered and every answer written. Nothing more is read
// then, so the jobs that the session holds go to others at once.
func (s *Session) Finish(ctx context.Context) {
	s.quitWork()
	for range cap(s.slots) {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
	_ = s.out.Drain(ctx) // a client that does not read its last answers is left
}

// Close ends the session: it leaves its rooms and writes nothing more.
func (s *Session) Close() {
	s.mu.Lock()
	s.closed = true
	s.stopTimer()
	s.mu.Unlock()
	if s.server.Auth != nil {
		s.server.sessions.remove(s)
	}
	if s.server.Audit != nil {
		why := ""
		if e := s.ended.Load(); e != nil {
			why = e.Message
		}
		s.server.Audit.Ended(s.client(), why)
	}
	s.quitWork()
	s.out.Close()
	s.account.Close()
}
