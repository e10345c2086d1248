package session

import (
	"parley"
	"parley/auth"
	"parley/quota"
	"parley/wire"
)

// price asks an account for an operation of somebody's. The error is what the client is told.
type price func(s *Server, a *quota.Account, who *auth.Principal, op *wire.Op) error

// prices are what the operations cost. One that is not here is not let through. What costs nothing still
// counts as an operation: see quota.Account.Operate.
var prices = map[wire.Kind]price{
	wire.Hello: free, // credentials that are refused have a rate of their own, and so have connections
	wire.Ping:  free,
	wire.Leave: free,
	wire.Quit:  free,
	wire.Stop:  free,
	wire.Busy:  free, // it moves a time in memory; refused, it would cost the worker its job

	wire.Release: free, // likewise: refused, it would keep the job from those who would begin it
	wire.Drain:   free, // an admin's, and the server's last

	wire.Signal: free, // here: its own handler drops what is too much

	wire.Send: func(s *Server, a *quota.Account, who *auth.Principal, op *wire.Op) error {
		return a.Send(op.Room, s.Quota.Slow() && !who.Anonymous && who.Grants.Allows(auth.Moderate, op.Room))
	},
	wire.Ask:    writes, // to all who serve the room
	wire.Answer: free,   // the question was paid for; refused, who asked would wait in vain
	wire.Done: func(_ *Server, a *quota.Account, _ *auth.Principal, op *wire.Op) error {
		if op.Job != "" {
			return nil // it was paid for when its message was sent; refused, it would be done again
		}
		return a.Write()
	},
	wire.Retry:  writes,
	wire.Fail:   writes,
	wire.Remove: writes,
	wire.Revoke: writes,
	wire.Take: func(_ *Server, a *quota.Account, _ *auth.Principal, op *wire.Op) error {
		return a.Take(op.Room)
	},

	wire.Join: func(_ *Server, a *quota.Account, _ *auth.Principal, op *wire.Op) error {
		return a.Join(op.Room)
	},
	wire.Serve: func(_ *Server, a *quota.Account, _ *auth.Principal, _ *wire.Op) error {
		return a.Serve()
	},

	wire.History: func(_ *Server, a *quota.Account, _ *auth.Principal, op *wire.Op) error {
		op.Limit = a.Page(op.Limit)
		return a.Read(op.Limit)
	},
	wire.Members:     reads(0),
	wire.ListRooms:   reads(parley.MaxPage), // every room is looked at
	wire.ListGroups:  reads(parley.MaxPage), // likewise every group
	wire.ListReaders: reads(parley.MaxPage), // and every reader
	wire.ListHooks:   reads(0),
}

func free(*Server, *quota.Account, *auth.Principal, *wire.Op) error { return nil }

// writes is the price of what is written or passed on like a message, and is none of a room.
func writes(_ *Server, a *quota.Account, _ *auth.Principal, _ *wire.Op) error { return a.Write() }

// reads is the price of a list that is as much work as so many messages.
func reads(messages int) price {
	return func(_ *Server, a *quota.Account, _ *auth.Principal, _ *wire.Op) error { return a.Read(messages) }
}

// charge asks an account for an operation of somebody's.
func (s *Server) charge(a *quota.Account, who *auth.Principal, op *wire.Op) error {
	ask, ok := prices[op.Kind]
	if !ok {
		return parley.Errorf(parley.BadRequest, "no operation %q", op.Kind)
	}
	return ask(s, a, who, op)
}
