package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

// A pattern grants exactly what the grants of its rooms do: for every principal, pattern, start and
// transport, the join is taken or refused, and what is shown is what one would see by joining each room.

// patternRooms hold a message each before anybody joins; those of newRooms come to be later.
var (
	patternRooms = []string{"lobby", "orders.eu", "orders.us", "orders.us.new", "ops.a", "ops.a.b", "x.a", "secret", "sensors.3.temp"}
	newRooms     = []string{"orders.later", "ops.later", "y.a"}
)

var gatePatterns = []string{"orders.**", "orders.*", "*.a", "ops.*", "**", "*", "sensors.*.temp", "lobby.*"}

// patternStart is where a member of a pattern begins.
type patternStart struct {
	frame, query string
	past         bool
}

var patternStarts = []patternStart{{"", "", false}, {`,"after":0`, "&after=0", true}, {`,"since":"1h"`, "&since=1h", true}}

func patternPrincipals(t *testing.T) []principal {
	list := gatePrincipals(t)
	for name, grants := range map[string][]grant{
		"orders-live": {{"orders.**", []string{"join"}}},
		"orders-part": {{"orders.*", []string{"join", "history"}}, {"orders.us.**", []string{"join"}}},
		"temperature": {{"sensors.*.temp", []string{"join", "history"}}},
		"crossed":     {{"*.a", []string{"join"}}, {"ops.**", []string{"history"}}},
		"apart":       {{"ops.**", []string{"join"}}, {"orders.**", []string{"history"}}},
	} {
		list = append(list, principal{name: name, token: tokenFor(t, name, grants), grants: grants})
	}
	return list
}

// somewhere says whether somebody has rights in some room that a pattern stands for, be it there or not.
func (p *principal) somewhere(pattern string, rights ...string) bool {
	return slices.ContainsFunc(universe(), func(room string) bool {
		return fits(pattern, room) && p.allows(room, rights...)
	})
}

// universe is names of rooms enough to tell what patterns of these tests have in common.
var universe = sync.OnceValue(func() []string {
	parts := []string{"lobby", "orders", "ops", "sensors", "temp", "us", "a", "é", "z"}
	last := parts
	all := slices.Clone(parts)
	for range 2 {
		var next []string
		for _, front := range last {
			for _, part := range parts {
				next = append(next, front+"."+part)
			}
		}
		all, last = append(all, next...), next
	}
	return all
})

// ear is a member of a pattern, and what it has to be shown: messages as "room body".
type ear struct {
	what string
	want map[string]bool
	next func() (*frame, error)
}

// listen reads until all came that has to come.
func (e *ear) listen() error {
	got := make(map[string]bool)
	for len(got) < len(e.want) {
		f, err := e.next()
		if err != nil {
			return fmt.Errorf("%s: after %q: %w", e.what, slices.Sorted(maps.Keys(got)), err)
		}
		if f.Op != "message" {
			continue
		}
		m := f.Room + " " + f.text()
		if !e.want[m] || got[m] {
			return fmt.Errorf("%s was shown %q, which it may not see or has seen", e.what, m)
		}
		got[m] = true
	}
	return nil
}

func TestPatternsGrantWhatTheirRoomsDo(t *testing.T) {
	t.Parallel()
	s := guarded(t, gateConfig, lean)
	s.start()
	root := webWay(t, s, principal{token: tokenFor(t, "root", []grant{{"**", everyRight}})}).(*web)
	say := func(body string, rooms []string) {
		for _, room := range rooms {
			if code, _ := root.do(http.MethodPost, "/rooms/"+room, body); code != "" {
				t.Fatal(room, code)
			}
		}
	}
	say("past", patternRooms)
	rooms := slices.Concat(patternRooms, newRooms)
	var ears []*ear
	joins := 0
	for _, p := range patternPrincipals(t) {
		for _, pattern := range gatePatterns {
			for _, start := range patternStarts {
				rights := []string{"join"}
				if start.past {
					rights = append(rights, "history")
				}
				may := !p.barred && p.somewhere(pattern, rights...)
				for name, join := range patternWays {
					joins++
					what := fmt.Sprintf("%s of %s%s by %s", pattern, p.name, start.frame, name)
					code, next := join(t, s, p, pattern, start)
					if may != (code == "") || !may && code != "denied" && code != "unauthorized" {
						t.Errorf("%s: %q, and it may: %v", what, code, may)
					}
					if code == "" {
						ears = append(ears, &ear{what, p.sees(pattern, rooms, start.past), next})
					}
				}
			}
		}
	}
	t.Logf("%d joins, %d of them granted", joins, len(ears))
	if len(ears) < 100 {
		t.Error("hardly any join is granted")
	}
	say("live", rooms)
	say("fence", rooms) // what comes too much has come before it
	var listening errgroup.Group
	for _, e := range ears {
		listening.Go(e.listen)
	}
	if err := listening.Wait(); err != nil {
		t.Error(err)
	}
}

