package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// store is one life of the embedded JetStream, or one connection to another, and the connections to it. A write error of its file
// store stays for that life: the engine then opens another one on the same directory.
type store struct {
	srv   *server.Server // nil where the store is another's
	url   string         // of that
	js    jetstream.JetStream
	pub   *nats.Conn // appends and their answers
	tail  *nats.Conn // live copies
	bus   *nats.Conn // what is not stored, to and from other nodes; nil where there are none
	quick *reader    // reads by seq and of last messages
	slow  *reader    // reads that may have to search
	acks  string     // prefix of the subjects on which appends are answered

	broke atomic.Pointer[string] // why this life can no longer write; nil while it can
}

const (
	startTimeout = 30 * time.Second // a large log is indexed again after a crash
	maxPayload   = 4 << 20          // bytes of a record, with its headers
	maxPending   = 256 << 20        // bytes the server may owe one of our connections
)

// openStore starts JetStream in the data directory, or as the configuration says connects to
// another. Its log goes to the logger, and a failed write is told to broken.
func openStore(ctx context.Context, c *Config, syncAlways bool, broken func(string)) (_ *store, err error) {
	s := &store{url: c.URL}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	user, secret := rand.Text(), rand.Text()
	if c.URL == "" {
		if err := s.start(ctx, c, syncAlways, &server.User{Username: user, Password: secret}, broken); err != nil {
			return nil, err
		}
	}
	if err := s.connect(user, secret, c); err != nil {
		return nil, err
	}
	return s, nil
}

// start runs the embedded server, for one user.
func (s *store) start(ctx context.Context, c *Config, syncAlways bool, user *server.User, broken func(string)) error {
	options := &server.Options{
		ServerName:             "parley",
		DontListen:             true,
		NoSigs:                 true,
		NoLog:                  true,
		JetStream:              true,
		StoreDir:               filepath.Clean(c.Dir),
		SyncAlways:             syncAlways,
		JetStreamMaxStore:      math.MaxInt64 / 4, // the floor of free space is ours
		JetStreamMaxMemory:     64 << 20,          // nothing of ours lives there
		DisableJetStreamBanner: true,
		MaxPayload:             maxPayload,
		MaxPending:             maxPending,
		WriteDeadline:          time.Minute,
		Users:                  []*server.User{user},
	}
	if c.Cluster != nil {
		if err := c.Cluster.free(); err != nil {
			return err
		}
		if err := c.Cluster.join(options); err != nil {
			return err
		}
		if !c.Cluster.SlowElections {
			hasten()
		}
	}
	srv, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	s.srv = srv
	srv.SetLoggerV2(&storeLog{log: c.Logger, broken: func(reason string) {
		s.broke.CompareAndSwap(nil, &reason)
		broken(reason)
	}}, false, false, false)
	srv.Start()
	within := startTimeout
	if end, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(end))
	}
	if !srv.ReadyForConnections(within) {
		return errors.New("the store did not start; its log says why")
	}
	if !srv.JetStreamEnabled() {
		return errors.New("the store did not open its directory; its log says why")
	}
	return nil
}

func (s *store) connect(user, secret string, c *Config) (err error) {
	logger := c.Logger
	dial := func(name string) (*nats.Conn, error) {
		way := []nats.Option{nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectBufSize(-1)}
		if s.srv != nil {
			way = []nats.Option{nats.InProcessServer(s.srv), nats.UserInfo(user, secret), nats.ReconnectWait(10 * time.Millisecond)}
		}
		nc, err := nats.Connect(s.url, append(way, nats.Name(name),
			nats.MaxReconnects(-1), nats.SkipSubjectValidation(),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				if err != nil {
					logger.Warn("connection to the store lost", "name", name, "error", err)
				}
			}),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				logger.Warn("connection to the store", "name", name, "error", err)
			}))...)
		if err != nil {
			return nil, fmt.Errorf("connect to the store: %w", err)
		}
		return nc, nil
	}
	if s.pub, err = dial("append"); err != nil {
		return err
	}
	if s.tail, err = dial("tail"); err != nil {
		return err
	}
	if c.replicated() {
		if s.bus, err = dial("bus"); err != nil {
			return err
		}
	}
	if s.js, err = jetstream.New(s.pub); err != nil {
		return fmt.Errorf("connect to the store: %w", err)
	}
	s.acks = "_ACK." + rand.Text() + "."
	for _, r := range []**reader{&s.quick, &s.slow} {
		nc, err := dial("read")
		if err != nil {
			return err
		}
		if *r, err = newReader(nc, c.replicated() && !c.readsHere(), c.replicated()); err != nil {
			return err
		}
	}
	return nil
}

// commit writes a record to the partition's stream; the answer comes to s.acks + token. Without a
// subject for the answer, the store would drop what it cannot take and nobody would hear of it.
func (s *store) commit(pl place, token uint64, msgID string, record []byte) error {
	reply := string(appendToken(append(make([]byte, 0, 64), s.acks...), token))
	if msgID == "" {
		return s.pub.PublishRequest(pl.subject, reply, record)
	}
	return s.pub.PublishMsg(&nats.Msg{
		Subject: pl.subject,
		Reply:   reply,
		Header:  nats.Header{hdrID: []string{msgID}},
		Data:    record,
	})
}

// subscribe passes every answer to an append and every live copy to these two, each in its order.
// They must only enqueue.
func (s *store) subscribe(parts []*partition, acked func(name string, m *nats.Msg), live func(*partition, *nats.Msg)) error {
	sub, err := s.pub.Subscribe(s.acks+"*", func(m *nats.Msg) { acked(m.Subject[len(s.acks):], m) })
	if err == nil {
		err = sub.SetPendingLimits(-1, -1) // the appends in flight are the limit
	}
	for _, p := range parts {
		if err != nil {
			break
		}
		if p.quiet {
			continue
		}
		if sub, err = s.tail.Subscribe(p.livePrefix+"*", func(m *nats.Msg) { live(p, m) }); err == nil {
			err = sub.SetPendingLimits(-1, -1)
		}
	}
	if err == nil {
		err = s.pub.Flush()
	}
	if err == nil {
		err = s.tail.Flush()
	}
	if err != nil {
		return fmt.Errorf("subscribe in the store: %w", err)
	}
	return nil
}

// close ends the connections, then the server, and waits for it.
func (s *store) close() {
	for _, nc := range []*nats.Conn{s.pub, s.tail, s.bus} {
		if nc != nil {
			nc.Close()
		}
	}
	for _, r := range []*reader{s.quick, s.slow} {
		if r != nil {
			r.close()
		}
	}
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
	}
}

// closeWithin is close for as long as it may take; false: it goes on by itself, and the directory is
// still in its hands.
func (s *store) closeWithin(d time.Duration) bool {
	closed := make(chan struct{})
	go func() { // waited for, or left to the end of the process
		defer close(closed)
		s.close()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-closed:
		return true
	case <-timer.C:
		return false
	}
}

// lastSeq is the seq of the newest message that the partition's stream has ever held.
func (s *store) lastSeq(ctx context.Context, p *partition) (uint64, error) {
	stream, err := s.js.Stream(ctx, p.stream)
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", p.stream, err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}
