package quota_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"parley"
	"parley/quota"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	loopback = netip.MustParseAddr("127.0.0.1")
	far      = netip.MustParseAddr("192.0.2.1")
	other    = netip.MustParseAddr("192.0.2.2")
)

// none are limits without a limit of quota's.
func none() parley.Limits {
	return parley.Limits{Message: 1 << 10, Frame: 1 << 12, Inflight: 1, Rooms: 1, Page: 100}
}

func newQuota(t *testing.T, change func(*parley.Limits)) *quota.Quota {
	t.Helper()
	l := none()
	change(&l)
	q, err := quota.New(l)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func apply(t *testing.T, q *quota.Quota, l parley.Limits) {
	t.Helper()
	apply, err := q.Prepare(l)
	if err != nil {
		t.Fatal(err)
	}
	apply()
}

func connect(t *testing.T, q *quota.Quota, addr netip.Addr) *quota.Account {
	t.Helper()
	a, err := q.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// login connects a user who has shown a credential.
func login(t *testing.T, q *quota.Quota, addr netip.Addr, user string) *quota.Account {
	t.Helper()
	a := connect(t, q, addr)
	if err := a.Login(user, true); err != nil {
		t.Fatal(err)
	}
	return a
}

// refused checks an error and what was counted; retry: it says when to come back.
func refused(t *testing.T, q *quota.Quota, err error, code parley.Code, limit quota.Limit, retry bool) {
	t.Helper()
	var e *parley.Error
	if !errors.As(err, &e) || e.Code != code || (e.Retry > 0) != retry || e.Message == "" {
		t.Errorf("got %+v, want %s, retry %v", err, code, retry)
	}
	if q.Met()[limit] == 0 {
		t.Errorf("%s is not counted", limit)
	}
}

func TestConnectionsAreCountedAndGivenBack(t *testing.T) {
	t.Parallel()
	q := newQuota(t, func(l *parley.Limits) { l.Connections, l.ConnectionsPerAddress = 3, 2 })
	a, _ := connect(t, q, far), connect(t, q, far)
	_, err := q.Connect(far)
	refused(t, q, err, parley.RateLimited, quota.ConnectionsPerAddress, true)
	connect(t, q, other)
	_, err = q.Connect(loopback)
	refused(t, q, err, parley.Unavailable, quota.Connections, true)
	a.Close()
	a.Close()
	connect(t, q, far)
	_, err = q.Connect(other)
	refused(t, q, err, parley.Unavailable, quota.Connections, true)
}

func TestAnIPv6ClientIsItsNetwork(t *testing.T) {
	t.Parallel()
	q := newQuota(t, func(l *parley.Limits) { l.ConnectionsPerAddress = 1 })
	connect(t, q, netip.MustParseAddr("2001:db8:0:1::1"))
	_, err := q.Connect(netip.MustParseAddr("2001:db8:0:1:ffff::2"))
	refused(t, q, err, parley.RateLimited, quota.ConnectionsPerAddress, true)
	connect(t, q, netip.MustParseAddr("2001:db8:0:2::1"))
	connect(t, q, far)
	_, err = q.Connect(netip.MustParseAddr("::ffff:192.0.2.1"))
	refused(t, q, err, parley.RateLimited, quota.ConnectionsPerAddress, true)
}

// limited is every limit that this machine's own clients are let alone by.
func limited(l *parley.Limits) {
	l.ConnectionsPerAddress, l.ConnectionsPerUser, l.ConnectsPerSecond = 1, 1, 1
	l.SendsPerSecond, l.UserSendsPerSecond, l.JoinsPerSecond, l.HistoryPerSecond = 1, 1, 1, 1
}

func TestThisMachinesClientsAreLetAlone(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"} {
		q := newQuota(t, limited)
		for range 50 {
			a := login(t, q, netip.MustParseAddr(addr), "ada")
			for range 10 {
				if err := errors.Join(a.Send("r", false), a.Join("r"), a.Read(1)); err != nil {
					t.Fatalf("%s: %v", addr, err)
				}
			}
		}
	}
	q := newQuota(t, func(l *parley.Limits) { limited(l); l.Loopback = true })
	connect(t, q, loopback)
	_, err := q.Connect(loopback)
	refused(t, q, err, parley.RateLimited, quota.ConnectionsPerAddress, true)
}

func TestRatesOfASession(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limit quota.Limit
		set   func(*parley.Limits)
		act   func(*quota.Account) error
	}{
		"sends":   {quota.Sends, func(l *parley.Limits) { l.SendsPerSecond, l.SendsBurst = 2, 10 }, func(a *quota.Account) error { return a.Send("r", true) }},
		"joins":   {quota.Joins, func(l *parley.Limits) { l.JoinsPerSecond = 2 }, func(a *quota.Account) error { return a.Join("r") }},
		"history": {quota.History, func(l *parley.Limits) { l.HistoryPerSecond = 2 }, func(a *quota.Account) error { return a.Read(50) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := newQuota(t, tt.set)
				a, b := connect(t, q, far), connect(t, q, far)
				for range 10 { // the burst, or five seconds' worth
					if err := tt.act(a); err != nil {
						t.Fatal(err)
					}
				}
				err := tt.act(a)
				refused(t, q, err, parley.RateLimited, tt.limit, true)
				if retry := parley.AsError(err).Retry; retry > 500*time.Millisecond {
					t.Errorf("comes back after %v, though half a second is enough", retry)
				}
				if err := tt.act(b); err != nil {
					t.Errorf("another session: %v", err)
				}
				time.Sleep(parley.AsError(err).Retry)
				if err := tt.act(a); err != nil {
					t.Errorf("after the retry that it was told: %v", err)
				}
				if err := tt.act(a); err == nil {
					t.Error("one token was two")
				}
			})
		})
	}
}

func TestSendsOfAUserAreThoseOfAllSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.UserSendsPerSecond, l.UserSendsBurst = 1, 4 })
		a, b, bob := login(t, q, far, "ada"), login(t, q, other, "ada"), login(t, q, far, "bob")
		for range 2 {
			if err := errors.Join(a.Send("r", false), b.Send("r", false)); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, q, a.Send("r", false), parley.RateLimited, quota.UserSends, true)
		refused(t, q, b.Send("r", false), parley.RateLimited, quota.UserSends, true)
		if err := bob.Send("r", false); err != nil {
			t.Error(err)
		}
		a.Close()
		again := login(t, q, far, "ada")
		refused(t, q, again.Send("r", false), parley.RateLimited, quota.UserSends, true)
		time.Sleep(time.Second)
		if err := again.Send("r", false); err != nil {
			t.Error(err)
		}
	})
}

// Who has shown no credential is their address, whatever they call themselves; on this machine names
// are believed.
func TestNamesAreNoWayAroundALimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.UserSendsPerSecond, l.UserSendsBurst, l.Loopback = 1, 1, true })
		a := connect(t, q, far)
		if err := errors.Join(a.Login("ada", false), a.Send("r", false), a.Login("eve", false)); err != nil {
			t.Fatal(err)
		}
		refused(t, q, a.Send("r", false), parley.RateLimited, quota.UserSends, true)
		known := login(t, q, far, "ada")
		if err := known.Send("r", false); err != nil {
			t.Errorf("who can show who they are is another: %v", err)
		}
		b := connect(t, q, loopback)
		if err := errors.Join(b.Login("ada", false), b.Send("r", false), b.Login("eve", false), b.Send("r", false)); err != nil {
			t.Error(err)
		}
	})
}

func TestConnectionsOfAUser(t *testing.T) {
	t.Parallel()
	q := newQuota(t, func(l *parley.Limits) { l.ConnectionsPerUser = 2 })
	login(t, q, far, "ada")
	a := login(t, q, other, "ada")
	b := login(t, q, far, "bob")
	refused(t, q, b.Login("ada", true), parley.RateLimited, quota.ConnectionsPerUser, true)
	if err := a.Login("ada", true); err != nil {
		t.Errorf("who logs in again is who they are: %v", err)
	}
	if err := errors.Join(a.Login("eve", true), b.Login("ada", true)); err != nil {
		t.Error(err)
	}
}

func TestNewConnectionsOfAnAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.ConnectsPerSecond = 2 })
		for range 10 {
			connect(t, q, far).Close()
		}
		_, err := q.Connect(far)
		refused(t, q, err, parley.RateLimited, quota.Connects, true)
		connect(t, q, other)
		time.Sleep(parley.AsError(err).Retry)
		connect(t, q, far)
	})
}

func TestRefusedLogins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.RefusedLoginsPerSecond = 1 })
		a, b := connect(t, q, far), q.Visit(far)
		for range 5 {
			if err := a.MayLogin(); err != nil {
				t.Fatal(err)
			}
			a.LoginTried(true)
		}
		for range 100 { // those that are not looked at do not count
			refused(t, q, b.MayLogin(), parley.RateLimited, quota.RefusedLogins, true)
		}
		if err := connect(t, q, other).MayLogin(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		for range 100 { // those that are good do not count either
			if err := b.MayLogin(); err != nil {
				t.Fatal(err)
			}
			b.LoginTried(false)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.RefusedLoginsPerSecond = 1 })
		var all []*quota.Account
		for range 5 { // as many at once as may be refused at once
			a := q.Visit(far)
			if err := a.MayLogin(); err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		refused(t, q, q.Visit(far).MayLogin(), parley.RateLimited, quota.RefusedLogins, true)
		for _, a := range all {
			a.LoginTried(true)
		}
		refused(t, q, q.Visit(far).MayLogin(), parley.RateLimited, quota.RefusedLogins, true)
	})
}

func TestRequestsShareARate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.SendsPerSecond, l.SendsBurst = 1, 3 })
		request := func(user string) error {
			a := q.Visit(far)
			if user != "" {
				if err := a.Login(user, true); err != nil {
					t.Fatal(err)
				}
			}
			return a.Send("r", false)
		}
		for range 3 {
			if err := errors.Join(request(""), request("ada")); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, q, request(""), parley.RateLimited, quota.Sends, true)
		refused(t, q, request("ada"), parley.RateLimited, quota.Sends, true)
		if err := request("bob"); err != nil {
			t.Error(err)
		}
	})
}

