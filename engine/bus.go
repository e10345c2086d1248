package engine

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"parley"
)

// Subjects of the bus: bus.<topic>.<node that publishes>, both in unpadded URL base64.
const (
	busPrefix   = "bus."
	busMessages = 64 << 10 // that wait for a slow subscriber
	busBytes    = 8 << 20
)

// bus is a parley.Bus over the store's connections. One on which it publishes is never heard by it.
type bus struct {
	engine *Engine
	node   string

	mu   sync.Mutex
	subs map[*busSub]struct{}
}

type busSub struct {
	topic   string
	deliver func(from string, data []byte)

	turn    sync.Mutex // held while deliver runs
	stopped bool
	sub     *nats.Subscription // guarded by bus.mu
}

var _ parley.Bus = (*bus)(nil)

// Bus gives the bus to the other nodes; nil where this node is alone. It is closed with the engine.
func (e *Engine) Bus() parley.Bus {
	if e.bus == nil {
		return nil
	}
	return e.bus
}

func newBus(e *Engine) *bus {
	return &bus{engine: e, node: e.cfg.Node, subs: make(map[*busSub]struct{})}
}

// dropped counts what subscribers were too slow for.
func (b *bus) dropped() (n uint64) {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subs {
		if d, err := s.sub.Dropped(); err == nil {
			n += uint64(d)
		}
	}
	return n
}

func busSubject(topic, node string) string {
	if node != "*" {
		node = base64.RawURLEncoding.EncodeToString([]byte(node))
	}
	return busPrefix + base64.RawURLEncoding.EncodeToString([]byte(topic)) + "." + node
}

// Node implements parley.Bus.
func (b *bus) Node() string { return b.node }

// Publish implements parley.Bus.
func (b *bus) Publish(topic string, data []byte) {
	if err := b.engine.store.Load().bus.Publish(busSubject(topic, b.node), data); err != nil {
		b.engine.counts.busLost.Add(1)
	}
}

// Subscribe implements parley.Bus.
func (b *bus) Subscribe(topic string, deliver func(string, []byte)) (func(), error) {
	if b.engine.ctx.Err() != nil {
		return nil, errClosed
	}
	s := &busSub{topic: topic, deliver: deliver}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.listen(b.engine.store.Load(), s); err != nil {
		return nil, err
	}
	b.subs[s] = struct{}{}
	return func() { b.stop(s) }, nil
}

// listen subscribes in one life of the store. The bus's mu is held.
func (b *bus) listen(st *store, s *busSub) error {
	sub, err := st.bus.Subscribe(busSubject(s.topic, "*"), func(m *nats.Msg) {
		node, err := base64.RawURLEncoding.DecodeString(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		if err != nil || string(node) == b.node {
			return
		}
		s.turn.Lock()
		defer s.turn.Unlock()
		if !s.stopped {
			s.deliver(string(node), m.Data)
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(busMessages, busBytes)
	}
	if err == nil {
		err = st.bus.Flush()
	}
	if err != nil {
		return fmt.Errorf("engine: subscribe to the bus: %w", err)
	}
	s.sub = sub
	return nil
}

// again subscribes everybody in a new life of the store.
func (b *bus) again(st *store) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for s := range b.subs {
		errs = append(errs, b.listen(st, s))
	}
	return errors.Join(errs...)
}

func (b *bus) stop(s *busSub) {
	b.mu.Lock()
	delete(b.subs, s)
	_ = s.sub.Unsubscribe() // of a connection that is closed there is nothing left
	b.mu.Unlock()
	s.turn.Lock()
	defer s.turn.Unlock()
	s.stopped = true
}
