package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// scripted is just enough of a Parley server for the loads to run against it, in memory, and it
// can be told to do wrong.
type scripted struct {
	faults

	mu    sync.Mutex
	seq   uint64
	rooms map[string]*scriptedRoom
	conns map[net.Conn]bool
}

type faults struct {
	lose  uint64 // the seq of a message that one member does not get
	swap  uint64 // the seq of a message that bears a wrong prev
	deny  bool   // sends are refused
	quiet bool   // acks are not sent
}

type scriptedRoom struct {
	lines   []string // of JSON members
	seq     uint64   // of the newest
	members map[*scriptedConn]bool
}

type scriptedConn struct {
	out  *bufio.Writer
	json bool
}

func (s *scripted) serve(ctx context.Context, ready io.Writer) error {
	s.rooms, s.conns = map[string]*scriptedRoom{}, map[net.Conn]bool{}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			_ = c.Close()
		}
	})
	defer stop()
	_, _ = fmt.Fprintf(ready, "some log line\ntcp  %s\n", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return nil
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		wg.Go(func() { s.talk(c) })
	}
}

func (s *scripted) talk(c net.Conn) {
	defer func() { _ = c.Close() }()
	conn := &scriptedConn{out: bufio.NewWriter(c)}
	_, _ = io.WriteString(c, "Welcome to the messaging system!\n")
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		s.mu.Lock()
		if err != nil {
			for _, r := range s.rooms {
				delete(r.members, conn)
			}
			s.mu.Unlock()
			return
		}
		s.do(conn, line)
		_ = conn.out.Flush()
		s.mu.Unlock()
	}
}

func (s *scripted) do(c *scriptedConn, line string) {
	if name, ok := strings.CutPrefix(line, "/join "); ok {
		name = strings.TrimSpace(name)
		s.room(name).members[c] = true
		_, _ = fmt.Fprintf(c.out, "* joined %s\n", name)
		return
	}
	var op struct {
		Op, Room, Body, ID string
		Ref                json.RawMessage
		Last               int
		After              *int
	}
	if err := json.Unmarshal([]byte(line), &op); err != nil {
		_, _ = fmt.Fprintf(c.out, `{"op":"error","code":"bad_request","message":"%v"}`+"\n", err)
		return
	}
	c.json = true
	r := s.room(op.Room)
	switch op.Op {
	case "hello":
		_, _ = fmt.Fprintf(c.out, `{"op":"welcome","ref":%s,"user":"bench"}`+"\n", op.Ref)
	case "join":
		r.members[c] = true
		_, _ = fmt.Fprintf(c.out, `{"op":"joined","ref":%s,"room":"%s","seq":%d}`+"\n", op.Ref, op.Room, r.seq)
		past := r.lines[max(0, len(r.lines)-op.Last):]
		if op.After != nil { // of the only room there is
			past = r.lines[min(*op.After, len(r.lines)):]
		}
		for _, l := range past {
			_, _ = c.out.WriteString(l)
		}
	case "leave":
		delete(r.members, c)
		_, _ = fmt.Fprintf(c.out, `{"op":"left","ref":%s,"room":"%s"}`+"\n", op.Ref, op.Room)
	case "send":
		s.send(c, r, op.Room, op.Body, op.Ref)
	}
}

func (s *scripted) send(c *scriptedConn, r *scriptedRoom, room, body string, ref json.RawMessage) {
	if s.deny {
		_, _ = fmt.Fprintf(c.out, `{"op":"error","ref":%s,"code":"denied","message":"no"}`+"\n", ref)
		return
	}
	s.seq++
	prev := r.seq
	if r.seq = s.seq; s.swap == s.seq {
		prev = 77
	}
	line := fmt.Sprintf(`{"op":"message","room":"%s","seq":%d,"prev":%d,"id":"x","from":"bench","type":"text","body":"%s"}`+"\n", room, s.seq, prev, body)
	r.lines = append(r.lines, line)
	lost := s.lose == s.seq
	for m := range r.members {
		if lost {
			lost = false
			continue
		}
		if text := body + "\n"; m.json {
			_, _ = m.out.WriteString(line)
		} else {
			_, _ = m.out.WriteString(text)
		}
		_ = m.out.Flush()
	}
	if !s.quiet {
		_, _ = fmt.Fprintf(c.out, `{"op":"ack","ref":%s,"room":"%s","seq":%d}`+"\n", ref, room, s.seq)
	}
}

func (s *scripted) room(name string) *scriptedRoom {
	r := s.rooms[name]
	if r == nil && name != "" {
		r = &scriptedRoom{members: map[*scriptedConn]bool{}}
		s.rooms[name] = r
	}
	return r
}
