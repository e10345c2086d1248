package quota_test

import (
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/quota"
)

// What is written beside messages counts as messages do, and neither slow mode nor the bounds of rooms do
// for it; to take jobs makes a room, to serve one makes none.
func TestWhatIsWrittenCountsAsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) {
			l.SendsPerSecond, l.SendsBurst = 1, 3
			l.Slow = []parley.Slow{{Rooms: "**", Every: time.Hour}}
		})
		a := login(t, q, far, "ada")
		for _, err := range []error{a.Send("r", true), a.Write(), a.Take("r")} {
			if err != nil {
				t.Error(err)
			}
		}
		refused(t, q, a.Write(), parley.RateLimited, quota.Sends, true)
		refused(t, q, a.Take("r"), parley.RateLimited, quota.Sends, true)
		refused(t, q, a.Send("r", true), parley.RateLimited, quota.Sends, true)
		time.Sleep(time.Second)
		if err := a.Write(); err != nil { // though the room is in slow mode
			t.Error(err)
		}
	})
}

func TestWhatIsWrittenCountsForTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.UserSendsPerSecond, l.UserSendsBurst = 1, 2 })
		a, b := login(t, q, far, "ada"), login(t, q, other, "ada")
		if err := a.Write(); err != nil {
			t.Error(err)
		}
		if err := b.Take("r"); err != nil {
			t.Error(err)
		}
		refused(t, q, a.Write(), parley.RateLimited, quota.UserSends, true)
		if err := login(t, q, far, "bob").Write(); err != nil {
			t.Error(err)
		}
	})
}

func TestServingCountsAsJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.JoinsPerSecond = 1 })
		a := login(t, q, far, "ada")
		var err error
		for n := 0; err == nil && n < 100; n++ {
			if err = a.Serve(); err == nil {
				err = a.Join("r")
			}
		}
		refused(t, q, err, parley.RateLimited, quota.Joins, true)
	})
}

// Nobody is charged where there are no rates.
func TestWithoutRatesNothingCosts(t *testing.T) {
	t.Parallel()
	var none *quota.Account
	a := login(t, newQuota(t, func(*parley.Limits) {}), far, "ada")
	for _, account := range []*quota.Account{none, a} {
		for range 1000 {
			for _, err := range []error{account.Write(), account.Take("r"), account.Serve()} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
