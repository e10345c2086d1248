package session

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"parley"
	"parley/auth"
	"parley/quota"
	"parley/wire"
)

// The gate: every operation, whatever it came by, passes permit before anything is done about it.

// rights are what the operations take in their room. One that is not here is not let through.
var rights = map[wire.Kind]func(op *wire.Op) auth.Right{
	wire.Hello:     none,
	wire.Ping:      none,
	wire.Leave:     none,
	wire.Quit:      none,
	wire.ListRooms: none, // it shows what one may see
	wire.Join:      joining,
	wire.Send:      takes(auth.Send),
	wire.History:   takes(auth.History),
	wire.Members:   takes(auth.Members),
	wire.Signal:    takes(auth.Signal),
	wire.Revoke:    takes(auth.Admin),
	wire.Drain:     takes(auth.Admin),
	wire.Take:      takes(auth.Work),
	wire.Stop:      none,
	wire.Done:      finishing,
	wire.Retry:     takes(auth.Work),
	wire.Release:   takes(auth.Work),
	wire.Fail:      takes(auth.Work),
	wire.Busy:      takes(auth.Work),
	wire.Ask:       takes(auth.Ask),
	wire.Serve:     takes(auth.Work),
	wire.Answer:    takes(auth.Work),

	wire.ListGroups:  takes(auth.Work),
	wire.ListReaders: takes(auth.History),
	wire.ListHooks:   takes(auth.Admin),
	wire.Remove:      takes(auth.Moderate),
}

func none(*wire.Op) auth.Right { return 0 }

func takes(r auth.Right) func(*wire.Op) auth.Right {
	return func(*wire.Op) auth.Right { return r }
}

// joining is what a join takes: to be shown what was said before is a right of its own, and so is
// to be shown who is there.
func joining(op *wire.Op) auth.Right {
	r := auth.Join
	if op.Start.Replays() || op.Reader != "" {
		r |= auth.History
	}
	if op.Presence {
		r |= auth.Members
	}
	return r
}

// permit says whether somebody may do op. The error is what the client is told.
func (s *Server) permit(who *auth.Principal, op *wire.Op) error {
	takes, ok := rights[op.Kind]
	if !ok {
		return parley.Errorf(parley.BadRequest, "no operation %q", op.Kind)
	}
	if parley.IsPattern(op.Room) && op.Kind != wire.Join && op.Kind != wire.Leave {
		return parley.Errorf(parley.BadRequest, "%s is a pattern: it can be joined, and this is done in a room", op.Room)
	}
	right, allowed := takes(op), false
	switch right {
	case 0: // but a list is much work, and not for who will not see a room in it
		allowed = op.Kind != wire.ListRooms || !closed(who)
	case auth.Admin:
		allowed = who.Grants.Everywhere(right) // what it does is not done in a room
	default:
		allowed = allows(who, right, op.Room)
	}
	if allowed {
		return nil
	}
	return denial(who, right, op.Room)
}

// denials say what somebody may not do.
var denials = []struct {
	right auth.Right
	what  string
}{
	{auth.Join, "you may not join "},
	{auth.History, "you may not read what was said in "},
	{auth.Send, "you may not send in "},
	{auth.Members, "you may not see who is in "},
	{auth.Signal, "you may not signal in "},
	{auth.Work, "you may not work in "},
	{auth.Ask, "you may not ask in "},
	{auth.Moderate, "you may not moderate "},
}

// denial is the answer to who lacks a right: who may do nothing at all must first say who it is.
func denial(who *auth.Principal, right auth.Right, in string) error {
	if who.Anonymous && len(who.Grants) == 0 {
		return errNobody
	}
	var so auth.Right // of a pattern, each may be held in some room, and both in none
	for _, d := range denials {
		if so |= right & d.right; right&d.right != 0 && !allows(who, so, in) {
			return parley.Errorf(parley.Denied, "%s%s", d.what, in)
		}
	}
	return parley.Errorf(parley.Denied, "you may not do that")
}

var errNobody = parley.Errorf(parley.Unauthorized, "say first who you are: a token is needed")

// sees says whether a list of rooms shows a room to somebody.
func sees(who *auth.Principal, room string) bool {
	return who.Grants.Allows(auth.Join, room) || who.Grants.Allows(auth.History, room)
}

// closed says that somebody may do nothing: it has yet to say who it is.
func closed(who *auth.Principal) bool { return who.Anonymous && len(who.Grants) == 0 }

// HelloMost is how many bytes of a line or message are kept that has not ended, while its client has yet
// to say who it is: as much as the longest credential takes, and to spare.
const HelloMost = 2 * auth.MaxCredential

// Stranger says whether the client may do nothing until it says who it is.
func (s *Session) Stranger() bool { return closed(s.principal()) }

// ErrStranger is for a stranger that has more to say than that.
var ErrStranger = parley.Errorf(parley.TooLarge, "who has not said who it is sends at most %d bytes at once", HelloMost)

