package e2e_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// What goes through a room while one member does not read: 200 MB.
const (
	floodPublishers = 4
	floodEach       = 1600
	floodSize       = 32 << 10
	floodAll        = floodPublishers * floodEach
)

// One member stops reading while two hundred megabytes go through its room. Nobody waits for it, it
// costs the server next to nothing, and when it reads again it gets every message. What the flood
// itself costs, since the log keeps for a while what was just written, is measured without it.
func TestSlowReaderLosesNothingAndCostsNothing(t *testing.T) {
	alone := newServer(t, nil, lean)
	alone.start()
	floodRoom(t, alone)
	_, without := alone.process.memory(t)
	alone.kill()

	s := newServer(t, nil, lean)
	s.start()
	slow := hello(t, s, "slow")
	slow.want(`{"op":"join","room":"r"}`, `{"op":"joined","seq":0}`)
	floodRoom(t, s)
	_, with := s.process.memory(t)
	t.Logf("the server had at most %d MB, and %d MB without the slow reader", with>>20, without>>20)
	if grown := (with - without) >> 20; grown > 150 {
		t.Errorf("a member that does not read has cost %d MB", grown)
	}
	s.process.resetPeak(t)
	if err := readChain(slow.speaker, floodAll, floodSize); err != nil {
		t.Errorf("the slow reader: %v", err)
	}
	if _, peak := s.process.memory(t); (peak-with)>>20 > 150 {
		t.Errorf("the server has grown by %d MB while one member caught up", (peak-with)>>20)
	}
}

// floodRoom sends a flood through room r and waits until two members, one of JSON and one of plain
// lines, have read all of it.
func floodRoom(t *testing.T, s *server) {
	t.Helper()
	fast, plain := hello(t, s, "fast"), dial(t, s)
	fast.want(`{"op":"join","room":"r"}`, `{"op":"joined","seq":0}`)
	plain.send("/join r")
	plain.expect("* joined r")
	var g errgroup.Group
	for i := range floodPublishers {
		p := hello(t, s, fmt.Sprintf("p%d", i))
		g.Go(func() error { return flood(p.speaker, "r", floodEach, floodSize) })
	}
	g.Go(func() error { return readChain(fast.speaker, floodAll, floodSize) })
	g.Go(func() error {
		for range floodAll {
			line, err := plain.readLine()
			if err == nil && len(line) != floodSize {
				err = fmt.Errorf("a line of %d bytes", len(line))
			}
			if err != nil {
				return fmt.Errorf("the plain reader: %w", err)
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// flood sends n messages of so many bytes, with some in flight, and waits for every ack.
func flood(s *speaker, room string, n, size int) error {
	const most = 64
	op := `{"op":"send","room":"` + room + `","body":"` + strings.Repeat("x", size) + "\"}\n"
	for i := range n + most {
		if i < n {
			if err := s.say(op); err != nil {
				return err
			}
		}
		if i < most {
			continue
		}
		line, err := s.readLine()
		if err == nil && !strings.HasPrefix(line, `{"op":"ack",`) {
			err = errors.New("no ack")
		}
		if err != nil {
			return fmt.Errorf("send %d was answered with %.200s: %w", i-most, line, err)
		}
	}
	return nil
}

var chained = regexp.MustCompile(`^\{"op":"message","room":"\w+","seq":(\d+),"prev":(\d+),`)

// readChain reads n messages, each behind the one before it. It looks at the beginning of each
// alone: it must not be the slow reader itself.
func readChain(s *speaker, n, size int) error {
	last := "0"
	for i := range n {
		line, err := s.readLine()
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		found := chained.FindStringSubmatch(line[:min(len(line), 200)])
		if found == nil || found[2] != last || len(line) < size {
			return fmt.Errorf("message %d, behind seq %s, is %.200s", i, last, line)
		}
		last = found[1]
	}
	return nil
}

// Many members that do not read at all: the room goes on for the one that does. What the flood
// itself costs is measured without them, as above.
func TestSlowReadersInACrowd(t *testing.T) {
	alone := newServer(t, nil, lean)
	alone.start()
	without := floodCrowd(t, alone)
	alone.kill()

	s := newServer(t, nil, lean)
	s.start()
	var idle []*jsonClient
	for i := range 200 {
		c := hello(t, s, fmt.Sprintf("idle-%d", i))
		c.narrow()
		c.want(`{"op":"join","room":"r"}`, `{"op":"joined","seq":0}`)
		idle = append(idle, c)
	}
	with := floodCrowd(t, s)
	t.Logf("the server has grown by %d MB, and by %d MB without the 200 slow readers", with>>20, without>>20)
	if grown := (with - without) >> 20; grown > 100 {
		t.Errorf("200 members that do not read have cost %d MB", grown)
	}
	for _, c := range idle[:5] { // it is all there when they come back for it
		c.hangUp()
		c = hello(t, s, "back")
		c.want(`{"op":"join","room":"r","after":0}`, `{"op":"joined"}`)
		if err := readChain(c.speaker, crowdMessages, crowdSize); err != nil {
			t.Error(err)
		}
		c.hangUp()
	}
	for _, c := range idle[5:] {
		c.hangUp()
	}
	last := hello(t, s, "last")
	eventually(t, "those who have left are gone", func() bool {
		return last.ask(`{"op":"members","room":"r"}`).like(`{"count":0}`) == nil
	})
}

// What goes through a room of many that do not read: 24 MB.
const crowdMessages, crowdSize = 1500, 16 << 10

// floodCrowd sends it through room r, past one member that reads, and gives how many bytes the
// server has grown by at most.
func floodCrowd(t *testing.T, s *server) int64 {
	t.Helper()
	reader, ada := hello(t, s, "reader"), hello(t, s, "ada")
	reader.want(`{"op":"join","room":"r"}`, `{"op":"joined"}`)
	before, _ := s.process.memory(t)
	var g errgroup.Group
	g.Go(func() error { return flood(ada.speaker, "r", crowdMessages, crowdSize) })
	g.Go(func() error { return readChain(reader.speaker, crowdMessages, crowdSize) })
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	reader.want(`{"op":"ping"}`, `{"op":"pong"}`)
	reader.hangUp()
	_, peak := s.process.memory(t)
	return peak - before
}
