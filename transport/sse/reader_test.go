package sse_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"parley"
	"parley/internal/logtest"
	"parley/transport/sse"
	"parley/work"
)

// done moves a reader, as a request does.
func (f *fixture) done(room, reader string, seq uint64) {
	f.t.Helper()
	r, _, _, err := f.books.Reader(f.t.Context(), room, reader)
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Close()
	told := make(chan error, 1)
	if err := r.Done(context.Background(), seq, func(_ uint64, err error) { told <- err }); err != nil {
		f.t.Fatal(err)
	}
	if err := <-told; err != nil {
		f.t.Fatal(err)
	}
}

func TestAStreamGoesOnAsAReader(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	for _, body := range []string{"one", "two", "three"} {
		f.send("a", body)
	}
	const query = "room=a&reader=billing&after=0"
	s := f.open(query)
	if id := s.began(); id != "0" {
		t.Errorf("it begins at %s", id)
	}
	s.want("1 message one", "2 message two", "3 message three")
	_ = s.conn.Close()

	s = f.open(query) // nothing was said to be dealt with, and a stream says nothing by itself
	s.want("1 message one", "2 message two", "3 message three")
	f.done("a", "billing", 2)
	f.send("a", "four")
	s.want("4 message four")
	_ = s.conn.Close()

	s = f.open(query)
	if id := s.began(); id != "2" {
		t.Errorf("it begins at %s", id)
	}
	s.want("3 message three", "4 message four")
	s = f.open(query, "Last-Event-ID: 3") // it is cut off, and has these in memory
	s.want("4 message four")
	s = f.open(query, "Last-Event-ID: 1") // what is dealt with never comes again
	s.want("3 message three", "4 message four")

	f.open("room=a&reader=live").began()
	f.send("a", "five")
	s = f.open("room=a&reader=live&after=0") // where it begins counts the first time alone
	if id := s.began(); id != "4" {
		t.Errorf("it begins at %s", id)
	}
	s.want("5 message five")
	s = f.open("room=a&reader=new", "Last-Event-ID: 4")
	s.want("5 message five")
	_ = s.conn.Close()
}

func TestAStreamOfSeveralRoomsGoesOnAsAReader(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	f.send("a", "one")
	f.send("b", "two")
	f.send("b", "three")
	f.done("a", "billing", 1)
	f.done("b", "billing", 2)
	s := f.open("room=a&room=b&reader=billing&after=0")
	s.want("a:1,b:3 message three")
	f.send("a", "four")
	s.want("a:4,b:3 message four")
	s = f.open("room=a&room=b&reader=billing", "Last-Event-ID: b:3")
	s.want("a:4,b:3 message four")
	s = f.open("room=a&room=b&reader=billing&after=a:0,b:0")
	s.wantOneOf([]string{"a:4 message four", "a:4,b:3 message three"}, []string{"b:3 message three", "a:4,b:3 message four"},
		[]string{"a:4,b:2 message four", "a:4,b:3 message three"}, []string{"a:1,b:3 message three", "a:4,b:3 message four"})
}

func TestAReaderIsInUseWhileItsStreamIsOpen(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	f.send("a", "one")
	s := f.open("room=a&reader=billing&after=0")
	s.want("1 message one")
	if err := f.books.RemoveReader(t.Context(), "a", "billing"); err == nil || parley.AsError(err).Code != parley.Conflict {
		t.Errorf("removed while it reads: %v", err)
	}
	_ = s.conn.Close()
	for end := time.Now().Add(time.Minute); ; { // the server has to see that
		err := f.books.RemoveReader(t.Context(), "a", "billing")
		if err == nil {
			break
		}
		if parley.AsError(err).Code != parley.Conflict || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	for _, query := range []string{"room=a.*&reader=billing", "room=a&reader=a%20b", "room=a&reader=", "room=a&reader=a&reader=b", "room=a&reader=" + work.OwnReader + "x"} {
		if s := f.open(query); s.head.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %d", query, s.head.StatusCode)
		}
	}
}
