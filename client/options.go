package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"

	"parley"
)

// Option sets something of a client at [Connect].
type Option func(*options)

type options struct {
	name      string
	token     func(context.Context) (string, error)
	fixed     bool // token gives the same one always
	log       *slog.Logger
	maxOutbox int
	status    func(Status)
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	tls       *tls.Config // of tls:// and wss://, but for the server's name
}

// defaultOutbox is how many messages an outbox holds that nobody has configured.
const defaultOutbox = 1024

func newOptions(opts []Option) (options, error) {
	o := options{
		log:       slog.New(slog.DiscardHandler),
		maxOutbox: defaultOutbox,
		tls:       &tls.Config{MinVersion: tls.VersionTLS12},
		dial: func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}
	for _, set := range opts {
		set(&o)
	}
	if o.maxOutbox < 1 {
		return o, parley.Errorf(parley.BadRequest, "an outbox holds at least one message")
	}
	if o.name != "" {
		name, err := parley.ParseName(o.name)
		if err != nil {
			return o, err
		}
		o.name = name
	}
	return o, nil
}

// WithName sets the name to send under, where the server does not take it from a token. Without
// one the server gives a name, and the client keeps it when it connects again.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithToken sets the token that proves who the client is. When it is no good, or not any more, that is
// the client's end: see [WithTokenFunc] for tokens that are renewed.
func WithToken(token string) Option {
	if token == "" {
		return func(o *options) { o.token, o.fixed = nil, false }
	}
	return func(o *options) {
		o.token, o.fixed = func(context.Context) (string, error) { return token, nil }, true
	}
}

// WithTokenFunc has the client ask for a token each time it connects, and again, in mid-session, a little
// before the one it has ends: nothing is missed then. An error counts as a failed try; the client tries
// again, and so it does when a server that it was connected to takes the token no more. It is called by
// one goroutine of a connection at a time, and by those that call [Client.Rename].
func WithTokenFunc(token func(context.Context) (string, error)) Option {
	return func(o *options) { o.token, o.fixed = token, false }
}

// WithLogger sets where the client logs lost connections and what a server does wrong. By
// default it says nothing. Bodies and tokens are never logged.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithMaxOutbox sets how many messages may be on their way, not acknowledged, before
// [Room.PublishAsync] blocks: 1,024 by default.
func WithMaxOutbox(messages int) Option { return func(o *options) { o.maxOutbox = messages } }

// WithStatus has report called whenever the client's [Status] changes: by one goroutine, in
// order. The client does not reconnect while it runs, and it must not call Close.
func WithStatus(report func(Status)) Option { return func(o *options) { o.status = report } }

// WithRoots sets who vouches for servers at tls:// and wss:// addresses; by default, whom the system
// trusts. A server whose certificate nobody vouches for, or that is for another name, is not spoken to.
func WithRoots(roots *x509.CertPool) Option {
	return func(o *options) { o.tls.RootCAs = roots }
}

// WithDialer sets how a TCP connection is made, for a tunnel or a test. addr is an address given to
// [Connect], as host:port. TLS, where the address asks for it, is spoken on what it gives.
func WithDialer(dial func(ctx context.Context, addr string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}
