package client_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/client"
	"parley/wire"
)

// model is a server as small as the protocol allows, in memory: one node whose rooms are slices.
// Faults are brought in by its hooks.
type model struct {
	// judge, where set, is asked before an operation is carried out; under mu.
	judge func(c *modelConn, op wire.Op) verdict

	mu    sync.Mutex
	seq   uint64
	rooms map[string]*modelRoom
	conns map[*modelConn]bool
	dials int
	down  bool
	wg    sync.WaitGroup
}

type verdict struct {
	cut    cut
	refuse *parley.Error // instead of carrying it out
}

type cut int

const (
	whole     cut = iota
	cutBefore     // the connection ends, the operation is not carried out
	cutAfter      // the operation is carried out, the connection ends before the answer
	cutInside     // half of the answer is written
	swallow       // the operation is lost without a trace
)

type modelRoom struct {
	log     []*parley.Message
	seen    map[string]uint64 // from + id
	members map[*modelConn]bool
}

func newModel() *model {
	return &model{rooms: make(map[string]*modelRoom), conns: make(map[*modelConn]bool)}
}

func (s *model) room(name string) *modelRoom {
	r := s.rooms[name]
	if r == nil {
		r = &modelRoom{seen: make(map[string]uint64), members: make(map[*modelConn]bool)}
		s.rooms[name] = r
	}
	return r
}

// dial is for client.WithDialer.
func (s *model) dial(context.Context, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.down {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	c := &modelConn{server: s, conn: ours, changed: make(chan struct{}, 1)}
	s.conns[c] = true
	s.wg.Add(2)
	go c.write()
	go c.read()
	return theirs, nil
}

// set says whether the server is down; going down cuts all connections.
func (s *model) set(down bool) {
	s.mu.Lock()
	s.down = down
	s.mu.Unlock()
	if down {
		s.cutAll()
	}
}

func (s *model) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.conn.Close()
	}
}

func (s *model) close() {
	s.set(true)
	s.wg.Wait()
}

// put stores a message that somebody else sent.
func (s *model) put(room, from, id, body string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq, _ := s.store(wire.Op{Room: room, ID: id, Body: []byte(body)}, from)
	return seq
}

// trim removes the messages of a room below seq.
func (s *model) trim(room string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.room(room)
	r.log = slices.DeleteFunc(r.log, func(m *parley.Message) bool { return m.Seq < seq })
}

// bodies are what a room holds.
func (s *model) bodies(room string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, m := range s.room(room).log {
		all = append(all, string(m.Body))
	}
	return all
}

func (s *model) store(op wire.Op, from string) (seq uint64, duplicate bool) {
	r := s.room(op.Room)
	if seq, ok := r.seen[from+"\x00"+op.ID]; ok {
		return seq, true
	}
	s.seq += 2 // seqs of another room lie between
	m := &parley.Message{
		Room: op.Room, Seq: s.seq, ID: op.ID, From: from, At: time.Now(), Type: op.Type, Body: slices.Clone(op.Body),
	}
	if n := len(r.log); n > 0 {
		m.Prev = r.log[n-1].Seq
	}
	r.log = append(r.log, m)
	r.seen[from+"\x00"+op.ID] = m.Seq
	for c := range r.members {
		c.queue(wire.JSONLines{}.Message(nil, m))
	}
	return m.Seq, false
}

type modelConn struct {
	server  *model
	conn    net.Conn
	user    string
	changed chan struct{}

	mu   sync.Mutex
	out  []byte
	over bool
}

func (c *modelConn) queue(frame []byte) {
	c.mu.Lock()
	c.out = append(c.out, frame...)
	c.mu.Unlock()
	c.notify()
}

func (c *modelConn) notify() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *modelConn) write() {
	defer c.server.wg.Done()
	for range c.changed {
		c.mu.Lock()
		out, over := c.out, c.over
		c.out = nil
		c.mu.Unlock()
		if _, err := c.conn.Write(out); err != nil || over {
			_ = c.conn.Close()
			return
		}
	}
}

func (c *modelConn) read() {
	s := c.server
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		for _, r := range s.rooms {
			delete(r.members, c)
		}
		s.mu.Unlock()
		_ = c.conn.Close()
		c.mu.Lock()
		c.over = true
		c.mu.Unlock()
		c.notify()
	}()
	c.queue([]byte("Welcome to the messaging system!\n"))
	in := bufio.NewReader(c.conn)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		op, err := wire.ParseOp(line)
		if err != nil {
			c.queue(wire.JSONLines{}.Error(nil, op.Ref, parley.AsError(err)))
			continue
		}
		if !c.handle(op) {
			return
		}
	}
}

