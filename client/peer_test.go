package client_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"testing"

	"parley/wire"
)

// peer is one end of a connection, on which a test plays the server line by line.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// script is a server that plays one act on each connection, in order, and is then gone.
func script(t *testing.T, acts ...func(*peer)) func(context.Context, string) (net.Conn, error) {
	turn := make(chan func(*peer), len(acts))
	for _, act := range acts {
		turn <- act
	}
	close(turn)
	return func(context.Context, string) (net.Conn, error) {
		act, ok := <-turn
		if !ok {
			return nil, fmt.Errorf("connection refused")
		}
		ours, theirs := net.Pipe()
		go func() {
			defer func() { _ = ours.Close() }()
			act(&peer{t: t, conn: ours, in: bufio.NewReader(ours)})
		}()
		return theirs, nil
	}
}

// say writes a line; %s in it is the ref of op.
func (p *peer) say(line string, op wire.Op) {
	if op.Ref != nil {
		line = fmt.Sprintf(line, op.Ref)
	}
	_, _ = fmt.Fprintln(p.conn, line) // a client that is gone hears nothing
}

// hear reads the next operation, which has to be of that kind. At the connection's end it ends
// the act.
func (p *peer) hear(kind wire.Kind) wire.Op {
	line, err := p.in.ReadBytes('\n')
	if err != nil {
		return wire.Op{}
	}
	op, err := wire.ParseOp(line)
	if err != nil || op.Kind != kind {
		p.t.Errorf("the client says %s; want a %s (%v)", line, kind, err)
	}
	return op
}

func (p *peer) welcome() {
	p.say(`{"op":"welcome","ref":%s,"user":"guest-1"}`, p.hear(wire.Hello))
}

// wait waits until the client hangs up.
func (p *peer) wait() {
	for {
		if _, err := p.in.ReadByte(); err != nil {
			return
		}
	}
}
