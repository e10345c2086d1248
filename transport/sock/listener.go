package sock

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ListenerConfig is what a listener can be told. The zero value is plain TCP.
type ListenerConfig struct {
	// TLS is what connections are to speak; nil = none. A connection that agrees on acme-tls/1 has
	// said all with its handshake, and is closed.
	TLS *tls.Config
	// NotTLS is the answer to a client that does not speak TLS, whose first bytes are given: none if it
	// waits for us to speak. nil = no answer.
	NotTLS    func(first []byte) []byte
	Handshake time.Duration // how long a client may take to be ready; default 10 s
	AtOnce    int           // how many may be under way; default 1,024
	// PerAddress is how many of them may be of one address; default an eighth, but for this machine's own.
	PerAddress int
	Logger     *slog.Logger
}

func (c *ListenerConfig) fill() {
	if c.Handshake == 0 {
		c.Handshake = 10 * time.Second
	}
	if c.AtOnce == 0 {
		c.AtOnce = 1024
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Times of a connection that is not ready.
const (
	proxyTime  = 2 * time.Second // a proxy's header comes at once, or there is none
	hurryTime  = 2 * time.Second // where all places are taken, who is longer about it makes room
	answerTime = time.Second     // to read why
)

// Listener accepts connections and gives them when they are ready: the handshake is done, the proxy has
// spoken. They are *net.TCPConn or *[Stream]. It is a net.Listener.
type Listener struct {
	tcp     *net.TCPListener
	config  ListenerConfig
	proxies atomic.Pointer[Proxies]

	ready   chan accepted
	places  chan struct{} // one is taken by each connection that is not ready
	done    chan struct{} // closed by Close
	close   sync.Once
	running sync.WaitGroup

	mu     sync.Mutex
	under  list.List          // of *greeting, the oldest first
	from   map[netip.Addr]int // how many of them are an address's
	begun  bool               // run runs
	closed bool

	handshakes, failed, late, hurried, plain, badHeaders, crowded atomic.Int64
}

// accepted is what Accept gives.
type accepted struct {
	conn net.Conn
	err  error
}

// greeting is a connection that is not ready.
type greeting struct {
	conn  *net.TCPConn
	began time.Time // guarded by mu
}

// Listen makes a listener of one of TCP, which is its own from now on.
func Listen(tcp *net.TCPListener, config ListenerConfig) *Listener {
	config.fill()
	if config.TLS != nil {
		config.TLS = config.TLS.Clone()
		config.TLS.DynamicRecordSizingDisabled = true // what is written at once is read at once
	}
	l := &Listener{
		tcp: tcp, config: config,
		ready: make(chan accepted), places: make(chan struct{}, config.AtOnce), done: make(chan struct{}),
		from: make(map[netip.Addr]int),
	}
	l.proxies.Store(new(Proxies))
	if config.TLS != nil {
		l.begin()
	}
	return l
}

// SetProxies says who may tell, with a header of the PROXY protocol in front of all else, who its client
// is. At first nobody may.
func (l *Listener) SetProxies(p Proxies) {
	l.proxies.Store(&p)
	if len(p) > 0 {
		l.begin()
	}
}

// begin has connections made ready, where until now they were ready as they came.
func (l *Listener) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun && !l.closed {
		l.begun = true
		l.running.Go(l.run)
	}
}

// bare says that connections are ready as they come.
func (l *Listener) bare() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.begun
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// Secure says whether connections speak TLS.
func (l *Listener) Secure() bool { return l.config.TLS != nil }

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for l.bare() {
		c, err := l.tcp.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if l.bare() {
			return c, nil
		}
		if !l.place() || !l.greet(c) { // proxies were set while it waited
			_ = c.Close()
		}
	}
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: connections that are not ready are closed too.
func (l *Listener) Close() error {
	var err error
	l.close.Do(func() {
		close(l.done)
		err = l.tcp.Close()
		l.mu.Lock()
		l.closed = true
		for e := l.under.Front(); e != nil; e = e.Next() {
			_ = e.Value.(*greeting).conn.Close()
		}
		l.mu.Unlock()
		l.running.Wait()
	})
	return err
}

// ListenerStats are a listener's counters since it began, and a gauge of now.
type ListenerStats struct {
	Handshakes int64 // done
	Failed     int64 // not done, for what the client sent
	Late       int64 // not done in time
	Hurried    int64 // closed to make room for others
	Crowded    int64 // closed since their address had its share of what is under way
	Plain      int64 // connections that do not speak TLS where it is spoken
	BadHeaders int64 // of the PROXY protocol
	UnderWay   int   // connections that are not ready
}

// Stats reads the counters.
func (l *Listener) Stats() ListenerStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ListenerStats{
		Handshakes: l.handshakes.Load(), Failed: l.failed.Load(), Late: l.late.Load(), Hurried: l.hurried.Load(), Crowded: l.crowded.Load(),
		Plain: l.plain.Load(), BadHeaders: l.badHeaders.Load(), UnderWay: l.under.Len(),
	}
}

