package main

import (
	"errors"
	"strings"
	"testing"

	"parley/client"
)

// What becomes of the connection, and what the server says of itself, is told once each.
func TestConnectionNews(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	news := &connectionNews{w: &out}
	for _, s := range []client.Status{
		{State: client.Connected, Addr: "a:1"},
		{State: client.Connected, Addr: "a:1", Unavailable: "too few\nnodes"},
		{State: client.Connected, Addr: "a:1", Unavailable: "too few\nnodes"},
		{State: client.Connected, Addr: "a:1"},
		{State: client.Connected, Addr: "a:1", Unavailable: "too few"},
		{State: client.Reconnecting, Addr: "a:1", Err: errors.New("lost")},
		{State: client.Reconnecting, Addr: "a:1", Err: errors.New("lost")},
		{State: client.Connected, Addr: "b:1"},
	} {
		news.report(s)
	}
	want := `parley: too few; nodes
parley: the server stores messages again
parley: too few
parley: lost; trying again
parley: connected to b:1
`
	if got := out.String(); got != want {
		t.Errorf("it says\n%swant\n%s", got, want)
	}
}
