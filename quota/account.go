package quota

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"parley"
)

// Account is what one client takes: a connection, or a single request. One goroutine at a time calls
// its methods. A nil Account is unlimited.
type Account struct {
	quota      *Quota
	addr       netip.Addr
	near       bool // a client of this machine
	connection bool // not a single request
	closed     atomic.Bool

	address *party
	user    *party // the address's until the user is known

	trying bool // a credential is looked at

	own  *own   // buckets of a session; made when one is needed
	room string // the last one that was entered
	slow slowRoom
}

// own is the buckets of a session; single requests share those of their user or address.
type own struct {
	sends, joins, history bucket
	signals, told         bucket // told: that signals are dropped
	refusals              bucket
	operations            bucket
}

// slowRoom remembers how slow a room is.
type slowRoom struct {
	room     string
	every    time.Duration
	settings *settings // under which that was so; nil = nothing is remembered
}

// comeBack is when to try again after a refusal that others must end.
const comeBack = 5 * time.Second

// Connect opens the account of a connection from addr.
func (q *Quota) Connect(addr netip.Addr) (*Account, error) {
	if q == nil {
		return nil, nil
	}
	s := q.settings.Load()
	if n := q.open.Add(1); s.connections > 0 && n > s.connections {
		q.open.Add(-1)
		return nil, q.turnAway(addr, q.refuse(Connections, comeBack, parley.Unavailable, "the server has as many connections as it takes"))
	}
	a := q.account(addr, true)
	t := s.terms(a.near)
	if a.address = q.parties.hold(partyKey{addr: ours(addr)}, t.perAddress); a.address == nil {
		q.open.Add(-1)
		return nil, q.turnAway(addr, q.refuse(ConnectionsPerAddress, comeBack, parley.RateLimited, "your address has %d connections, as many as one may have", t.perAddress))
	}
	a.user = a.address
	if wait := a.address.connects.take(t.connects, time.Now()); wait > 0 {
		a.Close()
		return nil, q.turnAway(addr, q.refuse(Connects, wait, parley.RateLimited, "your address connects more than %d times a second", t.connects.perSecond))
	}
	return a, nil
}

// ErrFlood is behind the refusal of a connection from an address that has been told often enough why: it
// need not be told again, and is best cut off at once.
var ErrFlood = errors.New("a flood of connections")

// told is how often an address is told why its connections are refused.
var told = paceOf(20, 50)

// turnAway adds to a refusal that it need not be said.
func (q *Quota) turnAway(addr netip.Addr, refusal error) error {
	if q.parties.find(partyKey{addr: ours(addr)}).told.take(told, time.Now()) > 0 {
		return parley.AsError(refusal).Because(ErrFlood)
	}
	return refusal
}

// Visit gives the account of a single request from addr; it need not be closed. Its rates are those of
// its user, or of its address, since a request has no session to have its own.
func (q *Quota) Visit(addr netip.Addr) *Account {
	if q == nil {
		return nil
	}
	a := q.account(addr, false)
	a.address = q.parties.find(partyKey{addr: ours(addr)})
	a.user, a.own = a.address, &a.address.own
	return a
}

func (q *Quota) account(addr netip.Addr, connection bool) *Account {
	return &Account{quota: q, addr: addr, near: addr.Unmap().IsLoopback(), connection: connection}
}

// Close closes the account. It may be called more than once, and by any goroutine.
func (a *Account) Close() {
	if a == nil || !a.connection || a.closed.Swap(true) {
		return
	}
	if a.user != a.address {
		a.quota.parties.release(a.user)
	}
	a.quota.parties.release(a.address)
	a.quota.open.Add(-1)
}

// terms are those for a client of this machine, or from elsewhere.
func (s *settings) terms(near bool) *terms {
	if near {
		return &s.near
	}
	return &s.far
}

// limits are the settings in force, and the client's terms.
func (a *Account) limits() (*settings, *terms) {
	s := a.quota.settings.Load()
	return s, s.terms(a.near)
}

// mine are the session's own buckets.
func (a *Account) mine() *own {
	if a.own == nil {
		a.own = new(own)
	}
	return a.own
}

// MayLogin says whether a credential is looked at: not if too many from this address were refused
// lately, so that nobody can guess, or keep the server busy with, very many.
func (a *Account) MayLogin() error {
	if a == nil {
		return nil
	}
	_, t := a.limits()
	if t.logins.perSecond == 0 {
		return nil
	}
	wait := a.address.logins.look(t.logins, time.Now())
	if n := a.address.tries.Add(1); wait > 0 || n > t.logins.burst {
		a.address.tries.Add(-1)
		return a.quota.refuse(RefusedLogins, max(wait, time.Second), parley.RateLimited, "too many logins from your address were refused")
	}
	a.trying = true
	return nil
}

