package logtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"parley"
)

// Settings are what a test asks of the log it is given. 0 is the implementation's own default,
// which keeps at least a thousand messages a room, and for an hour.
type Settings struct {
	RetainMessages int
	MaxInflight    int // at least 600; appends with small bodies count one each
}

// Harness is a fresh, empty log and the ways to steer it.
type Harness struct {
	Log  parley.Log
	Tick func()                  // returns when the log's clock has gone on by a millisecond or more
	Hold func() (release func()) // nothing becomes durable until release
	Many bool                    // others may write the same journals
	Fail func(error)             // the disk fails for good; called while held or before any append
}

// Run checks everything that parley.Log promises. open makes a log for one test and closes it with
// the test's cleanup.
func Run(t *testing.T, open func(t *testing.T, s Settings) Harness) {
	for _, test := range []struct {
		name     string
		settings Settings
		run      func(*testing.T, Harness)
	}{
		{"an unknown room is empty", Settings{}, unknownRoom},
		{"messages come back as appended, in order, with exact prevs", Settings{}, comeBack},
		{"what is for workers comes back", Settings{}, forWorkers},
		{"one sender's appends keep their order", Settings{}, keepOrder},
		{"an id is stored once per room and sender, only where it may be retried", Settings{}, storedOnce},
		{"a retry while the first is on its way gets the first seq", Settings{}, retryInFlight},
		{"the body is not kept", Settings{}, bodyNotKept},
		{"pages join without seam", Settings{}, pagesJoin},
		{"a page ends at MaxPageBytes", Settings{}, pageBytes},
		{"reads at every edge", Settings{}, readEdges},
		{"back finds every position", Settings{}, backPositions},
		{"since finds every time", Settings{}, sincePositions},
		{"rooms are listed by name", Settings{}, listRooms},
		{"a read ends with its context", Settings{}, readCancelled},
		{"follow begins at last while appends race", Settings{}, followRaces},
		{"follow shows each message once though its room is read", Settings{}, followAndRead},
		{"stop stops", Settings{}, stopStops},
		{"a room has one follower", Settings{}, oneFollower},
		{"retention is per room and tells", Settings{RetainMessages: 10}, retention},
		{"followed rooms tell retention too", Settings{RetainMessages: 10}, retentionFollowed},
		{"nothing is trimmed where nothing was removed", Settings{RetainMessages: 100}, notTrimmed},
		{"nothing is shown before it is durable", Settings{}, notBeforeDurable},
		{"a duplicate waits for the first to be durable", Settings{}, duplicateWaits},
		{"a failed disk acks and shows nothing more", Settings{}, failedDisk},
		{"too much in flight makes append wait, and its context ends that", Settings{MaxInflight: 600}, backPressure},
		{"a tail of many rooms shows each room's messages once and in order", Settings{}, followMany},
		{"tails of many rooms begin while appends race", Settings{}, followManyTogether},
		{"pages of many rooms join without seam", Settings{}, readMany},
		{"since finds the time in many rooms", Settings{}, sinceMany},
		{"retention is told for each of many rooms", Settings{RetainMessages: 10}, manyTrimmed},
		{"nothing of many rooms is shown before it is durable", Settings{}, manyNotBeforeDurable},
		{"it does what the model does", Settings{}, model},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t, test.settings)) })
	}
}

// patience is how long anything may take that is bound to happen.
const patience = 30 * time.Second

// tb is what the helpers need of a test, whether testing's or rapid's.
type tb interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// outcome is what done was told.
type outcome struct {
	parley.Receipt
	err error
}

// appendAsync appends and gives the channel on which the outcome comes, once.
func appendAsync(t tb, l parley.Log, d parley.Draft) <-chan outcome {
	t.Helper()
	c := make(chan outcome, 2)
	if err := l.Append(context.Background(), d, func(r parley.Receipt, err error) { c <- outcome{r, err} }); err != nil {
		t.Fatalf("append to %q: %v", d.Room, err)
	}
	return c
}

func wait(t tb, c <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-c:
		return o
	case <-time.After(patience):
		t.Fatal("no outcome of an append")
		return outcome{}
	}
}

// put appends and waits until it is durable.
func put(t tb, l parley.Log, d parley.Draft) parley.Receipt {
	t.Helper()
	o := wait(t, appendAsync(t, l, d))
	if o.err != nil {
		t.Fatalf("append to %q: %v", d.Room, o.err)
	}
	return o.Receipt
}

