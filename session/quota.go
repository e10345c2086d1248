package session

import (
	"context"
	"net"

	"parley"
	"parley/auth"
	"parley/quota"
	"parley/wire"
)

// What each session and caller may take: behind the gate, everything is charged to an account.

// Bounds are the limits in force. They are shared: never change them.
func (s *Server) Bounds() *parley.Limits {
	if s.Quota == nil {
		return &s.Limits
	}
	return s.Quota.Limits()
}

// Connect opens the account of a connection, before anything is made for it.
func (s *Server) Connect(from net.Addr) (*quota.Account, error) {
	return s.Quota.Connect(address(from).Addr())
}

// Charge has the session take from an account, which it closes in the end. It is called once, before
// the session does anything.
func (s *Session) Charge(a *quota.Account) { s.account = a }

// Admit is Permit for what a caller does now: it is charged for it.
func (s *Server) Admit(ctx context.Context, c Caller, op *wire.Op) error {
	if err := s.Permit(c, op); err != nil {
		return err
	}
	err := s.charge(c.account, c.who, op)
	if err == nil {
		return nil
	}
	if e := calm(ctx, c.account, err); e != nil {
		return e
	}
	return err
}

// calm holds a client back that is refused again and again for a rate. err is what it was refused with;
// the error is ctx's.
func calm(ctx context.Context, a *quota.Account, err error) error {
	if parley.AsError(err).Code != parley.RateLimited {
		return nil
	}
	return a.Calm(ctx)
}

// login finds whose a credential is, if the account may try one. Where nobody has to say who they are,
// it is not looked at.
func (s *Server) login(ctx context.Context, a *quota.Account, credential string) (*auth.Principal, error) {
	if credential == "" || !s.guarded() {
		return s.anonymous(), nil
	}
	if err := a.MayLogin(); err != nil {
		return nil, err
	}
	who, err := s.Auth.Check(ctx, credential)
	a.LoginTried(err != nil && parley.AsError(err).Code == parley.Unauthorized)
	return who, err
}