// LoginTried says what became of a credential that MayLogin has let be looked at.
func (a *Account) LoginTried(refused bool) {
	if a == nil || !a.trying {
		return
	}
	a.trying = false
	if _, t := a.limits(); refused && t.logins.perSecond > 0 {
		a.address.logins.reserve(t.logins, time.Now()) // those that were looked at meanwhile are owed
	}
	a.address.tries.Add(-1)
}

// Login says who the client is. known: they have shown a credential. A name alone is believed on
// this machine; a client from elsewhere that has none is its address, whatever it calls itself,
// since names cost nothing. After an error the client is who it was.
func (a *Account) Login(user string, known bool) error {
	if a == nil {
		return nil
	}
	key := partyKey{user: user}
	switch {
	case !known && !a.near:
		key = a.address.key
	case !known:
		key.addr = a.address.key.addr
	}
	if key == a.user.key {
		return nil
	}
	if !a.connection {
		a.user = a.quota.parties.find(key)
		a.own = &a.user.own
		return nil
	}
	_, t := a.limits()
	p := a.address
	if key != p.key {
		if p = a.quota.parties.hold(key, t.perUser); p == nil {
			return a.quota.refuse(ConnectionsPerUser, comeBack, parley.RateLimited, "%d sessions are yours, as many as a user may have", t.perUser)
		}
	}
	if a.user != a.address {
		a.quota.parties.release(a.user)
	}
	a.user = p
	return nil
}

// Send asks for a message to be sent to a room. Moderators are not slowed by slow mode.
func (a *Account) Send(room string, moderator bool) error {
	if a == nil {
		return nil
	}
	s, t := a.limits()
	if t.sends.perSecond > 0 || t.userSends.perSecond > 0 || len(s.slow) > 0 {
		now := time.Now()
		if err := a.paced(t, now, "send more than %d messages a second"); err != nil {
			return err
		}
		if len(s.slow) > 0 && !moderator {
			if err := a.slowly(s, room, now); err != nil {
				return err
			}
		}
	}
	return a.enter(s, room)
}

// Write asks for something to be written or passed on that costs what a message costs: what becomes of a
// job, where a reader is, a question, an answer.
func (a *Account) Write() error {
	if a == nil {
		return nil
	}
	_, t := a.limits()
	if t.sends.perSecond == 0 && t.userSends.perSecond == 0 {
		return nil
	}
	return a.paced(t, time.Now(), "send, ask and finish more than %d times a second")
}

// Take asks to take jobs of a room's: it costs what a message costs, and makes a room.
func (a *Account) Take(room string) error {
	if a == nil {
		return nil
	}
	if err := a.Write(); err != nil {
		return err
	}
	s, _ := a.limits()
	return a.enter(s, room)
}

// paced asks for one more at the rates of sends. what says what there was too much of.
func (a *Account) paced(t *terms, now time.Time, what string) error {
	if t.sends.perSecond > 0 {
		if wait := a.mine().sends.take(t.sends, now); wait > 0 {
			return a.quota.refuse(Sends, wait, parley.RateLimited, "you "+what, t.sends.perSecond)
		}
	}
	if wait := a.user.sends.take(t.userSends, now); wait > 0 {
		return a.quota.refuse(UserSends, wait, parley.RateLimited, "you "+what+", over all your sessions", t.userSends.perSecond)
	}
	return nil
}

// slowly asks for a message to be sent to a room that may be in slow mode.
func (a *Account) slowly(s *settings, room string, now time.Time) error {
	if a.slow.settings != s || a.slow.room != room {
		a.slow = slowRoom{room: room, settings: s}
		for _, r := range s.slow {
			if r.rooms.Match(room) {
				a.slow.every = r.every
				break
			}
		}
	}
	every := a.slow.every
	if every == 0 {
		return nil
	}
	if wait := a.quota.clocks.take(a.user.key, room, every, now); wait > 0 {
		return a.quota.refuse(SlowMode, wait, parley.RateLimited, "%s is in slow mode: one message every %v", room, every)
	}
	return nil
}