func TestSlowMode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) {
			l.Slow = []parley.Slow{{Rooms: "news.urgent", Every: time.Second}, {Rooms: "news.*", Every: 5 * time.Second}}
		})
		a, b, bob := login(t, q, far, "ada"), login(t, q, loopback, "ada"), login(t, q, far, "bob")
		if err := errors.Join(a.Send("news.eu", false), bob.Send("news.eu", false), b.Send("news.us", false), a.Send("lobby", false)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		err := b.Send("news.eu", false)
		refused(t, q, err, parley.RateLimited, quota.SlowMode, true)
		if retry := parley.AsError(err).Retry; retry != 3*time.Second {
			t.Errorf("comes back after %v, want 3s", retry)
		}
		for range 10 {
			if err := errors.Join(a.Send("lobby", false), a.Send("news.eu", true)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		if err := errors.Join(b.Send("news.eu", false), a.Send("news.urgent", false)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := a.Send("news.urgent", false); err != nil {
			t.Errorf("the first pattern that fits counts: %v", err)
		}
	})
}

func TestSignalsBeyondTheLimitAreDroppedAndThatIsSaidAtTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.SignalsPerSecond = 10 })
		a := connect(t, q, loopback) // on this machine too
		taken, told := 0, 0
		for range 500 {
			ok, err := a.Signal()
			if ok {
				taken++
			}
			if err != nil {
				refused(t, q, err, parley.RateLimited, quota.Signals, true)
				told++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if taken < 95 || taken > 101 { // 50 at once, and 10 in each of 5 seconds
			t.Errorf("%d signals were taken", taken)
		}
		if told < 3 || told > 5 {
			t.Errorf("that was said %d times", told)
		}
		if dropped := q.Met()[quota.Signals]; dropped != int64(500-taken) {
			t.Errorf("%d are counted, %d were dropped", dropped, 500-taken)
		}
	})
}

func TestLimitsChangeForThoseWhoAreHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(*parley.Limits) {})
		a := login(t, q, far, "ada")
		for range 100 {
			if err := a.Send("news", false); err != nil {
				t.Fatal(err)
			}
		}
		l := none()
		l.SendsPerSecond, l.SendsBurst, l.Slow = 1, 2, []parley.Slow{{Rooms: "**", Every: time.Minute}}
		apply(t, q, l)
		if err := a.Send("news", false); err != nil {
			t.Fatal(err)
		}
		refused(t, q, a.Send("news", false), parley.RateLimited, quota.SlowMode, true)
		l.Slow[0].Rooms = "a..b"
		if _, err := q.Prepare(l); err == nil || !strings.Contains(err.Error(), "slow[0]") {
			t.Errorf("a pattern that is none: %v", err)
		}
		refused(t, q, a.Send("news", false), parley.RateLimited, quota.Sends, true)
		l.Slow, l.SendsPerSecond, l.SendsBurst = nil, 1000, 1000
		apply(t, q, l)
		if err := errors.Join(a.Send("news", false)); err == nil {
			t.Error("a bucket that grows is not full at once")
		}
		time.Sleep(time.Second)
		for range 1000 {
			if err := a.Send("news", false); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, q, a.Send("news", false), parley.RateLimited, quota.Sends, true)
	})
}

func TestLargePagesCountForSeveral(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.HistoryPerSecond = 10 }) // 50 at once, of 50 messages
		a, b := login(t, q, far, "ada"), login(t, q, far, "bob")
		if err := errors.Join(a.Read(1000), a.Read(1000), a.Read(500)); err != nil {
			t.Error(err)
		}
		err := a.Read(1000)
		refused(t, q, err, parley.RateLimited, quota.History, true)
		time.Sleep(parley.AsError(err).Retry)
		if err := a.Read(1000); err != nil {
			t.Error(err)
		}
		for range 50 {
			if err := b.Read(50); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Read(1); err == nil {
			t.Error("a small page costs nothing")
		}
	})
}

func TestPagesAreCut(t *testing.T) {
	t.Parallel()
	q := newQuota(t, func(l *parley.Limits) { l.Page = 20 })
	a := connect(t, q, loopback)
	if a.Page(20) != 20 || q.Met()[quota.Page] != 0 || a.Page(1000) != 20 || q.Met()[quota.Page] != 1 {
		t.Error("a page has not its size")
	}
}

func TestNoQuotaNoLimit(t *testing.T) {
	t.Parallel()
	var q *quota.Quota
	a, err := q.Connect(far)
	if a != nil || err != nil || q.Visit(far) != nil {
		t.Fatal(a, err)
	}
	ok, err := a.Signal()
	if err := errors.Join(err, a.Login("ada", true), a.MayLogin(), a.Send("r", false), a.Join("r"), a.Read(1), a.Operate(t.Context()), a.Calm(t.Context())); err != nil || !ok || a.Page(7) != 7 {
		t.Error(err, ok)
	}
	a.LoginTried(true)
	a.Close()
	q.Count(quota.Frame)
}
