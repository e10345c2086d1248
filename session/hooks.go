package session

import (
	"net/netip"

	"parley"
	"parley/auth"
	"parley/wire"
)

// sends is what a hook may do: where it sends to is in its configuration.
var sends = func() auth.Grants {
	everywhere, err := auth.ParsePattern("**")
	if err != nil {
		panic(err)
	}
	return auth.Grants{{Rooms: everywhere, May: auth.Send}}
}()

// HookCaller finds whether who comes from an address is the hook it asks for: check looks at its signature,
// and its error is what it is told. user is who the hook's messages are from, room where they go. Wrong
// signatures count as logins that were refused.
func (s *Server) HookCaller(from netip.AddrPort, user, room string, check func() error) (Caller, error) {
	c := Caller{from: from, account: s.Quota.Visit(from.Addr())}
	if err := c.account.MayLogin(); err != nil {
		return c, err
	}
	err := check()
	wrong := err != nil && parley.AsError(err).Code == parley.Unauthorized
	c.account.LoginTried(wrong)
	if wrong {
		s.refused(c.client(), &wire.Op{Kind: wire.Kind(user), Room: room}, err)
	}
	if err != nil {
		return c, err
	}
	c.user = user
	c.who = &auth.Principal{User: user, Grants: sends}
	return c, c.account.Login(user, true)
}
