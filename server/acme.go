package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"parley/transport/http"
)

// ACME is how a server gets its certificate by itself (RFC 8555). To use it is to agree to the
// authority's terms.
type ACME struct {
	Domains   []string `yaml:"domains"`           // names the certificate is for; none = no ACME
	Email     string   `yaml:"email"`             // whom the authority tells of trouble; "" = nobody
	Directory string   `yaml:"directory"`         // URL of the authority
	Storage   string   `yaml:"storage" as:"path"` // directory of keys and certificates; "" = acme in Data
	HTTP      string   `yaml:"http"`              // address for the authority's questions over plain HTTP, which sends all others to https; "" = none
	Roots     string   `yaml:"roots" as:"path"`   // PEM of who vouches for the authority itself; "" = the system's
}

// acmeFindings are what is wrong with ACME.
func (c *Config) acmeFindings(f *findings) {
	if len(c.ACME.Domains) == 0 {
		f.need(c.ACME.HTTP == "", "acme.http", "there are no acme.domains to be asked about")
		return
	}
	for i, name := range c.ACME.Domains {
		f.need(hostname.MatchString(name) && !strings.Contains(name, ":"), fmt.Sprintf("acme.domains[%d]", i), "%q is no host's name", name)
	}
	f.need(strings.HasPrefix(c.ACME.Directory, "https://"), "acme.directory", "a URL that begins with https, not %q", c.ACME.Directory)
	f.need(c.HTTP != "", "acme.domains", "the authority asks at the HTTP port, which is off")
	if c.ACME.HTTP != "" {
		_, err := net.ResolveTCPAddr("tcp", c.ACME.HTTP)
		f.need(err == nil, "acme.http", "%v", err)
	}
	_, err := readRoots(c.ACME.Roots)
	f.need(err == nil, "acme.roots", "%v", err)
}

// readRoots reads whom to trust; nil: whom the system trusts.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil // as crypto/tls has it
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}

// acme gets certificates and renews them. Their authority asks for a proof at our own listeners: by TLS-ALPN
// at the HTTP port, and by HTTP where an address is set for it.
type acme struct {
	domains []string
	config  *certmagic.Config
	cache   *certmagic.Cache
	asked   *http.Server // over plain HTTP; nil = not
	door    net.Listener // of asked
	logger  *slog.Logger
}

// openACME makes what gets certificates. Nothing is asked for before it runs.
func openACME(c *Config, web int, logger *slog.Logger) (*identity, error) {
	a := &acme{domains: c.ACME.Domains, logger: logger}
	roots, err := readRoots(c.ACME.Roots)
	if err != nil {
		return nil, badConfig("acme.roots: %w", err)
	}
	storage := c.ACME.Storage
	if storage == "" {
		storage = filepath.Join(c.Data, "acme")
	}
	silent := zap.NewNop() // onEvent says what matters
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
		Logger:           silent,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: storage}, Logger: silent, OnEvent: a.onEvent,
		DefaultServerName: c.ACME.Domains[0], // for who asks for none
	})
	template := certmagic.ACMEIssuer{
		CA: c.ACME.Directory, Email: c.ACME.Email, Agreed: true, TrustedRoots: roots, Logger: silent,
		ListenHost: hostOf(c.HTTP), AltTLSALPNPort: web, DisableHTTPChallenge: c.ACME.HTTP == "",
	}
	if c.ACME.HTTP != "" {
		l, err := listen("acme-http", c.ACME.HTTP)
		if err != nil {
			a.cache.Stop()
			return nil, err
		}
		a.door, template.AltHTTPPort = l, portOf(l.Addr())
	}
	issuer := certmagic.NewACMEIssuer(a.config, template)
	a.config.Issuers = []certmagic.Issuer{issuer}
	if a.door != nil {
		a.asked = &http.Server{
			Handler:           issuer.HTTPChallengeHandler(httpapi.ToTLS(c.names(), web)),
			ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Second, WriteTimeout: 10 * time.Second,
			MaxHeaderBytes: 16 << 10,
			ErrorLog:       slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		}
	}
	return &identity{get: a.config.GetCertificate, run: a.run}, nil
}

func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address) // it was checked
	return host
}

func portOf(a net.Addr) int {
	_, port, _ := net.SplitHostPort(a.String())
	n, _ := strconv.Atoi(port)
	return n
}

// Times between tries to get the first certificate. Authorities count failures by the hour.
const (
	acmeAgain = 10 * time.Second
	acmeMost  = time.Hour
)

// run gets certificates for the domains, and answers the authority, until ctx ends. Renewals are the
// cache's work.
func (a *acme) run(ctx context.Context) {
	served := make(chan struct{})
	go func() {
		defer close(served)
		if a.asked == nil {
			return
		}
		if err := a.asked.Serve(a.door); !errors.Is(err, http.ErrServerClosed) {
			a.logger.Error("the authority cannot ask over HTTP", "err", err)
		}
	}()
	for wait := acmeAgain; ; wait = min(2*wait, acmeMost) {
		if err := a.config.ManageSync(ctx, a.domains); err == nil || ctx.Err() != nil {
			break
		}
		a.logger.Warn("a certificate is missing; trying again", "in", wait) // onEvent has said why
		again := time.NewTimer(wait)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
		}
	}
	<-ctx.Done()
	if a.asked != nil {
		_ = a.asked.Close() // nobody there is owed more than an answer that says where to go
	}
	<-served
	a.cache.Stop()
}

// onEvent tells what becomes of certificates.
func (a *acme) onEvent(_ context.Context, event string, data map[string]any) error {
	switch event {
	case "cert_obtained":
		a.logger.Info("there is a certificate", "domain", data["identifier"], "renewal", data["renewal"])
	case "cert_failed":
		a.logger.Error("there is no new certificate", "domain", data["identifier"], "renewal", data["renewal"], "err", data["error"])
	}
	return nil
}
