package hooks_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"parley/hooks"
)

// A hook says how it fares: since when nothing is taken and why, until something is.
func TestHowAHookFares(t *testing.T) {
	t.Parallel()
	var status atomic.Int32
	status.Store(500)
	b := newBench(t)
	s := newSink(t, func(w http.ResponseWriter, _ *request) { w.WriteHeader(int(status.Load())) })
	o := b.hook("h", s.url+"/secret?k=secret", "a", "b.*")
	o.Backoff, o.Tries = time.Millisecond, 1000
	b.use(o)
	b.stats("h", func(st hooks.Stats) bool {
		if st.To != s.url || strings.Contains(st.To, "secret") || !slices.Equal(st.Rooms, []string{"a", "b.*"}) {
			t.Errorf("it posts to %s what is in %q", st.To, st.Rooms)
		}
		return st.LastSuccess.IsZero() && st.FailingSince.IsZero() && st.Why == ""
	})
	begun := time.Now()
	b.say("a", "0")
	var since time.Time
	b.stats("h", func(st hooks.Stats) bool {
		since = st.FailingSince
		return st.Why == "answered 500 Internal Server Error" && !since.Before(begun) && st.LastSuccess.IsZero()
	})
	status.Store(503)
	b.stats("h", func(st hooks.Stats) bool { // the why is the last one's, the since the first one's
		return st.Why == "answered 503 Service Unavailable" && st.FailingSince.Equal(since)
	})
	status.Store(200)
	b.stats("h", func(st hooks.Stats) bool {
		return st.FailingSince.IsZero() && st.Why == "" && st.LastSuccess.After(since) && st.Behind == 0
	})
	status.Store(410)
	b.say("a", "1")
	b.stats("h", func(st hooks.Stats) bool {
		return st.Gone && st.Why == "answered 410 Gone" && !st.FailingSince.IsZero() && st.Behind == 1
	})
	status.Store(200)
	o.Timeout = time.Minute // another configuration
	b.use(o)
	b.stats("h", func(st hooks.Stats) bool {
		return !st.Gone && st.Why == "" && st.FailingSince.IsZero() && st.Behind == 0
	})
}
