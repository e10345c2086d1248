package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/client"
	"parley/wire"
)

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		for i := range 9 {
			s.put("lobby", "bob", fmt.Sprint(i), fmt.Sprint(i+1))
		}
		room := connect(t, s).Room("lobby")
		for name, test := range map[string]struct {
			opts []client.ReadOption
			want []string
			more bool
		}{
			"newest":       {nil, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}, false},
			"limit":        {[]client.ReadOption{client.Limit(2)}, []string{"8", "9"}, true},
			"before":       {[]client.ReadOption{client.Before(6), client.Limit(1)}, []string{"2"}, true},
			"after":        {[]client.ReadOption{client.After(12)}, []string{"7", "8", "9"}, false},
			"from the old": {[]client.ReadOption{client.After(0), client.Limit(1)}, []string{"1"}, true},
		} {
			page, err := room.History(t.Context(), test.opts...)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range page.Messages {
				if got = append(got, string(m.Body)); m.Room != "lobby" {
					t.Errorf("%s: a message of room %q", name, m.Room)
				}
			}
			if !slices.Equal(got, test.want) || page.More != test.more {
				t.Errorf("%s: %q, more %v; want %q, %v", name, got, page.More, test.want, test.more)
			}
		}
		for _, opts := range [][]client.ReadOption{
			{client.After(1), client.Before(2)}, {client.Last(1)}, {client.Limit(1001)}, {client.Limit(-1)},
		} {
			if _, err := room.History(t.Context(), opts...); !isCode(parley.BadRequest)(err) {
				t.Errorf("error %v", err)
			}
		}
	})
}

// The connection ends in the middle of a page, before it, and the server cannot answer for now.
func TestCallsAreAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		s.put("lobby", "bob", "1", "one")
		script := []verdict{
			{cut: cutInside},
			{cut: cutBefore},
			{cut: cutAfter},
			{refuse: parley.Errorf(parley.Unavailable, "not now")},
			{refuse: parley.Errorf(parley.RateLimited, "slowly")},
			{},
		}
		var left []verdict
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			if op.Kind != wire.Hello {
				v, left = left[0], left[1:]
			}
			return v
		}
		c := connect(t, s)
		left = slices.Clone(script)
		if page, err := c.Room("lobby").History(t.Context()); err != nil || len(page.Messages) != 1 {
			t.Errorf("history: %v, %v", page, err)
		}
		left = slices.Clone(script)
		if _, err := c.Ping(t.Context()); err != nil {
			t.Errorf("ping: %v", err)
		}
		left = slices.Clone(script)
		for room, err := range c.Rooms(t.Context()) {
			if err != nil || room != (wire.RoomEntry{Room: "lobby", Seq: 2, Messages: 1}) {
				t.Errorf("rooms: %v, %v", room, err)
			}
		}
	})
}

func TestCallsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			switch op.Kind {
			case wire.Ping:
				v.cut = swallow
			case wire.History:
				v.refuse = parley.Errorf(parley.Unavailable, "not now")
			case wire.ListRooms:
				v.refuse = parley.Errorf(parley.Denied, "no")
			}
			return v
		}
		c := connect(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ping: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := c.Room("lobby").History(ctx); !errors.Is(err, context.DeadlineExceeded) || !isCode(parley.Unavailable)(err) {
			t.Errorf("history: %v", err)
		}
		for _, err := range c.Rooms(t.Context()) {
			if !isCode(parley.Denied)(err) {
				t.Errorf("rooms: %v", err)
			}
		}
	})
}

func TestMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		room := connect(t, s, client.WithName("ada")).Room("lobby")
		listen(t, room)
		if users, n, err := room.Members(t.Context()); err != nil || n != 1 || !slices.Equal(users, []string{"ada"}) {
			t.Errorf("members %q, %d, %v", users, n, err)
		}
	})
}

func TestRoomsReadsAllPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		want := []string{"a", "b", "c", "d", "e"}
		for _, name := range want {
			s.put(name, "bob", "1", "one")
		}
		var got []string
		for room, err := range connect(t, s).Rooms(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, room.Room)
		}
		if !slices.Equal(got, want) {
			t.Errorf("rooms %q", got)
		}
	})
}
