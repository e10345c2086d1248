package server_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"parley/server"
)

// certifier is an ACME authority in this process: pebble, which is made for tests. Every name is 127.0.0.1
// to it.
type certifier struct {
	t         *testing.T
	directory *httptest.Server
	began     chan http.Handler // what answers, once the ports to ask at are known
}

func startCertifier(t *testing.T) *certifier {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	c := &certifier{t: t, began: make(chan http.Handler, 1)}
	c.directory = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := <-c.began // until then an ACME client waits
		c.began <- h
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(c.directory.Close)
	return c
}

// ask has the authority ask at ports from now on.
func (c *certifier) ask(overHTTP, overTLS int) {
	silent, store := log.New(io.Discard, "", 0), db.NewMemoryStore()
	issues := ca.New(silent, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "as usual"}})
	asks := va.New(silent, overHTTP, overTLS, true, c.names(), store)
	front := wfe.New(silent, store, asks, issues, []string{"pebble.example"}, true, false, 0, 0)
	c.began <- front.Handler()
}

// names is a server of DNS.
func (c *certifier) names() string {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			a.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
				A:   net.IPv4(127, 0, 0, 1),
			}}
		}
		_ = w.WriteMsg(a)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.ActivateAndServe()
	}()
	c.t.Cleanup(func() {
		_ = s.Shutdown()
		<-served
	})
	return l.Addr().String()
}

// config has a server use the authority.
func (c *certifier) config() server.Config {
	c.t.Helper()
	config := configuration(c.t)
	roots := filepath.Join(c.t.TempDir(), "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.directory.Certificate().Raw})
	if err := os.WriteFile(roots, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
	config.ACME = server.ACME{
		Domains: []string{"chat.example"}, Email: "ada@chat.example", Roots: roots,
		Directory: c.directory.URL + wfe.DirectoryPath,
	}
	return config
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(port)
	return n
}

func TestACMEAsksAtTheHTTPPort(t *testing.T) {
	authority := startCertifier(t)
	config := authority.config()
	addresses, stop := run(t, config)
	authority.ask(1, portOf(t, addresses.HTTP)) // nobody answers at port 1
	awaitCertificate(t, addresses)
	// All doors show it, the name is answered to, and the data directory keeps it.
	if status, body := getSecure(t, addresses.HTTP, "/livez"); status != 200 || !strings.Contains(body, "live") {
		t.Errorf("%d %s", status, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	kept, err := filepath.Glob(filepath.Join(config.Data, "acme", "certificates", "*", "chat.example", "chat.example.crt"))
	if err != nil || len(kept) != 1 {
		t.Errorf("%v, %v", kept, err)
	}
}

func TestACMEAsksOverHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := l.Addr().String()
	_ = l.Close()
	authority := startCertifier(t)
	config := authority.config()
	config.ACME.HTTP = asked
	addresses, stop := run(t, config)
	authority.ask(portOf(t, asked), 1)
	awaitCertificate(t, addresses)

	for _, tt := range []struct {
		method, host string
		want         int
		to           string
	}{
		{"GET", "chat.example", 308, "https://chat.example:" + strconv.Itoa(portOf(t, addresses.HTTP)) + "/rooms/lobby?last=1"},
		{"POST", "chat.example", 400, ""},
		{"GET", "evil.example", 400, ""},
	} {
		req, err := http.NewRequest(tt.method, "http://"+asked+"/rooms/lobby?last=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tt.want || resp.Header.Get("Location") != tt.to {
			t.Errorf("%s %s: %d to %q", tt.method, tt.host, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// An authority that cannot be reached stops nothing, neither the start nor the end.
func TestACMEWithoutItsAuthority(t *testing.T) {
	authority := startCertifier(t)
	config := authority.config()
	authority.directory.Close()
	_, stop := run(t, config)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// awaitCertificate waits until both doors show a certificate for the domain.
func awaitCertificate(t *testing.T, addresses server.Addresses) {
	t.Helper()
	for _, addr := range []string{addresses.HTTP, addresses.TCP} {
		await(t, "a certificate", func() bool {
			c, err := dialSecure(addr)
			if err != nil {
				return false
			}
			defer func() { _ = c.Close() }()
			return c.ConnectionState().PeerCertificates[0].VerifyHostname("chat.example") == nil
		})
	}
}

// dialSecure speaks TLS with whoever is there.
func dialSecure(addr string) (*tls.Conn, error) {
	return tls.Dial("tcp", addr, &tls.Config{ServerName: "chat.example", InsecureSkipVerify: true}) // its authority is not the system's
}

// getSecure reads what is at a path of the domain.
func getSecure(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	transport := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return dialSecure(addr) }}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://chat.example" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
