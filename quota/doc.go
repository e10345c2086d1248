// Package quota bounds what one client, one user and one address may take of a server, as
// [parley.Limits] say.
//
// A transport asks for an [Account] when a client comes ([Quota.Connect], or [Quota.Visit] for one
// request) and closes it when the client goes. Before a session acts it asks the account:
// [Account.Login], [Account.Send], [Account.Join] and so on give nil, or the [parley.Error] that the
// client reads. Each refusal is counted by the limit that was met.
//
// Rates are token buckets: a session has its own, and those of a user or an address are shared by all
// its sessions. Where no limit is set nothing is locked, and the clock is not read. The package knows
// nothing of sockets, of grants, or of what is said.
package quota
