package sock_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/certtest"
	"parley/transport/sock"
)

// patience is how long anything may take that should take no time.
const patience = 20 * time.Second

// taken is a handler that keeps what it is given.
type taken struct {
	sock.Conn
	data  chan []byte
	ended chan error
	slow  chan struct{} // if not nil, Take waits for one
}

func (c *taken) Begin(context.Context) error { return nil }

func (c *taken) Take(_ context.Context, p []byte) error {
	if c.slow != nil {
		<-c.slow
	}
	c.data <- bytes.Clone(p)
	return nil
}
func (c *taken) Deadline() time.Time        { return time.Time{} }
func (c *taken) Late(context.Context) error { return nil }
func (c *taken) End(_ context.Context, err error) {
	c.ended <- err
	if errors.Is(err, io.EOF) {
		c.Linger()
		return
	}
	c.Close()
}

// fixture is a listener and a set that runs what it accepts.
type fixture struct {
	t         testing.TB
	authority *certtest.Authority
	listener  *sock.Listener
	set       *sock.Set
	conns     chan *taken
	slow      chan struct{}
}

// listen starts a fixture. slow, if any, is what its connections wait for in Take.
func listen(t testing.TB, config sock.ListenerConfig, slow ...chan struct{}) *fixture {
	t.Helper()
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = slog.New(slog.DiscardHandler)
	f := &fixture{t: t, conns: make(chan *taken, 10_000)}
	if len(slow) > 0 {
		f.slow = slow[0]
	}
	if f.set, err = sock.NewSet(); err != nil {
		t.Fatal(err)
	}
	f.listener = sock.Listen(tcp, config)
	var accepting sync.WaitGroup
	accepting.Go(f.accept)
	t.Cleanup(func() {
		_ = f.listener.Close()
		accepting.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		f.set.Drain(ctx, 0, func(sock.Handler) {})
	})
	return f
}

func (f *fixture) accept() {
	for {
		nc, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		c := &taken{data: make(chan []byte, 1000), ended: make(chan error, 1), slow: f.slow}
		if err != nil || f.set.Prepare(&c.Conn, nc, c) != nil {
			f.t.Error("a connection was not taken", err)
			return
		}
		f.conns <- c
		f.set.Start(&c.Conn)
	}
}

// secure listens with TLS.
func secure(t testing.TB, config sock.ListenerConfig) *fixture {
	t.Helper()
	authority := certtest.New(t)
	config.TLS = authority.Server()
	f := listen(t, config)
	f.authority = authority
	return f
}

// dial connects, with TLS if the fixture has it.
func (f *fixture) dial() (net.Conn, *taken) {
	f.t.Helper()
	nc := f.dialTCP()
	if f.authority == nil {
		return nc, f.next()
	}
	c := tls.Client(nc, f.authority.Client())
	if err := c.Handshake(); err != nil {
		f.t.Fatal(err)
	}
	return c, f.next()
}

func (f *fixture) dialTCP() net.Conn {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.listener.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return nc
}

func (f *fixture) next() *taken {
	f.t.Helper()
	select {
	case c := <-f.conns:
		return c
	case <-time.After(patience):
		f.t.Fatal("no connection came")
		return nil
	}
}

// read gives the next n bytes that a connection has taken.
func (c *taken) read(t testing.TB, n int) []byte {
	t.Helper()
	var all []byte
	for len(all) < n {
		select {
		case p := <-c.data:
			all = append(all, p...)
		case <-time.After(patience):
			t.Fatalf("%d bytes of %d came", len(all), n)
		}
	}
	return all
}

// both runs a test over plain TCP and over TLS.
func both(t *testing.T, test func(*testing.T, *fixture)) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		test(t, listen(t, sock.ListenerConfig{}))
	})
	t.Run("tls", func(t *testing.T) {
		t.Parallel()
		test(t, secure(t, sock.ListenerConfig{}))
	})
}

// What a socket is given comes through whole and in order, however slowly it is read, if what was not
// taken is offered again; and no write waits.
func TestASlowReaderGetsAll(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		client, c := f.dial()
		const total = 8 << 20
		written, sum := make(chan [32]byte, 1), sha256.New()
		var fulls atomic.Int64
		go func() {
			source := rand.NewChaCha8([32]byte{1})
			hash := sha256.New()
			for left := total; left > 0; {
				p := make([]byte, min(left, 2+rand.IntN(100_000)))
				_, _ = source.Read(p)
				hash.Write(p)
				left -= len(p)
				for len(p) > 0 {
					n, err := c.TryWrite(p)
					if err != nil {
						t.Error(err)
						return
					}
					if p = p[n:]; len(p) == 0 {
						break
					}
					fulls.Add(1)
					if err := c.WaitWritable(); err != nil {
						t.Error(err)
						return
					}
				}
			}
			written <- [32]byte(hash.Sum(nil))
		}()
		await(t, "a full socket", func() bool { return fulls.Load() > 0 })
		if _, err := io.CopyN(sum, client, total); err != nil {
			t.Fatal(err)
		}
		if want := <-written; !bytes.Equal(sum.Sum(nil), want[:]) {
			t.Error("something else came")
		}
	})
}