// run accepts until Close. Where all places are taken it accepts no more: who comes waits in the kernel.
func (l *Listener) run() {
	for l.place() {
		c, err := l.tcp.AcceptTCP()
		if err != nil {
			<-l.places
			if !l.give(accepted{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if !l.fits(c) || !l.greet(c) {
			Cut(c)
			<-l.places
		}
	}
}

// fits says whether a connection's address has not had its share of the places, and counts it. A proxy
// speaks for many.
func (l *Listener) fits(c *net.TCPConn) bool {
	addr, most := source(c), l.config.PerAddress
	if l.proxies.Load().Trusts(addr) || most == 0 && addr.IsLoopback() {
		return true
	}
	if most == 0 {
		most = max(1, l.config.AtOnce/8)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[addr] >= most {
		l.crowded.Add(1)
		return false
	}
	l.from[addr]++
	return true
}

// leave takes a connection that was counted out again. l.mu is held.
func (l *Listener) leave(c *net.TCPConn) {
	addr := source(c)
	if l.from[addr]--; l.from[addr] <= 0 {
		delete(l.from, addr)
	}
}

// source is what counts as one address: an IPv4 address or an IPv6 /64.
func source(c *net.TCPConn) netip.Addr {
	peer, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := peer.AddrPort().Addr().Unmap()
	if addr.Is6() {
		addr = netip.PrefixFrom(addr.WithZone(""), 64).Masked().Addr()
	}
	return addr
}

// greet begins to make a connection ready, at a place that is taken. False: the listener is closed.
func (l *Listener) greet(c *net.TCPConn) bool {
	g := &greeting{c, time.Now()}
	deadline := g.began.Add(l.config.Handshake)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	e := l.under.PushBack(g)
	l.running.Go(func() { l.finish(c, e, deadline) })
	return true
}

// place waits for a place. False: the listener is closed.
func (l *Listener) place() bool {
	for {
		select {
		case l.places <- struct{}{}:
			return true
		default:
		}
		t := time.NewTimer(l.hurry())
		select {
		case l.places <- struct{}{}:
			t.Stop()
			return true
		case <-t.C:
		case <-l.done:
			t.Stop()
			return false
		}
	}
}

// hurry closes the connection that has been under way for the longest, if that is too long now, and
// says when to look again.
func (l *Listener) hurry() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.under.Front()
	if e == nil {
		return hurryTime
	}
	g := e.Value.(*greeting)
	if left := hurryTime - time.Since(g.began); left > 0 {
		return left
	}
	_ = g.conn.Close()
	l.under.MoveToBack(e) // the next one, should it take a moment to go
	g.began = time.Now()
	l.hurried.Add(1)
	return time.Millisecond
}

// finish makes a connection ready and gives it.
func (l *Listener) finish(c *net.TCPConn, e *list.Element, deadline time.Time) {
	conn, err := l.prepare(c, deadline)
	if err != nil {
		l.config.Logger.Debug("a connection was not made ready", "from", c.RemoteAddr().String(), "err", err)
	}
	l.mu.Lock()
	l.under.Remove(e)
	l.leave(c)
	l.mu.Unlock()
	if conn != nil && !l.give(accepted{conn: conn}) {
		conn = nil
	}
	if conn == nil {
		_ = c.Close()
	}
	<-l.places
}

func (l *Listener) give(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.done:
		return false
	}
}

// prepare hears the proxy and shakes hands. A nil connection is one that need not be kept.
func (l *Listener) prepare(c *net.TCPConn, deadline time.Time) (net.Conn, error) {
	var client net.Addr
	if peer, ok := c.RemoteAddr().(*net.TCPAddr); ok && l.proxies.Load().Trusts(peer.AddrPort().Addr()) {
		var err error
		if client, err = readHeader(c, time.Now().Add(proxyTime)); err != nil {
			l.badHeaders.Add(1)
			return nil, err
		}
	}
	if l.config.TLS != nil {
		return l.shake(c, client, deadline)
	}
	if client == nil {
		return c, nil
	}
	return &Stream{tcp: c, client: client}, nil
}

// acmeALPN is the protocol of a challenge (RFC 8737).
const acmeALPN = "acme-tls/1"

// shake makes TLS of a connection.
func (l *Listener) shake(c *net.TCPConn, client net.Addr, deadline time.Time) (net.Conn, error) {
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	under := &below{TCPConn: c}
	secure := tls.Server(under, l.config.TLS)
	// It ends by the deadline, or by Close.
	if err := secure.HandshakeContext(context.Background()); err != nil {
		l.refuse(c, under.heard, err)
		return nil, err
	}
	l.handshakes.Add(1)
	if secure.ConnectionState().NegotiatedProtocol == acmeALPN {
		return nil, secure.Close()
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return &Stream{tcp: c, tls: secure, below: under, client: client}, nil
}

// refuse counts a handshake that came to nothing, and tells a client that has begun none.
func (l *Listener) refuse(c *net.TCPConn, heard bool, err error) {
	var first []byte
	other, late := tls.RecordHeaderError{}, net.Error(nil)
	switch {
	case errors.As(err, &other) && other.Conn != nil:
		l.plain.Add(1)
		first = other.RecordHeader[:]
	case errors.As(err, &late) && late.Timeout():
		l.late.Add(1)
		if heard {
			return
		}
	default:
		l.failed.Add(1)
		return
	}
	if l.config.NotTLS == nil || c.SetDeadline(time.Now().Add(answerTime)) != nil {
		return
	}
	if _, err := c.Write(l.config.NotTLS(first)); err == nil && c.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, lingerBytes) // or closing would overtake the answer
	}
}

// ParseProxies reads networks (10.0.0.0/8) and single addresses.
func ParseProxies(list []string) (Proxies, error) {
	var p Proxies
	for _, s := range list {
		prefix, err := netip.ParsePrefix(s)
		if addr, e := netip.ParseAddr(s); e == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, err
		}
		p = append(p, prefix.Masked())
	}
	return p, nil
}
