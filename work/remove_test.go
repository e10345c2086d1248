package work_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/internal/logtest"
	"parley/work"
)

// groups lists the groups of a room once they are as wanted: what is said is copied a moment later.
func (b *bench) groups(room string, want ...work.GroupInfo) {
	b.t.Helper()
	var list []work.GroupInfo
	for end := time.Now().Add(patience); time.Now().Before(end); {
		var err error
		list, err = b.work.Groups(b.t.Context(), room)
		if err == nil && slices.Equal(list, want) {
			return
		}
		if err != nil && parley.AsError(err).Code != parley.Unavailable {
			b.t.Fatal(err)
		}
	}
	b.t.Fatalf("the groups are not as they should be (-want +got):\n%s", cmp.Diff(want, list))
}

func (b *bench) readers(room string) []work.ReaderInfo {
	b.t.Helper()
	list, more, err := b.work.Readers(b.t.Context(), room, "", 100)
	if err != nil || more {
		b.t.Fatal(more, err)
	}
	return list
}

// read moves a reader.
func (b *bench) read(room, reader string, seq uint64) error {
	b.t.Helper()
	r, _, _, err := b.work.Reader(b.t.Context(), room, reader)
	if err != nil {
		return err
	}
	defer r.Close()
	return b.outcome(func(told work.Told) error { return r.Done(context.Background(), seq, told) })
}

func TestGroupsAreCounted(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.groups("r")
	b.say("r", 5)
	w := b.take("r", "g", 2)
	b.groups("r", work.GroupInfo{Group: "g", Pending: 5, Taken: 2, Sessions: 1})
	b.must(b.done(w.want("0")))
	b.must(b.fail(w.want("1"), "no"))
	b.groups("r", work.GroupInfo{Group: "g", Pending: 3, Taken: 2, Dead: 1, Sessions: 1})
	other := b.take("r", "f", 1)
	other.Leave()
	b.groups("r", work.GroupInfo{Group: "f", Pending: 5}, work.GroupInfo{Group: "g", Pending: 3, Taken: 2, Dead: 1, Sessions: 1})
	b.groups("other")
	b.restart()
	b.groups("r", work.GroupInfo{Group: "f", Pending: 5}, work.GroupInfo{Group: "g", Pending: 3, Dead: 1})
}

// What nobody has loaded is counted too, behind a restart as before it, and so are the dead letters in a
// snapshot.
func TestABacklogIsCounted(t *testing.T) {
	b := newBench(t, logtest.Options{})
	w := b.take("r", "g", 1)
	const said, settled = 2000, 400
	b.say("r", said)
	dead := uint64(0)
	for i := range settled {
		j := w.next()
		if i%4 == 0 {
			dead++
			b.must(b.fail(j, "no"))
		} else {
			b.must(b.done(j))
		}
	}
	w.next()
	b.groups("r", work.GroupInfo{Group: "g", Pending: said - settled, Taken: 1, Dead: dead, Sessions: 1})
	w.Stop()
	b.say("r", 300)
	b.groups("r", work.GroupInfo{Group: "g", Pending: said - settled + 300, Taken: 1, Dead: dead})
	b.restart()
	b.groups("r", work.GroupInfo{Group: "g", Pending: said - settled + 300, Dead: dead})
	w = b.take("r", "g", 256)
	for range said - settled + 300 {
		b.must(b.done(w.next()))
	}
	b.groups("r", work.GroupInfo{Group: "g", Dead: dead, Sessions: 1})
}

