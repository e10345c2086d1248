package e2e_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// event is one line of a history: what a client or the test has done, and what came of it. A
// publish, sub or final is invoked and then ok, fail (it surely had no effect) or info (nobody
// knows); recv, close and fault only happen. A retry is another publish of the same msg.
type event struct {
	T    int64  `json:"t"`    // ns since the history began
	Type string `json:"type"` // invoke, ok, fail, info
	Op   string `json:"op"`   // publish, sub, recv, gap, close, final, fault

	ID       string  `json:"id,omitempty"` // pairs an invoke with what came of it
	Client   string  `json:"client,omitempty"`
	Sess     string  `json:"sess,omitempty"`
	Room     string  `json:"room,omitempty"`
	Msg      string  `json:"msg,omitempty"`
	Seq      uint64  `json:"seq,omitempty"`
	Prev     *uint64 `json:"prev,omitempty"`
	Hash     string  `json:"hash,omitempty"` // of the body
	From     *uint64 `json:"from,omitempty"` // sub: the position it begins behind
	CaughtUp *bool   `json:"caught_up,omitempty"`
	Items    []item  `json:"items,omitempty"`
	Node     string  `json:"node,omitempty"`
	Name     string  `json:"name,omitempty"` // of a fault
	Reason   string  `json:"reason,omitempty"`
}

// item is a message as a room holds it in the end: [seq, msg, hash].
type item struct {
	seq       uint64
	msg, hash string
}

func (i item) MarshalJSON() ([]byte, error) { return json.Marshal([]any{i.seq, i.msg, i.hash}) }

func (i *item) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&i.seq, &i.msg, &i.hash})
}

// hash names a body in a history.
func hash(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:6])
}

// recorder writes a history. It is safe for concurrent use.
type recorder struct {
	path  string
	began time.Time

	mu    sync.Mutex
	file  *os.File
	buf   *bufio.Writer
	ids   int
	acked int           // publishes that were ok
	more  chan struct{} // closed when another is; nil where nobody waits
}

// newRecorder writes to a file of the test's, which is kept where the test fails.
func newRecorder(t testing.TB) *recorder {
	t.Helper()
	r := &recorder{path: filepath.Join(t.TempDir(), "history.jsonl"), began: time.Now()}
	f, err := os.Create(r.path)
	if err != nil {
		t.Fatal(err)
	}
	r.file, r.buf = f, bufio.NewWriter(f)
	t.Cleanup(func() {
		_ = r.file.Close()
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

// add writes an event, with the time of now.
func (r *recorder) add(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(e)
}

// invoke writes the beginning of something and gives its id.
func (r *recorder) invoke(e event) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids++
	e.ID, e.Type = fmt.Sprint(r.ids), "invoke"
	r.write(e)
	return e.ID
}

func (r *recorder) write(e event) {
	e.T = time.Since(r.began).Nanoseconds()
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // no event has what cannot be JSON
	}
	_, _ = r.buf.Write(append(line, '\n')) // an error stays until the flush
	if e.Op == "publish" && e.Type == "ok" {
		r.acked++
		if r.more != nil {
			close(r.more)
			r.more = nil
		}
	}
}

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
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.buf.Flush(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var list []event
	for d := json.NewDecoder(f); d.More(); {
		var e event
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}