// say puts a text message and gives its seq.
func say(t tb, l parley.Log, room, body string) uint64 {
	t.Helper()
	return put(t, l, text(room, body)).Seq
}

func text(room, body string) parley.Draft {
	return parley.Draft{Room: room, ID: "id-" + body, From: "ada", Body: []byte(body)}
}

// fill says n messages in the room, each behind one in another room of the same name with a dash.
func fill(t tb, l parley.Log, room string, n int) []uint64 {
	t.Helper()
	seqs := make([]uint64, n)
	for i := range seqs {
		say(t, l, room+"-", fmt.Sprint("between ", i))
		seqs[i] = say(t, l, room, fmt.Sprint(i))
	}
	return seqs
}

func read(t tb, l parley.Log, room string, after uint64, limit int) parley.Page {
	t.Helper()
	p, err := l.Read(context.Background(), room, after, limit)
	if err != nil {
		t.Fatalf("read %q after %d: %v", room, after, err)
	}
	return p
}

// readAll reads page by page and checks that they join.
func readAll(t tb, l parley.Log, room string, limit int) []*parley.Message {
	t.Helper()
	var all []*parley.Message
	for after := uint64(0); ; {
		p := read(t, l, room, after, limit)
		if p.Trimmed {
			t.Fatalf("read %q after %d: trimmed", room, after)
		}
		if p.More && len(p.Messages) == 0 {
			t.Fatalf("read %q after %d: more behind nothing", room, after)
		}
		all = append(all, p.Messages...)
		if !p.More {
			checkChain(t, all)
			return all
		}
		after = p.Messages[len(p.Messages)-1].Seq
	}
}

// checkChain checks that seqs rise and each prev is the seq in front.
func checkChain(t tb, ms []*parley.Message) {
	t.Helper()
	for i := 1; i < len(ms); i++ {
		if ms[i].Seq <= ms[i-1].Seq {
			t.Fatalf("seq %d behind %d", ms[i].Seq, ms[i-1].Seq)
		}
		if ms[i].Prev != ms[i-1].Seq {
			t.Fatalf("prev of %d is %d, want %d", ms[i].Seq, ms[i].Prev, ms[i-1].Seq)
		}
	}
}

func seqsOf(ms []*parley.Message) []uint64 {
	out := make([]uint64, len(ms))
	for i, m := range ms {
		out[i] = m.Seq
	}
	return out
}

func wantSeqs(t tb, what string, got []*parley.Message, want []uint64) {
	t.Helper()
	if !slices.Equal(seqsOf(got), want) {
		t.Fatalf("%s: seqs %v, want %v", what, seqsOf(got), want)
	}
}

// listener collects what a follower is given, and fails the test where deliver overlaps.
type listener struct {
	t    tb
	busy sync.Mutex
	mu   sync.Mutex
	got  []*parley.Message
	grew chan struct{}
}

func listen(t *testing.T, l parley.Log, room string) (ls *listener, last uint64, stop func()) {
	t.Helper()
	ls = &listener{t: t, grew: make(chan struct{}, 1)}
	last, stop, err := l.Follow(context.Background(), room, ls.deliver)
	if err != nil {
		t.Fatalf("follow %q: %v", room, err)
	}
	stop = sync.OnceFunc(stop)
	t.Cleanup(stop)
	return ls, last, stop
}

func (ls *listener) deliver(ms []*parley.Message) {
	if !ls.busy.TryLock() {
		ls.t.Error("deliver was called by two goroutines at a time")
		return
	}
	defer ls.busy.Unlock()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.got = append(ls.got, ms...)
	clear(ms) // the slice is the log's, but nothing of ours may depend on it
	select {
	case ls.grew <- struct{}{}:
	default:
	}
}

func (ls *listener) messages() []*parley.Message {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.Clone(ls.got)
}

// until waits for the message with the seq and gives all that came.
func (ls *listener) until(seq uint64) []*parley.Message {
	ls.t.Helper()
	deadline := time.After(patience)
	for {
		if got := ls.messages(); len(got) > 0 && got[len(got)-1].Seq >= seq {
			return got
		}
		select {
		case <-ls.grew:
		case <-deadline:
			ls.t.Fatalf("message %d never came; got %v", seq, seqsOf(ls.messages()))
		}
	}
}

func wantUnavailable(t tb, what string, err error) {
	t.Helper()
	if err == nil || parley.AsError(err).Code != parley.Unavailable {
		t.Fatalf("%s: %v, want an error of code unavailable", what, err)
	}
}