func (c *modelConn) handle(op wire.Op) bool {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	var v verdict
	if s.judge != nil {
		v = s.judge(c, op)
	}
	switch {
	case v.cut == cutBefore:
		return false
	case v.cut == swallow:
		return true
	case v.refuse != nil:
		c.queue(wire.JSONLines{}.Error(nil, op.Ref, v.refuse))
		return true
	}
	answer := modelHandlers[op.Kind](c, op)
	switch v.cut {
	case cutAfter:
		return false
	case cutInside:
		_, _ = c.conn.Write(answer[:len(answer)/2])
		return false
	}
	if op.Kind != wire.Join {
		c.queue(answer)
	}
	return true
}

var modelHandlers = map[wire.Kind]func(*modelConn, wire.Op) []byte{
	wire.Hello: func(c *modelConn, op wire.Op) []byte {
		if c.user = op.Name; c.user == "" {
			c.user = "guest-7f3"
		}
		limits := parley.Limits{Message: 1000, Frame: 4000, Inflight: 8, Rooms: 3}
		return wire.JSONLines{}.Welcome(nil, op.Ref, wire.Welcome{User: c.user, Limits: limits})
	},
	wire.Join: (*modelConn).join,
	wire.Leave: func(c *modelConn, op wire.Op) []byte {
		delete(c.server.room(op.Room).members, c)
		return wire.JSONLines{}.Left(nil, op.Ref, op.Room)
	},
	wire.Send: func(c *modelConn, op wire.Op) []byte {
		seq, duplicate := c.server.store(op, c.user)
		return wire.JSONLines{}.Ack(nil, op.Ref, op.Room, parley.Receipt{Seq: seq, Duplicate: duplicate})
	},
	wire.History: func(c *modelConn, op wire.Op) []byte {
		log := c.server.room(op.Room).log
		page := parley.Page{}
		switch {
		case op.After != nil:
			log = slices.DeleteFunc(slices.Clone(log), func(m *parley.Message) bool { return m.Seq <= *op.After })
			page.Messages = log[:min(len(log), op.Limit)]
		case op.Before != nil:
			log = slices.DeleteFunc(slices.Clone(log), func(m *parley.Message) bool { return m.Seq >= *op.Before })
			page.Messages = log[max(0, len(log)-op.Limit):]
		default:
			page.Messages = log[max(0, len(log)-op.Limit):]
		}
		page.More = len(page.Messages) < len(log)
		return wire.JSONLines{}.Page(nil, op.Ref, op.Room, page)
	},
	wire.ListRooms: func(c *modelConn, op wire.Op) []byte {
		var list []wire.RoomEntry
		for name, r := range c.server.rooms {
			if name > op.AfterRoom && len(r.log) > 0 {
				list = append(list, wire.RoomEntry{Room: name, Seq: r.log[len(r.log)-1].Seq, Messages: uint64(len(r.log))})
			}
		}
		slices.SortFunc(list, func(a, b wire.RoomEntry) int {
			if a.Room < b.Room {
				return -1
			}
			return 1
		})
		n := min(len(list), 2) // small pages
		return wire.JSONLines{}.Rooms(nil, op.Ref, list[:n], n < len(list))
	},
	wire.Members: func(c *modelConn, op wire.Op) []byte {
		var users []string
		for m := range c.server.room(op.Room).members {
			users = append(users, m.user)
		}
		return wire.JSONLines{}.Members(nil, op.Ref, op.Room, users, len(users))
	},
	wire.Ping: func(_ *modelConn, op wire.Op) []byte { return wire.JSONLines{}.Pong(nil, op.Ref) },
}

// join queues its own answer, since what is replayed comes right behind it.
func (c *modelConn) join(op wire.Op) []byte {
	r := c.server.room(op.Room)
	if r.members[c] {
		e := wire.JSONLines{}.Error(nil, op.Ref, parley.Errorf(parley.Conflict, "you are in %s already", op.Room))
		c.queue(e)
		return e
	}
	r.members[c] = true
	head, oldest := uint64(0), uint64(0)
	if n := len(r.log); n > 0 {
		head, oldest = r.log[n-1].Seq, r.log[0].Seq
	}
	out := wire.JSONLines{}.Joined(nil, op.Ref, op.Room, head)
	replay := r.log[len(r.log):]
	switch {
	case op.Start.After != nil:
		after := *op.Start.After
		replay = slices.DeleteFunc(slices.Clone(r.log), func(m *parley.Message) bool { return m.Seq <= after })
		if after > 0 && oldest > after {
			out = wire.JSONLines{}.Gap(out, op.Room, after, oldest)
		}
	case op.Start.Last > 0:
		replay = r.log[max(0, len(r.log)-op.Start.Last):]
	case !op.Start.Since.IsZero():
		replay = slices.DeleteFunc(slices.Clone(r.log), func(m *parley.Message) bool { return m.At.Before(op.Start.Since) })
	}
	for _, m := range replay {
		out = wire.JSONLines{}.Message(out, m)
	}
	c.queue(out)
	return out
}

// connect connects a client to the model and has both closed at the test's end.
func connect(t *testing.T, s *model, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.Connect(t.Context(), "model", append([]client.Option{client.WithDialer(s.dial)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
