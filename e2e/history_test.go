package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/e2e/history"
)

// What is written down is what every fault test writes.
type (
	event = history.Event
	item  = history.Item
)

func hash(body string) string { return history.Hash(body) }

// recorder writes a history, and lets others wait for what is acknowledged. It is safe for
// concurrent use.
type recorder struct {
	*history.Recorder
	path  string
	began time.Time

	mu    sync.Mutex
	acked int           // publishes that were ok
	more  chan struct{} // closed when another is; nil where nobody waits
}

// newRecorder writes to a file of the test's, which is kept where the test fails.
func newRecorder(t testing.TB) *recorder {
	t.Helper()
	r := &recorder{path: filepath.Join(t.TempDir(), "history.jsonl"), began: time.Now()}
	var err error
	if r.Recorder, err = history.Create(r.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		if t.Failed() {
			r.keep(t)
		}
	})
	return r
}

func (r *recorder) keep(t testing.TB) {
	name := "parley-" + strings.ReplaceAll(t.Name(), "/", "-") + "-" + r.began.Format("150405") + ".jsonl"
	kept := filepath.Join(os.TempDir(), name)
	data, err := os.ReadFile(r.path)
	if err == nil {
		err = os.WriteFile(kept, data, 0o600)
	}
	t.Logf("the history is kept in %s (%v)", kept, err)
}

// add writes an event.
func (r *recorder) add(e event) {
	r.Add(e)
	if e.Op != "publish" || e.Type != "ok" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked++
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

// invoke writes the beginning of something and gives its id.
func (r *recorder) invoke(e event) string { return r.Invoke(e) }

// await waits until n more publishes are acknowledged.
func (r *recorder) await(t testing.TB, n int) {
	t.Helper()
	late := time.After(2 * patience)
	r.mu.Lock()
	want := r.acked + n
	for r.acked < want {
		if r.more == nil {
			r.more = make(chan struct{})
		}
		more, left := r.more, want-r.acked
		r.mu.Unlock()
		select {
		case <-more:
		case <-late:
			t.Fatalf("%d of %d publishes have not been acknowledged within %v", left, n, 2*patience)
		}
		r.mu.Lock()
	}
	r.mu.Unlock()
}

// events reads the history back.
func (r *recorder) events(t testing.TB) []event {
	t.Helper()
	list, err := r.Events()
	if err != nil {
		t.Fatal(err)
	}
	return list
}
