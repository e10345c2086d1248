package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"parley"
	"parley/auth"
	"parley/room"
	"parley/wire"
)

// Whom a session acts for, how long that counts, and how it ends when it counts no longer.

// ErrRefused is returned by Do when the client was told that it is not let in: the transport
// finishes the session and closes.
var ErrRefused = errors.New("refused, and told why")

// hello says who the client is: by a token, or by a name that is only given.
func (s *Session) hello(ctx context.Context, op *wire.Op) error {
	if err := s.identify(ctx, op); err != nil {
		return err
	}
	w := wire.Welcome{User: s.user, Session: s.id, Limits: *s.server.Bounds()}
	if s.server.Servers != nil {
		w.Servers = s.server.Servers()
	}
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Welcome(dst, op.Ref, w) })
	return nil
}

func (s *Session) identify(ctx context.Context, op *wire.Op) error {
	was := s.principal()
	who, err := was, error(nil)
	if op.Token != "" {
		who, err = s.server.login(ctx, s.account, op.Token)
	}
	switch {
	case err == nil && closed(who):
		err = errNobody
		fallthrough
	case err != nil && parley.AsError(err).Code == parley.Unauthorized:
		s.server.refused(s.client(), op, err)
		s.Refuse(op.Ref, err)
		return ErrRefused
	case err != nil:
		return err
	case who.Anonymous && op.Name != "":
		name, err := s.server.called(op.Name)
		if err == nil {
			err = s.account.Login(name, false)
		}
		if err != nil {
			return err
		}
		s.user = name
	case !who.Anonymous && !was.Anonymous && was.User != who.User:
		return parley.Errorf(parley.Conflict, "this session is %s's: connect again to be somebody else", was.User)
	case !who.Anonymous:
		if err := s.account.Login(who.User, true); err != nil {
			return err
		}
		s.user = who.User
	}
	s.out.Rename(s.user, s.enc)
	s.actFor(who)
	if s.ended.Load() != nil {
		return ErrRefused
	}
	return nil
}

// Be makes the session one of a caller's, who has been found before there was a session. It ends at once
// if the caller has too many.
func (s *Session) Be(c Caller) {
	if c.user != "" {
		s.user = c.user
	}
	s.out.Rename(s.user, s.enc)
	s.actFor(c.who)
	if err := s.account.Login(s.user, !c.who.Anonymous); err != nil {
		s.dismiss(parley.AsError(err))
	}
}

// principal is whom the session acts for.
func (s *Session) principal() *auth.Principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who
}

// actFor has the session act for somebody, as long as its word counts. Rooms it may not be in any
// more are left. Once it is dismissed it acts for nobody, whoever comes.
func (s *Session) actFor(who *auth.Principal) {
	s.mu.Lock()
	changed := s.who != who && s.ended.Load() == nil
	if changed {
		s.who = who
		s.limitTime()
	}
	s.mu.Unlock()
	if changed {
		s.granted(who)
		s.expel()
	}
	if s.server.Auth != nil { // what is granted may have changed since it was looked up
		s.recheck()
	}
}

// limitTime has the session end when the word of who it acts for does, or, where that may do nothing,
// when nobody has said in time who this is. s.mu is held.
func (s *Session) limitTime() {
	s.stopTimer()
	who, end := s.who, errEnded
	after, ends := lasts(who, time.Now())
	if !ends && closed(who) {
		after, end = s.server.Bounds().Handshake, errSilent
		ends = after > 0
	}
	if !ends || s.closed {
		return
	}
	s.timer = time.AfterFunc(after, func() {
		if s.principal() == who { // it may have become another at the last moment
			s.dismiss(end)
		}
	})
}

// stopTimer stops the timer. s.mu is held.
func (s *Session) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

var (
	errEnded   = parley.Errorf(parley.Unauthorized, "your token has ended: connect again with a new one")
	errRevoked = parley.Errorf(parley.Unauthorized, "your access has been revoked")
	errSilent  = parley.Errorf(parley.Unauthorized, "nobody said who this is in time: a token is needed")
	errAsked   = parley.Errorf(parley.Unauthorized, "one has to say who one is here from now on: connect again")
)

// nobody is who a dismissed session acts for.
var nobody = &auth.Principal{Anonymous: true}

// leaveTime is how long a dismissed session may take to read why, and to have answered what is in
// flight. Then it is cut.
const leaveTime = 8 * time.Second

// dismiss tells the client why, and ends the session: it leaves its rooms, and what it has sent and was
// not carried out yet is not. Any goroutine may call it.
func (s *Session) dismiss(e *parley.Error) {
	if !s.ended.CompareAndSwap(nil, e) {
		return
	}
	s.mu.Lock()
	s.who = nobody
	s.stopTimer()
	if !s.closed {
		s.timer = time.AfterFunc(leaveTime, s.conn.Abort)
	}
	for _, m := range s.members {
		m.Leave()
	}
	s.members = nil
	s.mu.Unlock()
	s.Refuse(nil, e)
	s.conn.Leave()
}

// expel takes the session out of rooms that it may not be in any more, and has its patterns show what
// it may see now. The client is told of the former.
func (s *Session) expel() {
	s.expelling.Lock()
	defer s.expelling.Unlock()
	s.mu.Lock()
	who, kept := s.who, s.members[:0:0]
	var gone []string
	var changed []*room.Member
	for _, m := range s.members {
		stays, fits := s.fits(m)
		if stays {
			kept = append(kept, m)
		} else {
			gone = append(gone, m.Room())
			s.unread(m.Room())
		}
		if !fits {
			m.Leave()
		}
		if stays && !fits {
			changed = append(changed, m)
		}
	}
	s.members = kept
	banned := s.banWork()
	s.mu.Unlock()
	for _, b := range banned {
		b.end()
		s.Refuse(nil, parley.Errorf(parley.Denied, "you may not work in %s any more", b.room))
	}
	for _, name := range gone {
		s.left(name, parley.Errorf(parley.Denied, "you may not be in %s any more", name))
	}
	for _, m := range changed {
		s.change(m, shown(who, m.Room()))
	}
}

// mayStay says whether the session may be in a room; s.mu is held.
func (s *Session) mayStay(name string, watches bool) bool {
	return s.server.permit(s.who, &wire.Op{Kind: wire.Join, Room: name, Presence: watches}) == nil
}

// register are the sessions whose right to be here may end.
type register struct {
	mu  sync.Mutex
	all map[*Session]struct{}
}

func (r *register) add(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[*Session]struct{})
	}
	r.all[s] = struct{}{}
}

func (r *register) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, s)
}

func (r *register) list() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Session, 0, len(r.all))
	for s := range r.all {
		all = append(all, s)
	}
	return all
}

// Recheck holds every session against what is granted now, after a change of that: sessions of who
// is revoked or not known any more end, others leave the rooms they may not be in.
func (s *Server) Recheck() {
	for _, ss := range s.sessions.list() {
		ss.recheck()
	}
}

func (s *Session) recheck() {
	was := s.principal()
	if s.ended.Load() != nil {
		return
	}
	who, err := s.server.Auth.Renew(was)
	switch {
	case err != nil:
		s.dismiss(errRevoked)
	case who.Anonymous && !s.server.mayBeCalled(s.out.User()):
		s.dismiss(errAsked)
	case who != was:
		s.actFor(who)
	}
}