func TestAGroupIsRemoved(t *testing.T) {
	b := newBench(t, logtest.Options{})
	ctx := t.Context()
	b.refused(parley.NotFound, b.work.Remove(ctx, "r", "g"))
	b.say("r", 3)
	w := b.take("r", "g", 2)
	j := w.want("0")
	b.must(b.done(w.want("1")))
	b.refused(parley.Conflict, b.work.Remove(ctx, "r", "g"))
	w.Stop()
	b.must(b.work.Remove(ctx, "r", "g"))
	b.refused(parley.NotFound, b.done(j))
	b.refused(parley.NotFound, b.work.Remove(ctx, "r", "g"))
	b.groups("r")
	b.restart()
	b.groups("r")

	w = b.take("r", "g", 1) // another of the same name begins anew, with all there is
	b.groups("r", work.GroupInfo{Group: "g", Pending: 3, Taken: 1, Sessions: 1})
	w.want("0")
	w.Leave()
	b.restart()
	b.groups("r", work.GroupInfo{Group: "g", Pending: 3})
}

// While a group is removed and made again by many, nothing hangs, and in the end it is one of both.
func TestAGroupIsRemovedWhileOthersCome(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.say("r", 20)
	removers := make(chan error, 50)
	go func() {
		defer close(removers)
		for range cap(removers) {
			removers <- b.work.Remove(context.Background(), "r", "g")
		}
	}()
	taking := work.Taking{Room: "r", Group: "g", Prefetch: 1, Tries: 1000, Deadline: time.Minute}
	for range 50 {
		w := b.takeWith(taking)
		w.next()
		w.Leave()
	}
	for err := range removers {
		if err != nil && parley.AsError(err).Code != parley.NotFound && parley.AsError(err).Code != parley.Conflict {
			t.Error(err)
		}
	}
	w := b.takeWith(taking)
	b.groups("r", work.GroupInfo{Group: "g", Pending: 20, Taken: 1, Sessions: 1})
	w.Leave()
}

func TestAReaderIsRemoved(t *testing.T) {
	b := newBench(t, logtest.Options{})
	ctx := t.Context()
	b.refused(parley.NotFound, b.work.RemoveReader(ctx, "r", "billing"))
	b.must(b.read("r", "billing", 5))
	b.must(b.read("r", "audit", 3))
	b.must(b.read("r", work.OwnReader+"hook.x", 3))
	b.must(b.read("r.x", "billing", 9))
	if diff := cmp.Diff([]work.ReaderInfo{{Reader: "audit", Seq: 3}, {Reader: "billing", Seq: 5}}, b.readers("r")); diff != "" {
		t.Error(diff)
	}
	if list, more, err := b.work.Readers(ctx, "r", "", 1); err != nil || !more || len(list) != 1 || list[0].Reader != "audit" {
		t.Error(list, more, err)
	}
	if list, more, err := b.work.Readers(ctx, "r", "audit", 1); err != nil || more || len(list) != 1 || list[0].Reader != "billing" {
		t.Error(list, more, err)
	}
	held, _, _, err := b.work.Reader(ctx, "r", "billing")
	b.must(err)
	b.refused(parley.Conflict, b.work.RemoveReader(ctx, "r", "billing"))
	held.Close()
	b.must(b.work.RemoveReader(ctx, "r", "billing"))
	b.restart()
	if diff := cmp.Diff([]work.ReaderInfo{{Reader: "audit", Seq: 3}}, b.readers("r")); diff != "" {
		t.Error(diff)
	}
	r, at, there, err := b.work.Reader(ctx, "r", "billing")
	b.must(err)
	r.Close()
	if there || at != 0 {
		t.Errorf("it is there again, at %d", at)
	}
	b.must(b.read("r", "billing", 1)) // it may begin behind where it was
	if diff := cmp.Diff([]work.ReaderInfo{{Reader: "audit", Seq: 3}, {Reader: "billing", Seq: 1}}, b.readers("r")); diff != "" {
		t.Error(diff)
	}
}

// forgetful takes back what is trimmed, as a crash may.
type forgetful struct{ *logtest.Memory }

func (forgetful) Trim(context.Context, string, uint64) error { return nil }