// sees is what somebody has to be shown of a pattern.
func (p *principal) sees(pattern string, rooms []string, past bool) map[string]bool {
	want := make(map[string]bool)
	for _, room := range rooms {
		if !fits(pattern, room) || !p.allows(room, "join") {
			continue
		}
		want[room+" live"], want[room+" fence"] = true, true
		if past && p.allows(room, "history") && slices.Contains(patternRooms, room) {
			want[room+" past"] = true
		}
	}
	return want
}

// patternWays join a pattern: by each, the code of the refusal or what comes then.
var patternWays = map[string]func(*testing.T, *server, principal, string, patternStart) (string, func() (*frame, error)){
	"tcp": func(t *testing.T, s *server, p principal, pattern string, start patternStart) (string, func() (*frame, error)) {
		return jsonWay(t, s, p).(*frames).joinPattern(pattern, start)
	},
	"websocket": func(t *testing.T, s *server, p principal, pattern string, start patternStart) (string, func() (*frame, error)) {
		return socketWay(t, s, p).(*frames).joinPattern(pattern, start)
	},
	"sse": streamOf,
}

func (f *frames) joinPattern(pattern string, start patternStart) (code string, next func() (*frame, error)) {
	if f.code != "" {
		return f.code, nil
	}
	var early []*frame // what comes of it may come before its answer is looked at
	got := f.askNoting(fmt.Sprintf(`{"op":"join","room":%q%s}`, pattern, start.frame), func(m *frame) { early = append(early, m) })
	return got.Code, func() (*frame, error) {
		if len(early) > 0 {
			m := early[0]
			early = early[1:]
			return m, nil
		}
		text, err := f.read()
		m := new(frame)
		if err == nil {
			err = json.Unmarshal([]byte(text), m)
		}
		return m, err
	}
}

func streamOf(t *testing.T, s *server, p principal, pattern string, start patternStart) (string, func() (*frame, error)) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.webAddress()+"/events?room="+url.QueryEscape(pattern)+start.query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Code string }
		if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
			t.Fatal(err)
		}
		return problem.Code, nil
	}
	in := bufio.NewReader(resp.Body)
	for { // it has joined when it says where it begins
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "id: ") {
			break
		}
	}
	return "", func() (*frame, error) {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return nil, err
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				m := new(frame)
				return m, json.Unmarshal([]byte(data), m)
			}
		}
	}
}

// On plain lines a pattern is joined live, and shows the same.
func TestPatternsOnPlainLinesGrantTheSame(t *testing.T) {
	t.Parallel()
	s := guarded(t, gateConfig, lean)
	s.start()
	root := webWay(t, s, principal{token: tokenFor(t, "root", []grant{{"**", everyRight}})}).(*web)
	var ears []*ear
	for _, p := range patternPrincipals(t) {
		for _, pattern := range gatePatterns {
			l := plainWay(t, s, p).(*lines)
			code := l.code
			if code == "" {
				code = l.answer("/join " + pattern)
			}
			may := !p.barred && p.somewhere(pattern, "join")
			if may != (code == "") || !may && code != "denied" && code != "unauthorized" {
				t.Errorf("%s of %s: %q, and it may: %v", pattern, p.name, code, may)
			}
			if code != "" {
				continue
			}
			ears = append(ears, &ear{pattern + " of " + p.name, p.sees(pattern, patternRooms, false), func() (*frame, error) {
				line, err := l.readLine()
				m := &frame{Op: "message"}
				room, rest, _ := strings.Cut(strings.TrimPrefix(line, "["), "] ")
				m.Room = room
				m.Body, _ = json.Marshal(rest[strings.LastIndexByte(rest, ' ')+1:])
				m.Type = "text"
				return m, err
			}})
		}
	}
	for _, body := range []string{"live", "fence"} {
		for _, room := range patternRooms {
			if code, _ := root.do(http.MethodPost, "/rooms/"+room, body); code != "" {
				t.Fatal(room, code)
			}
		}
	}
	var listening errgroup.Group
	for _, e := range ears {
		listening.Go(e.listen)
	}
	if err := listening.Wait(); err != nil {
		t.Error(err)
	}
}