// However often more is offered, what is kept of a client that does not read is bounded.
func TestAFullSocketTakesNothingMore(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		_, c := f.dial()
		p := make([]byte, 1<<20)
		for {
			n, err := c.TryWrite(p)
			if err != nil {
				t.Fatal(err)
			}
			if n < len(p) {
				break
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 1000 {
			if n, err := c.TryWrite(p); err != nil {
				t.Fatal(n, err)
			}
		}
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
			t.Errorf("it grew by %d bytes", grown)
		}
	})
}

// A client that makes TLS answer it again and again, as by asking for new keys, and does not read, ends when
// that has become too much.
func TestWhatTLSSaysByItselfIsBounded(t *testing.T) {
	t.Parallel()
	f := secure(t, sock.ListenerConfig{})
	_, c := f.dial()
	record, most := make([]byte, 100), 0
	for {
		if err := c.Seal(record); err != nil {
			break
		}
		most = max(most, c.Unsent())
	}
	if most == 0 || most > 32<<10 {
		t.Errorf("%d bytes were kept", most)
	}
}

// A connection that sleeps wakes for what its client says; and one of which TLS has read more than it
// has given does not sleep on it.
func TestSleepersWake(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		client, c := f.dial()
		for round := range 2 {
			await(t, "sleep", c.Asleep)
			if _, err := io.WriteString(client, "hello"); err != nil {
				t.Fatal(err)
			}
			if got := c.read(t, 5); string(got) != "hello" {
				t.Fatalf("round %d: %q", round, got)
			}
		}
	})
}

func TestNothingIsSleptOn(t *testing.T) {
	t.Parallel()
	authority := certtest.New(t)
	slow := make(chan struct{})
	f := listen(t, sock.ListenerConfig{TLS: authority.Server()}, slow)
	nc := f.dialTCP()
	gather := &gathering{Conn: nc}
	client := tls.Client(gather, authority.Client())
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := f.next()
	// Many records in one write: the server's TLS reads several at once, and gives them one by one.
	gather.on = true
	const records = 40
	for range records {
		_, _ = client.Write([]byte("x"))
	}
	gather.on = false
	if _, err := nc.Write(gather.held); err != nil {
		t.Fatal(err)
	}
	slow <- struct{}{}
	await(t, "a nudge to sleep", c.Nudged) // while the handler is busy
	close(slow)
	c.read(t, records)
}

// gathering is a connection that may hold back what is written.
type gathering struct {
	net.Conn
	on   bool
	held []byte
}

func (g *gathering) Write(p []byte) (int, error) {
	if g.on {
		g.held = append(g.held, p...)
		return len(p), nil
	}
	return g.Conn.Write(p)
}

// The end of a connection is the client's word only if TLS says so: cut off, it is broken.
func TestEnds(t *testing.T) {
	tests := map[string]struct {
		tls  bool
		end  func(client net.Conn)
		want error
	}{
		"plain, half closed": {false, func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }, io.EOF},
		"tls, half closed":   {true, func(c net.Conn) { _ = c.(*tls.Conn).CloseWrite() }, io.EOF},
		"tls, closed":        {true, func(c net.Conn) { _ = c.Close() }, io.EOF},
		"tls, cut off":       {true, func(c net.Conn) { _ = c.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite() }, io.ErrUnexpectedEOF},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := listen(t, sock.ListenerConfig{})
			if tt.tls {
				f = secure(t, sock.ListenerConfig{})
			}
			client, c := f.dial()
			if _, err := io.WriteString(client, "last words"); err != nil {
				t.Fatal(err)
			}
			c.read(t, 10)
			tt.end(client)
			select {
			case err := <-c.ended:
				if !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
			case <-time.After(patience):
				t.Fatal("it did not end")
			}
		})
	}
}

// A half-closed client gets all that is written before the connection is closed, and the close is told.
func TestHalfClosedClientsAreAnswered(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		client, c := f.dial()
		if n, err := c.TryWrite([]byte("an answer")); n != 9 || err != nil {
			t.Fatal(n, err)
		}
		if err := client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(client)
		if string(got) != "an answer" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestAbortEndsWhoWaits(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		_, c := f.dial()
		for p := make([]byte, 1<<20); ; {
			if n, err := c.TryWrite(p); err != nil {
				t.Fatal(err)
			} else if n < len(p) {
				break
			}
		}
		waited := make(chan error, 1)
		go func() {
			for {
				if err := c.WaitWritable(); err != nil {
					waited <- err
					return
				}
			}
		}()
		c.Abort()
		select {
		case err := <-waited:
			if err == nil {
				t.Error("it waited in vain")
			}
		case <-time.After(patience):
			t.Error("it waits on")
		}
		if err := <-c.ended; err == nil {
			t.Error("it ended without an error")
		}
	})
}

// await waits until something holds that nobody tells of.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited for %s", what)
		}
	}
}

// Goodbyes are spread over the time that a drain is given, and none is left out.
func TestDrainSpreadsGoodbyes(t *testing.T) {
	const clients, over = 20, 100 * time.Millisecond
	f := listen(t, sock.ListenerConfig{})
	for range clients {
		f.dial()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told := make(map[sock.Handler]bool)
	began := time.Now()
	var last time.Duration
	f.set.Drain(ctx, over, func(h sock.Handler) { told[h], last = true, time.Since(began) })
	if least := over * (clients - 2) / clients; len(told) != clients || last < least {
		t.Errorf("%d of %d were told, the last after %v", len(told), clients, last)
	}
}
