package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/client"
	"parley/wire"
)

// refused wants an error of a code.
func refused(t *testing.T, err error, code parley.Code) {
	t.Helper()
	if err == nil || parley.AsError(err).Code != code {
		t.Errorf("%v, want %s", err, code)
	}
}

func TestGroupsAndReadersAreListedAndRemoved(t *testing.T) {
	t.Parallel()
	addr, _, _ := realServer(t)
	ctx, c := patient(t), connected(t, addr)
	room := c.Room("squares")
	receipt, err := room.Publish(ctx, []byte("12"))
	if err != nil {
		t.Fatal(err)
	}
	groups := func(want ...wire.GroupEntry) {
		t.Helper()
		got, err := room.Groups(ctx)
		if diff := cmp.Diff(want, append([]wire.GroupEntry(nil), got...)); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	groups()
	begun, finish, ended := make(chan bool), make(chan bool), make(chan error, 1)
	working, stop := context.WithCancel(ctx)
	go func() {
		ended <- c.Work(working, "squares", "g", func(context.Context, *parley.Job) error {
			close(begun)
			<-finish
			return nil
		})
	}()
	<-begun
	groups(wire.GroupEntry{Group: "g", Pending: 1, Taken: 1, Sessions: 1})
	refused(t, room.RemoveGroup(ctx, "g"), parley.Conflict)
	stop()
	close(finish)
	<-ended
	groups(wire.GroupEntry{Group: "g"})
	if err := room.RemoveGroup(ctx, "g"); err != nil {
		t.Error(err)
	}
	groups()
	refused(t, room.RemoveGroup(ctx, "g"), parley.NotFound)
	refused(t, room.RemoveGroup(ctx, "a b"), parley.BadRequest)

	if _, err := room.Done(ctx, "billing", receipt.Seq); err != nil {
		t.Error(err)
	}
	var readers []wire.ReaderEntry
	for r, err := range room.Readers(ctx) {
		if err != nil {
			t.Error(err)
		}
		readers = append(readers, r)
	}
	if diff := cmp.Diff([]wire.ReaderEntry{{Reader: "billing", Seq: receipt.Seq}}, readers); diff != "" {
		t.Error(diff)
	}
	if err := room.RemoveReader(ctx, "billing"); err != nil {
		t.Error(err)
	}
	for r, err := range room.Readers(ctx) {
		t.Error(r, err)
	}
	refused(t, room.RemoveReader(ctx, "billing"), parley.NotFound)
	if hooks, err := c.Hooks(ctx); err != nil || len(hooks) != 0 {
		t.Error(hooks, err)
	}
	for _, err := range c.Room("a b").Readers(ctx) {
		refused(t, err, parley.BadRequest)
	}
}

// A delay counts from when the server has the message, whatever the client's clock says; and a message is
// kept once, however often it is sent.
func TestADelayedMessage(t *testing.T) {
	t.Parallel()
	addr, _, _ := realServer(t)
	ctx, c := patient(t), connected(t, addr)
	room := c.Room("later")
	for i := range 2 {
		r, err := room.Publish(ctx, []byte("x"), client.WithDelay(time.Hour), client.WithID("one"))
		if err != nil || r.Seq != 0 || r.Duplicate != (i > 0) {
			t.Errorf("try %d: %+v, %v", i, r, err)
		}
	}
	_, err := room.Publish(ctx, []byte("x"), client.WithDelay(time.Hour), client.WithDue(time.Now()))
	refused(t, err, parley.BadRequest)
	if _, err := room.Publish(ctx, []byte("soon"), client.WithDelay(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for m, err := range room.Messages(ctx, client.After(0)) {
		if err != nil || string(m.Body) != "soon" {
			t.Errorf("%+v, %v", m, err)
		}
		break
	}
}