// enter makes a room, where there is none.
func (a *Account) enter(s *settings, room string) error {
	perUser, inAll := s.all.RoomsPerUser, s.all.RoomsInAll
	if room == a.room || perUser == 0 && inAll == 0 {
		return nil
	}
	met, ok := a.quota.rooms.enter(room, a.user, perUser, inAll)
	switch {
	case ok:
		a.room = room
		return nil
	case met == RoomsPerUser:
		return a.quota.refuse(met, 0, parley.Conflict, "you have made %d rooms, as many as a user may", perUser)
	}
	return a.quota.refuse(met, 0, parley.Conflict, "there are %d rooms, as many as there may be", inAll)
}

// Join asks to join a room.
func (a *Account) Join(room string) error {
	if a == nil {
		return nil
	}
	if err := a.joinPaced("join"); err != nil || parley.IsPattern(room) { // which makes no room
		return err
	}
	s, _ := a.limits()
	return a.enter(s, room)
}

// Serve asks to serve a room, at the rate of joins. It makes no room.
func (a *Account) Serve() error {
	if a == nil {
		return nil
	}
	return a.joinPaced("serve")
}

func (a *Account) joinPaced(verb string) error {
	_, t := a.limits()
	if t.joins.perSecond == 0 {
		return nil
	}
	if wait := takeBoth(&a.mine().joins, &a.user.joins, t.joins, 1); wait > 0 {
		return a.quota.refuse(Joins, wait, parley.RateLimited, "you %s more than %d rooms a second", verb, t.joins.perSecond)
	}
	return nil
}

// Read asks for a page of up to so many messages, or for a list that is as much work.
func (a *Account) Read(messages int) error {
	if a == nil {
		return nil
	}
	_, t := a.limits()
	if t.history.perSecond == 0 {
		return nil
	}
	pages := max(1, (messages+parley.DefaultPage-1)/parley.DefaultPage)
	if wait := takeBoth(&a.mine().history, &a.user.history, t.history, pages); wait > 0 {
		return a.quota.refuse(History, wait, parley.RateLimited, "you ask for more than %d pages of %d messages a second", t.history.perSecond, parley.DefaultPage)
	}
	return nil
}

// userShare is how many sessions' worth of joins and pages all sessions of a user have together.
const userShare = 4

// takeBoth takes tokens of a session's bucket and of its user's.
func takeBoth(own, user *bucket, p pace, n int) (wait time.Duration) {
	now := time.Now()
	if wait = own.takeN(p, now, n); wait > 0 {
		return wait
	}
	return user.takeN(p.times(userShare), now, n)
}

// Page is how many messages a page has for which asked are asked.
func (a *Account) Page(asked int) int {
	if a == nil {
		return asked
	}
	if most := a.quota.settings.Load().all.Page; asked > most && most > 0 {
		a.quota.Count(Page)
		return most
	}
	return asked
}

// Signal asks to signal. What is beyond the limit is dropped, since a signal is of no use later; the
// error says so once a second, and is nil in between.
func (a *Account) Signal() (ok bool, err error) {
	if a == nil {
		return true, nil
	}
	p := a.quota.settings.Load().signals
	if p.perSecond == 0 {
		return true, nil
	}
	now, m := time.Now(), a.mine()
	wait := m.signals.take(p, now)
	switch {
	case wait == 0:
		return true, nil
	case m.told.take(pace{1, 1}, now) > 0:
		a.quota.Count(Signals)
		return false, nil
	}
	return false, a.quota.refuse(Signals, wait, parley.RateLimited, "more than %d signals a second: some are dropped", p.perSecond)
}

// Operate counts an operation, of whatever kind, and waits where there are too many: who asks for more
// than the server does for one is read slower. The error is ctx's.
func (a *Account) Operate(ctx context.Context) error {
	if a == nil {
		return nil
	}
	_, t := a.limits()
	if t.operations.perSecond == 0 {
		return nil
	}
	now := time.Now()
	wait := a.mine().operations.reserve(t.operations, now)
	wait = max(wait, a.user.operations.reserve(t.operations.times(userShare), now))
	if wait == 0 {
		return nil
	}
	a.quota.Count(Operations)
	return pause(ctx, wait)
}

// pause waits. The error is ctx's.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Who is refused again and again is not cut off, since it may know no better; but it is read slower,
// so that what it is refused costs little.
const (
	refusalsPerSecond = 10 // that cost a client nothing, in the long run
	refusalsBurst     = 100
	calmFor           = 100 * time.Millisecond // for each beyond
)

// Calm is called when the client was refused something for a rate. It holds back who is refused very
// often. The error is ctx's.
func (a *Account) Calm(ctx context.Context) error {
	if a == nil || a.mine().refusals.take(pace{refusalsPerSecond, refusalsBurst}, time.Now()) == 0 {
		return nil
	}
	return pause(ctx, calmFor)
}
