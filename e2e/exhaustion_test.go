package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostile is what one connection says again and again, as fast as it is read. Its answers are read.
var hostile = map[string]string{
	"sends":     `{"op":"send","room":"noise","body":"x"}`,
	"joins":     `{"op":"join","room":"honest","presence":true}` + "\n" + `{"op":"leave","room":"honest"}`,
	"pages":     `{"op":"history","room":"honest","limit":1000}`,
	"lists":     `{"op":"rooms","limit":1000}`,
	"pings":     `{"op":"ping"}`,
	"mistakes":  `{"op":"nothing"`,
	"bad names": `{"op":"join","room":"a..b"}`,
	"signals":   `{"op":"signal","room":"honest","body":1}`,
	"tokens":    `{"op":"hello","token":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.AAAA"}`,
}

// Whatever a hostile client does, all at once and each of it on several connections, two honest users lose
// nothing, memory is bounded, and in the end nothing is left.
func TestHonestUsersUnderAttack(t *testing.T) {
	s := guarded(t, strings.Replace(gateConfig, "anonymous:", "anonymous:\n  - {rooms: \"**\", may: [join, send, history, members, signal]}", 1)+
		"limits: {loopback: true}\n", lean)
	s.start()
	ada, bob := hello(t, s, "ada"), hello(t, s, "bob")
	bob.want(`{"op":"join","room":"honest"}`, `{"op":"joined"}`)
	files := s.process.descriptors(t)
	before, _ := s.process.memory(t)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var attackers sync.WaitGroup
	for _, op := range hostile {
		for range 4 {
			attackers.Go(func() { assail(ctx, s.address(), op) })
		}
	}
	for range 4 {
		attackers.Go(func() { knock(ctx, s.address()) })
	}
	for i := range 200 {
		body := fmt.Sprint("message ", i)
		ada.publish("honest", body)
		bob.expect(`{"op":"message","body":%q}`, body)
	}
	for _, limit := range []string{"operations", "refused_logins", "connects", "history"} {
		eventually(t, limit+" are limited", func() bool { return counted(t, s, limit) > 0 })
	}
	_, peak := s.process.memory(t)
	cancel()
	attackers.Wait()
	if grown := (peak - before) >> 20; grown > 300 {
		t.Errorf("the server has grown by %d MB", grown)
	}
	eventually(t, "nothing is left", func() bool { return s.process.descriptors(t) <= files+2 })
}

// elsewhere dials from an address that no honest user has.
var elsewhere = net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}

// assail says something until ctx ends, on a connection that is made again where it is closed.
func assail(ctx context.Context, addr, op string) {
	block := []byte(strings.Repeat(op+"\n", 50))
	for ctx.Err() == nil {
		c, err := elsewhere.DialContext(ctx, "tcp", addr)
		if err != nil {
			continue // it has no place for us at the moment
		}
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = readToEnd(c)
		}()
		_, err = c.Write([]byte(`{"op":"hello","name":"eve"}` + "\n"))
		for err == nil {
			_, err = c.Write(block)
		}
		_ = c.Close()
		<-read
		stop()
	}
}

// readToEnd reads and forgets.
func readToEnd(c net.Conn) (n int, err error) {
	buf := make([]byte, 64<<10)
	for err == nil {
		var k int
		k, err = c.Read(buf)
		n += k
	}
	return n, err
}

// knock connects and leaves, again and again.
func knock(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		if c, err := elsewhere.DialContext(ctx, "tcp", addr); err == nil {
			if t, ok := c.(*net.TCPConn); ok {
				_ = t.SetLinger(0) // leaves nothing in this machine's tables
			}
			_ = c.Close()
		}
	}
}
