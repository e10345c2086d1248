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
	if err := check(); err != nil {
		if parley.AsError(err).Code == parley.Unauthorized {
			c.account.LoginRefused()
			s.refused(c.client(), &wire.Op{Kind: hookKind, Room: room}, err)
		}
		return c, err
	}
	c.user = user
	c.who = &auth.Principal{User: user, Grants: sends}
	return c, c.account.Login(user, true)
}

// hookKind is what the audit log calls a delivery to a hook.
const hookKind wire.Kind = "hook"
