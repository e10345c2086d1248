package server_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/internal/certtest"
	"parley/server"
)

// secured is a configuration with a certificate, and the authority behind it.
func secured(t *testing.T) (server.Config, *certtest.Authority) {
	t.Helper()
	authority := certtest.New(t)
	c := configuration(t)
	c.TLS.Cert, c.TLS.Key, _ = authority.Write(t.TempDir())
	return c, authority
}

// shown gives the certificate that a server shows.
func shown(t *testing.T, addr string, pool *x509.CertPool) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0]
}

// await waits until something holds that nobody tells of.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited for %s", what)
		}
	}
}

func TestTLSOnEveryPort(t *testing.T) {
	c, authority := secured(t)
	addresses, stop := run(t, c)
	if !addresses.SecureTCP || !addresses.SecureHTTP {
		t.Errorf("%+v", addresses)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: authority.Client()}}
	defer client.CloseIdleConnections()
	resp, err := client.Post("https://"+addresses.HTTP+"/rooms/lobby", "text/plain", strings.NewReader("by HTTPS"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}

	lines, err := tls.Dial("tcp", addresses.TCP, authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lines.Close() }()
	_, _ = io.WriteString(lines, "/history 1\n")
	for in := bufio.NewReader(lines); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "by HTTPS") {
			break
		}
	}

	for request, want := range map[string]string{
		"hello\n":               "* bad_request: TLS is spoken here",
		`{"op":"hello"}` + "\n": `{"op":"error","code":"bad_request","message":"TLS is spoken here`,
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n": "HTTP/1.1 400 Bad Request\r\n",
	} {
		plain, err := net.Dial("tcp", addresses.TCP)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(plain, request)
		got, _ := io.ReadAll(plain)
		if !strings.HasPrefix(string(got), want) || strings.HasPrefix(request, "GET") && !strings.Contains(string(got), "https://"+addresses.HTTP) {
			t.Errorf("%q is answered with %q", request, got)
		}
		_ = plain.Close()
	}
	if status, body := get(t, "http://"+addresses.HTTP+"/livez"); status != 400 || !strings.Contains(body, "https") {
		t.Errorf("%d %s", status, body)
	}
	resp, err = client.Get("https://" + addresses.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	for _, want := range []string{
		`parley_tls_handshakes_total{port="tcp"} 1`,
		`parley_tls_handshakes_failed_total{port="tcp",why="plain"} 3`,
		`parley_tls_handshakes_failed_total{port="http",why="plain"} 1`,
	} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("no %s", want)
		}
	}
	client.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestPlainLinesBesideTLS(t *testing.T) {
	c, authority := secured(t)
	c.TLS.PlainTCP = true
	addresses, stop := run(t, c)
	shown(t, addresses.HTTP, authority.Pool())
	plain, err := net.Dial("tcp", addresses.TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	if line, err := bufio.NewReader(plain).ReadString('\n'); err != nil || addresses.SecureTCP {
		t.Errorf("%q, %v", line, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A certificate whose files change is shown from the next handshake on, connections go on, and a bad one
// changes nothing.
func TestCertificatesAreReadAnew(t *testing.T) {
	c, authority := secured(t)
	addresses, log, reload := reloadable(t, c)
	first := shown(t, addresses.TCP, authority.Pool())
	kept, err := tls.Dial("tcp", addresses.TCP, authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()

	other := certtest.New(t)
	replace(t, c.TLS, other)
	pool := authority.Pool()
	await(t, "the new certificate", func() bool {
		if err := trusts(addresses.TCP, other.Pool()); err == nil {
			return true
		}
		return false
	})
	if trusts(addresses.HTTP, pool) == nil || trusts(addresses.HTTP, other.Pool()) != nil {
		t.Error("HTTP shows another certificate than the lines")
	}

	cert, _ := certtest.New(t).Pair("localhost") // to another key
	overwrite(t, c.TLS.Cert, cert)
	await(t, "why it is no good", func() bool { return strings.Contains(log.String(), "the old one stays") })
	if err := trusts(addresses.TCP, other.Pool()); err != nil {
		t.Errorf("the old one is gone: %v", err)
	}
	reload(c)
	if !strings.Contains(log.String(), "not reloaded") || trusts(addresses.TCP, other.Pool()) != nil {
		t.Errorf("a reload with a bad pair: %s", log)
	}

	moved := c
	moved.TLS.Cert, moved.TLS.Key, _ = authority.Write(t.TempDir())
	reload(moved)
	if err := trusts(addresses.TCP, pool); err != nil {
		t.Errorf("after a reload with other files: %v", err)
	}
	off := moved
	off.TLS = server.TLS{}
	reload(off)
	if !strings.Contains(log.String(), "start it again") || trusts(addresses.TCP, pool) != nil {
		t.Errorf("TLS cannot be turned off: %s", log)
	}
	if _, err := io.WriteString(kept, "/who\n"); err != nil {
		t.Error(err)
	}
	for in := bufio.NewReader(kept); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "* ") {
			break
		}
	}
	if strings.Contains(log.String(), "PRIVATE") || first == nil {
		t.Error("the log holds a key")
	}
}

// trusts says whether a client that trusts a pool takes a server for what it says.
func trusts(addr string, pool *x509.CertPool) error {
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		return err
	}
	return c.Close()
}

// replace puts another pair where one is.
func replace(t *testing.T, files server.TLS, by *certtest.Authority) {
	t.Helper()
	cert, key := by.Pair("127.0.0.1", "localhost")
	overwrite(t, files.Cert, cert)
	overwrite(t, files.Key, key)
}

func overwrite(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesThatCannotBe(t *testing.T) {
	authority := certtest.New(t)
	cert, key, _ := authority.Write(t.TempDir())
	_, another := authority.Pair("localhost")
	stranger := filepath.Join(t.TempDir(), "key.pem")
	overwrite(t, stranger, another)
	for name, set := range map[string]func(*server.Config){
		"no key":                  func(c *server.Config) { c.TLS.Cert = cert },
		"no certificate":          func(c *server.Config) { c.TLS.Key = key },
		"no file":                 func(c *server.Config) { c.TLS.Cert, c.TLS.Key = cert, cert+".none" },
		"another's key":           func(c *server.Config) { c.TLS.Cert, c.TLS.Key = cert, stranger },
		"no PEM":                  func(c *server.Config) { c.TLS.Cert, c.TLS.Key = key, cert },
		"a certificate and ACME":  func(c *server.Config) { c.TLS.Cert, c.TLS.Key, c.ACME.Domains = cert, key, []string{"chat.example"} },
		"plain lines without TLS": func(c *server.Config) { c.TLS.PlainTCP = true },
		"plain lines for others":  func(c *server.Config) { c.TLS, c.TCP = server.TLS{Cert: cert, Key: key, PlainTCP: true}, "0.0.0.0:0" },
		"ACME without HTTP":       func(c *server.Config) { c.ACME.Domains, c.HTTP = []string{"chat.example"}, "" },
		"ACME for a URL":          func(c *server.Config) { c.ACME.Domains = []string{"https://chat.example"} },
		"ACME by an open directory": func(c *server.Config) {
			c.ACME.Domains, c.ACME.Directory = []string{"chat.example"}, "http://ca.example"
		},
		"a proxy that is no network": func(c *server.Config) { c.Proxies = []string{"10.0.0.0/99"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := configuration(t)
			set(&c)
			err := c.Check()
			if bad := (*server.ConfigError)(nil); !errors.As(err, &bad) || strings.Contains(err.Error(), "PRIVATE KEY-----") {
				t.Errorf("%v", err)
			}
		})
	}
}

// Behind a listed proxy each client has its own account, and the proxy has none.
func TestClientsBehindAProxyAreCountedEach(t *testing.T) {
	c := configuration(t)
	c.Proxies = []string{"127.0.0.1"}
	c.Limits.ConnectionsPerAddress, c.Limits.Loopback = 1, true
	addresses, _, _ := reloadable(t, c)
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	ask := func(path, client string) (status int, leave func() error) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+addresses.HTTP+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "1.1.1.1, "+client)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp.StatusCode, resp.Body.Close
	}
	const stream = "/rooms/lobby/events"
	_, leave := ask(stream, "203.0.113.1")
	for _, tt := range []struct {
		path, client string
		want         int
	}{
		{stream, "203.0.113.1", 429}, // beside its first
		{stream, "203.0.113.2", 200},
		{"/rooms/lobby", "203.0.113.1", 200}, // a request is no connection
		{"/rooms/lobby", "203.0.113.3", 200},
	} {
		if got, _ := ask(tt.path, tt.client); got != tt.want {
			t.Errorf("%s for %s: %d, want %d", tt.path, tt.client, got, tt.want)
		}
	}
	_ = leave()
	await(t, "its place", func() bool {
		status, _ := ask(stream, "203.0.113.1")
		return status == 200
	})
}

// What a listed proxy says is the client's address; others are refused when they try.
func TestProxiesAreListed(t *testing.T) {
	c := configuration(t)
	addresses, log, reload := reloadable(t, c)
	const header = "PROXY TCP4 203.0.113.7 127.0.0.1 4711 8000\r\n"
	say := func(text string) string {
		t.Helper()
		nc, err := net.Dial("tcp", addresses.TCP)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(nc, text)
		_ = nc.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(nc)
		return string(got)
	}
	const binary = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x12\x67\x1f\x40"
	for _, h := range []string{header, binary} {
		if got := say(h + "/who\n"); !strings.Contains(got, "* bad_request: no proxy is listed") || strings.Contains(got, "guest-") {
			t.Errorf("%q", got)
		}
	}
	if _, body := get(t, "http://"+addresses.HTTP+"/rooms"); strings.Contains(body, "lobby") && strings.Contains(body, `"messages":1`) {
		t.Errorf("a header was published: %s", body)
	}
	c.Proxies = []string{"127.0.0.0/8"}
	reload(c)
	for _, h := range []string{header, binary} {
		if got := say(h + "/who\n"); strings.Contains(got, "bad_request") || !strings.Contains(got, "* ") {
			t.Errorf("%q\n%s", got, log)
		}
	}
}
