package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// TLS is the certificate that a server shows, from files; without it, and without ACME, nothing is
// encrypted.
type TLS struct {
	Cert string `yaml:"cert" as:"path"` // PEM, the server's own certificate first, then those that vouch for it
	Key  string `yaml:"key" as:"path"`  // PEM

	PlainTCP bool `yaml:"plain_tcp"` // the lines' port speaks no TLS all the same
}

// secure says whether HTTP, and the lines' port unless it is kept plain, speak TLS.
func (c *Config) secure() bool { return c.TLS.Cert != "" || len(c.ACME.Domains) > 0 }

// tlsFindings are what is wrong with certificates and ACME.
func (c *Config) tlsFindings() (f findings) {
	f.need((c.TLS.Cert == "") == (c.TLS.Key == ""), "tls", "a certificate and its key belong together: give both, cert and key")
	if c.TLS.Cert != "" && c.TLS.Key != "" {
		_, err := readPair(c.TLS)
		f.need(err == nil, "tls", "%v", err)
		f.need(len(c.ACME.Domains) == 0, "acme.domains", "there is a certificate under tls: one of both is enough")
	}
	f.need(!c.TLS.PlainTCP || c.secure(), "tls.plain_tcp", "nothing speaks TLS, so the lines' port is plain")
	f.need(!c.TLS.PlainTCP || c.Open || !isPublic(c.TCP), "tls.plain_tcp", "others can reach %s: say --open if what is said there may be read on its way", c.TCP)
	c.acmeFindings(&f)
	return f
}

// readPair reads a certificate with its key. Nothing of the key is in the error.
func readPair(c TLS) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	var missing *fs.PathError
	if err != nil && !errors.As(err, &missing) {
		err = fmt.Errorf("%s and %s: %w", c.Cert, c.Key, err)
	}
	if err != nil {
		return nil, err
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Cert, err)
		}
	}
	return &pair, nil
}

// pollEvery is how often the files of a certificate are looked at.
const pollEvery = 2 * time.Second

// pair is a certificate with its key, read anew when their files change.
type pair struct {
	logger *slog.Logger
	shown  atomic.Pointer[tls.Certificate]

	mu    sync.Mutex
	files TLS
	seen  [2]fileState // of the files when they were read last, be it in vain
}

// fileState is by what a change of a file is noticed.
type fileState struct {
	size    int64
	changed time.Time
}

func stateOf(path string) (s fileState) {
	if info, err := os.Stat(path); err == nil {
		s = fileState{info.Size(), info.ModTime()}
	}
	return s
}

func openPair(files TLS, logger *slog.Logger) (*pair, error) {
	p := &pair{logger: logger}
	cert, err := p.read(files)
	if err != nil {
		return nil, err
	}
	p.show(cert)
	return p, nil
}

// read reads files, which are those to look at from now on.
func (p *pair) read(files TLS) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files = files
	p.seen = [2]fileState{stateOf(files.Cert), stateOf(files.Key)} // before they are read: what changes meanwhile is seen
	return readPair(files)
}

// show has handshakes show a certificate. Who has shaken hands goes on.
func (p *pair) show(cert *tls.Certificate) {
	p.shown.Store(cert)
	if left := time.Until(cert.Leaf.NotAfter); left < 0 {
		p.logger.Warn("the certificate has expired: clients will not trust it", "expired", cert.Leaf.NotAfter)
	}
}

// change is the part that reads the files when the configuration is reloaded.
func (p *pair) change(_ context.Context, c *Config) (apply func(), err error) {
	cert, err := readPair(c.TLS)
	if err != nil {
		return nil, badConfig("tls: %w", err)
	}
	return func() {
		p.mu.Lock()
		p.files, p.seen = c.TLS, [2]fileState{stateOf(c.TLS.Cert), stateOf(c.TLS.Key)}
		p.mu.Unlock()
		p.show(cert)
	}, nil
}

// poll reads the files when they have changed. A pair that is no good is not shown, and the log says
// why, once for each change.
func (p *pair) poll() {
	p.mu.Lock()
	files := p.files
	changed := p.seen != [2]fileState{stateOf(files.Cert), stateOf(files.Key)}
	p.mu.Unlock()
	if !changed {
		return
	}
	cert, err := p.read(files)
	if err != nil {
		p.logger.Error("the certificate has changed and cannot be used; the old one stays", "err", err)
		return
	}
	p.show(cert)
	p.logger.Info("the certificate was read anew", "expires", cert.Leaf.NotAfter)
}

// run looks at the files until ctx ends.
func (p *pair) run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.poll()
		case <-ctx.Done():
			return
		}
	}
}

// get is tls.Config's GetCertificate.
func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.shown.Load(), nil }

// identity is by what a server proves who it is.
type identity struct {
	get    func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	change part                      // when the configuration is reloaded; nil = nothing changes
	run    func(ctx context.Context) // keeps it good, until ctx ends
}

// openIdentity finds the certificate to show; nil where TLS is not spoken. web is the port of HTTP.
func openIdentity(c *Config, web int, logger *slog.Logger) (*identity, error) {
	switch {
	case len(c.ACME.Domains) > 0:
		return openACME(c, web, logger)
	case c.TLS.Cert == "":
		return nil, nil // none is none
	}
	p, err := openPair(c.TLS, logger)
	if err != nil {
		return nil, badConfig("tls: %w", err)
	}
	return &identity{get: p.get, change: p.change, run: p.run}, nil
}

// steady is the part that refuses to change between TLS and none while the server runs.
func steady(was Config) part {
	return func(_ context.Context, c *Config) (func(), error) {
		if (was.TLS.Cert == "") != (c.TLS.Cert == "") || was.TLS.PlainTCP != c.TLS.PlainTCP {
			return nil, badConfig("tls: what speaks TLS is decided when the server starts: start it again")
		}
		return func() {}, nil
	}
}

// config is that of the listeners; protocols are those to agree on.
func (i *identity) config(protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: i.get, NextProtos: protocols}
}