// anyone is who says nothing, where nobody has to.
var anyone = &auth.Principal{Anonymous: true, Grants: auth.All()}

// guarded says that grants are in force.
func (s *Server) guarded() bool { return s.Auth != nil && s.Auth.On() }

// anonymous is who has not said who it is.
func (s *Server) anonymous() *auth.Principal {
	if s.Auth == nil {
		return anyone
	}
	return s.Auth.Anonymous()
}

// Where grants are in force, a name that was only given bears a mark in front, which no user's has:
// nobody can look like somebody who has proved it.
const unproven = "~"

// called gives the name somebody goes by that has proved none: given is what it calls itself.
func (s *Server) called(given string) (string, error) {
	if given == "" || !s.guarded() {
		return given, nil
	}
	name, err := parley.ParseName(unproven + strings.TrimPrefix(given, unproven))
	if err != nil {
		return "", parley.Errorf(parley.BadRequest, "a name that is not proved has at most %d characters", parley.MaxUserName-len(unproven))
	}
	return name, nil
}

// mayBeCalled says whether somebody that has proved no name may go by this one. It may not where the name
// was given while nobody had to say who they are, and now they have to.
func (s *Server) mayBeCalled(name string) bool {
	return name == "" || strings.HasPrefix(name, unproven) || !s.guarded()
}

// gate lets an operation of the session's pass, or says why not.
func (s *Session) gate(op *wire.Op) error {
	who := s.principal()
	if e := s.ended.Load(); e != nil { // whoever it is
		return e
	}
	if err := s.server.permit(who, op); err != nil {
		s.server.refused(s.client(), op, err)
		return err
	}
	return s.server.charge(s.account, who, op)
}

// MayJoin says whether the session may join a room, without a trace of the question.
func (s *Session) MayJoin(name string) bool {
	return s.server.permit(s.principal(), &wire.Op{Kind: wire.Join, Room: name}) == nil
}

// Caller is who makes a request.
type Caller struct {
	who  *auth.Principal
	user string // "" = a guest's name, if it becomes a session
	from netip.AddrPort

	account *quota.Account
}

// Caller finds who makes a request from an address, by the credential it shows, or by the name it gives: "", or
// one checked by ParseName.
func (s *Server) Caller(ctx context.Context, from netip.AddrPort, credential, name string) (Caller, error) {
	c := Caller{from: from, account: s.Quota.Visit(from.Addr())}
	var err error
	if c.who, err = s.login(ctx, c.account, credential); err != nil {
		s.refused(c.client(), &wire.Op{Kind: wire.Hello}, err)
		return c, err
	}
	if c.user = c.who.User; c.who.Anonymous {
		if c.user, err = s.called(name); err != nil {
			return c, err
		}
	}
	return c, c.account.Login(c.user, !c.who.Anonymous)
}

// Permit says whether a caller may do what it asks for; the error is what it is told. It counts who it is
// now: its word may have ended, or been revoked, since it was found.
func (s *Server) Permit(c Caller, op *wire.Op) error {
	who, err := s.renew(c)
	if err == nil {
		err = s.permit(who, op)
	}
	if err != nil {
		s.refused(c.client(), op, err)
	}
	return err
}

// renew gives who a caller is by what is granted now.
func (s *Server) renew(c Caller) (*auth.Principal, error) {
	switch {
	case s.Auth == nil:
		return c.who, nil
	case c.who.Anonymous && !s.mayBeCalled(c.user):
		return nil, errNobody
	}
	return s.Auth.Renew(c.who)
}

// Administers says whether a caller may see and do what concerns the whole server; what is the word
// for that in the audit log.
func (s *Server) Administers(c Caller, what string) error {
	if c.who.Grants.Everywhere(auth.Admin) {
		return nil
	}
	err := denial(c.who, auth.Admin, "")
	s.refused(c.client(), &wire.Op{Kind: wire.Kind(what)}, err)
	return err
}

// MayBackUp says whether a caller may have all that the server holds. Where nobody has to say who they are
// it takes being here, on the same machine.
func (s *Server) MayBackUp(c Caller, here bool) error {
	const what = "backup"
	if err := s.Administers(c, what); err != nil {
		return err
	}
	if !s.guarded() && !here {
		err := parley.Errorf(parley.Denied, "where nobody has to say who they are, a backup is made from the server's own machine")
		s.refused(c.client(), &wire.Op{Kind: what}, err)
		return err
	}
	if s.Audit != nil {
		s.Audit.Acted(c.client(), what, "")
	}
	return nil
}

// lasts is how long somebody's word counts, from now on; ok is false where that has no end.
func lasts(who *auth.Principal, now time.Time) (d time.Duration, ok bool) {
	if who.Expires.IsZero() {
		return 0, false
	}
	return max(0, who.Expires.Sub(now)), true
}