func TestWhatWasRemovedDoesNotComeBackAfterACrash(t *testing.T) {
	b := newBench(t, logtest.Options{})
	b.stop()
	b.journals = forgetful{b.log}
	b.start()
	b.say("r", 3)
	w := b.take("r", "g", 2)
	b.must(b.done(w.next()))
	w.Stop()
	b.must(b.read("r", "billing", 3))
	b.must(b.work.Remove(t.Context(), "r", "g"))
	b.must(b.work.RemoveReader(t.Context(), "r", "billing"))
	b.stop()
	b.journals = b.log
	b.start()
	b.groups("r")
	if list := b.readers("r"); len(list) != 0 {
		t.Errorf("readers: %v", list)
	}
	b.restart() // the notes themselves go
	b.groups("r")
	names, err := b.log.Journals(t.Context(), "")
	b.must(err)
	if len(names) != 0 {
		t.Errorf("left over: %q", names)
	}
}

// Dead letters outlive their group: another of its name can have them put back, also where it begins behind
// the messages or has not copied them yet, and leaves letters of its own.
func TestTheLettersOfAGroupThatWasRemoved(t *testing.T) {
	for name, after := range map[string]uint64{"the new one begins behind": 3, "in front": 0} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, logtest.Options{})
			b.say("r", 3)
			w := b.take("r", "g", 3)
			for range 3 {
				b.must(b.fail(w.next(), "no"))
			}
			letters := b.letters("r")
			b.again("r", letters[0])
			w.want("0")
			w.Leave()
			b.must(b.work.Remove(t.Context(), "r", "g"))
			_, err := b.putBack("r", letters[1])
			b.refused(parley.NotFound, err)

			begin := func(context.Context) (uint64, error) { return after, nil }
			w = b.takeWith(work.Taking{Room: "r", Group: "g", Prefetch: 3, Tries: 3, Deadline: time.Minute, Begin: begin})
			for i, letter := range letters { // the first was put back into the one that is gone
				if before, err := b.putBack("r", letter); before || err != nil {
					t.Fatalf("letter %d: put back before: %t, %v", i, before, err)
				}
			}
			b.groups("r", work.GroupInfo{Group: "g", Pending: 3, Taken: 3, Sessions: 1})
			for range 3 {
				b.must(b.fail(w.next(), "again"))
			}
			w.none()
			if n := len(b.letters("r")); n != 6 {
				t.Errorf("%d letters, want 6", n)
			}
			b.restart()
			b.groups("r", work.GroupInfo{Group: "g", Dead: 3})
		})
	}
}

// A letter that is put back into a group that is still copying its room does not make a second job of its
// message.
func TestALetterOfAGroupThatWasRemovedWaitsForTheCopy(t *testing.T) {
	b := newBench(t, logtest.Options{})
	const n = 40
	for range n {
		b.put(parley.Draft{Room: "r", Body: make([]byte, 100<<10)}) // in many records
	}
	w := b.take("r", "g", 1)
	for range n - 1 {
		b.must(b.done(w.next()))
	}
	b.must(b.fail(w.next(), "no"))
	w.Leave()
	b.must(b.work.Remove(t.Context(), "r", "g"))
	w = b.take("r", "g", 1)
	b.again("r", b.letters("r")[0])
	b.groups("r", work.GroupInfo{Group: "g", Pending: n, Taken: 1, Sessions: 1})
	for range n {
		b.must(b.done(w.next()))
	}
	w.Leave()
	b.groups("r", work.GroupInfo{Group: "g"})
}

// A room does not wait for the copies of a group that is gone.
func TestARoomIsFreeOfAGroupThatWasRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{RetainMessages: 4})
		b.take("r", "g", 1).Leave()
		b.say("r", 10)
		b.must(b.work.Remove(t.Context(), "r", "g"))
		began := time.Now()
		b.say("r", 10)
		if waited := time.Since(began); waited > 0 {
			t.Errorf("10 messages have waited for %v", waited)
		}
		b.stop()
	})
}
