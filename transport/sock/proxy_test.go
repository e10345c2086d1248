package sock_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/pires/go-proxyproto"

	"parley/internal/certtest"
	"parley/transport/sock"
)

// header is one of the PROXY protocol for a client.
func header(t *testing.T, version byte, client string) []byte {
	t.Helper()
	source, err := net.ResolveTCPAddr("tcp", client)
	if err != nil {
		t.Fatal(err)
	}
	h := proxyproto.HeaderProxyFromAddrs(version, source, &net.TCPAddr{IP: source.IP, Port: 8000})
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func proxies(t *testing.T, list ...string) sock.Proxies {
	t.Helper()
	p, err := sock.ParseProxies(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAListedProxySaysWhoItsClientIs(t *testing.T) {
	t.Parallel()
	local := []byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")
	for name, tt := range map[string]struct {
		header []byte
		want   string // "" = who is at the other end
	}{
		"version 1":            {header(t, 1, "203.0.113.7:4711"), "203.0.113.7:4711"},
		"version 1, IPv6":      {header(t, 1, "[2001:db8::7]:4711"), "[2001:db8::7]:4711"},
		"version 1, unknown":   {[]byte("PROXY UNKNOWN\r\n"), ""},
		"version 2":            {header(t, 2, "203.0.113.7:4711"), "203.0.113.7:4711"},
		"version 2, IPv6":      {header(t, 2, "[2001:db8::7]:4711"), "[2001:db8::7]:4711"},
		"a check of the proxy": {local, ""},
		"none":                 {nil, ""},
	} {
		for _, chop := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				authority := certtest.New(t)
				for _, config := range []*tls.Config{nil, authority.Server()} {
					f := listen(t, sock.ListenerConfig{TLS: config})
					f.listener.SetProxies(proxies(t, "127.0.0.0/8"))
					nc := f.dialTCP()
					if chop {
						for _, b := range tt.header {
							_, _ = nc.Write([]byte{b})
						}
					} else if _, err := nc.Write(tt.header); err != nil {
						t.Fatal(err)
					}
					client := nc
					if config != nil {
						client = tls.Client(nc, authority.Client())
					}
					if _, err := io.WriteString(client, "hello"); err != nil {
						t.Fatal(err)
					}
					c := f.next()
					if got := c.read(t, 5); string(got) != "hello" {
						t.Errorf("%q", got)
					}
					want := tt.want
					if want == "" {
						want = nc.LocalAddr().String()
					}
					if got := c.Addr().String(); got != want {
						t.Errorf("the client is %s, want %s", got, want)
					}
				}
			})
		}
	}
}

func TestASilentClientOfAListedProxyIsGreeted(t *testing.T) {
	t.Parallel()
	f := listen(t, sock.ListenerConfig{})
	f.listener.SetProxies(proxies(t, "127.0.0.1"))
	nc := f.dialTCP()
	if got := f.next().Addr().String(); got != nc.LocalAddr().String() {
		t.Error(got)
	}
}

func TestHeadersThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	v2 := header(t, 2, "203.0.113.7:4711")
	for name, h := range map[string][]byte{
		"no end":          append([]byte("PROXY TCP4 "), bytes.Repeat([]byte("9"), 200)...),
		"no address":      []byte("PROXY TCP4 here there 1 2\r\n"),
		"a port too many": []byte("PROXY TCP4 1.2.3.4 1.2.3.4 70000 1\r\n"),
		"another family":  append(append(append([]byte{}, v2[:13]...), 0x77), v2[14:]...),
		"too long":        append(append(append([]byte{}, v2[:14]...), 0xff, 0xff), v2[16:]...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := listen(t, sock.ListenerConfig{})
			f.listener.SetProxies(proxies(t, "127.0.0.1"))
			nc := f.dialTCP()
			_, _ = nc.Write(h)
			if got, _ := io.ReadAll(nc); len(got) != 0 {
				t.Errorf("%q", got)
			}
			await(t, "the counter", func() bool { return f.listener.Stats().BadHeaders == 1 })
			if len(f.conns) != 0 {
				t.Error("it became a connection")
			}
		})
	}
}

// Who is no proxy only claims: the header is data like any other, and the address its own.
func TestOthersCannotSayWhoTheyAre(t *testing.T) {
	t.Parallel()
	for _, listed := range []sock.Proxies{nil, proxies(t, "10.0.0.0/8")} {
		f := listen(t, sock.ListenerConfig{})
		f.listener.SetProxies(listed)
		nc := f.dialTCP()
		h := header(t, 1, "203.0.113.7:4711")
		_, _ = nc.Write(h)
		c := f.next()
		if got := c.read(t, len(h)); !bytes.Equal(got, h) || !sock.Begins(got) {
			t.Errorf("%q", got)
		}
		if got := c.Addr().String(); got != nc.LocalAddr().String() {
			t.Errorf("the client is %s", got)
		}
	}
}

func TestForwardedFor(t *testing.T) {
	t.Parallel()
	trusted := proxies(t, "10.0.0.0/8", "2001:db8:1::/48")
	for name, tt := range map[string]struct {
		from    string
		headers []string // name, value
		want    string
	}{
		"nobody says anything":                {"198.51.100.1:5", nil, "198.51.100.1:5"},
		"a stranger's word":                   {"198.51.100.1:5", []string{"X-Forwarded-For", "1.1.1.1"}, "198.51.100.1:5"},
		"a stranger's Forwarded":              {"198.51.100.1:5", []string{"Forwarded", "for=1.1.1.1"}, "198.51.100.1:5"},
		"a proxy's":                           {"10.0.0.1:5", []string{"X-Forwarded-For", "203.0.113.7"}, "203.0.113.7:0"},
		"a proxy that says nothing":           {"10.0.0.1:5", nil, "10.0.0.1:5"},
		"what the client put in front":        {"10.0.0.1:5", []string{"X-Forwarded-For", "1.1.1.1, 203.0.113.7"}, "203.0.113.7:0"},
		"in a header of its own":              {"10.0.0.1:5", []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-For", "203.0.113.7"}, "203.0.113.7:0"},
		"two proxies":                         {"10.0.0.1:5", []string{"X-Forwarded-For", "1.1.1.1, 203.0.113.7, 10.9.9.9"}, "203.0.113.7:0"},
		"a client that calls itself a proxy":  {"10.0.0.1:5", []string{"X-Forwarded-For", "10.1.1.1"}, "10.1.1.1:0"},
		"what is no address":                  {"10.0.0.1:5", []string{"X-Forwarded-For", "1.1.1.1, unknown"}, "10.0.0.1:5"},
		"IPv6 with a port":                    {"[2001:db8:1::1]:5", []string{"X-Forwarded-For", "[2001:db8::7]:4711"}, "[2001:db8::7]:4711"},
		"IPv4 in IPv6":                        {"[::ffff:10.0.0.1]:5", []string{"X-Forwarded-For", "::ffff:203.0.113.7"}, "203.0.113.7:0"},
		"Forwarded":                           {"10.0.0.1:5", []string{"Forwarded", `for=1.1.1.1;proto=https, For="[2001:db8::7]:4711";by=10.0.0.1`}, "[2001:db8::7]:4711"},
		"Forwarded that hides whom it hears":  {"10.0.0.1:5", []string{"Forwarded", "for=1.1.1.1, for=_hidden"}, "10.0.0.1:5"},
		"a client's Forwarded that is passed": {"10.0.0.1:5", []string{"Forwarded", "for=1.1.1.1", "X-Forwarded-For", "203.0.113.7"}, "203.0.113.7:0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tt.from, Header: http.Header{}}
			for i := 0; i < len(tt.headers); i += 2 {
				r.Header.Add(tt.headers[i], tt.headers[i+1])
			}
			if got := trusted.Client(r).String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// Who is listed may change while the listener waits for somebody to come.
func TestProxiesCanBeListedLater(t *testing.T) {
	t.Parallel()
	f := listen(t, sock.ListenerConfig{})
	f.dial()
	f.listener.SetProxies(proxies(t, "127.0.0.1"))
	for range 3 {
		nc := f.dialTCP()
		if _, err := nc.Write(append(header(t, 2, "203.0.113.7:4711"), "hi"...)); err != nil {
			t.Fatal(err)
		}
		c := f.next()
		if got := c.read(t, 2); string(got) != "hi" || c.Addr().String() != "203.0.113.7:4711" {
			t.Errorf("%q from %s", got, c.Addr())
		}
	}
	f.listener.SetProxies(nil)
	nc := f.dialTCP()
	_, _ = io.WriteString(nc, "PROXY ")
	if got := f.next().read(t, 6); string(got) != "PROXY " {
		t.Errorf("%q", got)
	}
}

// However a header comes in pieces, it is measured the same, and what is measured can be read without harm.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 127.0.0.1 4711 8000\r\nhello"), 7)
	f.Add([]byte("PROXY UNKNOWN\r\n"), 1)
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x12\x67\x1f\x40hello"), 15)
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"), 3)
	f.Add([]byte("GET / HTTP/1.1\r\n"), 2)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		size, whole, err := sock.Measure(data)
		if size > len(data) && whole || size < 0 || whole && err != nil {
			t.Fatalf("%d, %v, %v of %d bytes", size, whole, err, len(data))
		}
		if cut > 0 && cut < len(data) {
			if s, w, e := sock.Measure(data[:cut]); w && (s != size || !whole) || e != nil && err == nil {
				t.Fatalf("a part of it is %d, %v, %v, and all of it %d, %v, %v", s, w, e, size, whole, err)
			}
		}
		if !whole || size == 0 {
			return
		}
		if addr, err := sock.ParseHeader(data[:size]); err == nil && addr != nil && addr.(*net.TCPAddr).IP == nil {
			t.Fatalf("an address without one: %v", addr)
		}
	})
}

// Nothing that is claimed makes an address that is none, or another's of a client who is no proxy.
func FuzzForwarded(f *testing.F) {
	f.Add("10.0.0.1:5", "1.1.1.1, 203.0.113.7", "")
	f.Add("10.0.0.1:5", "", `for="[2001:db8::7]:4711";by=10.0.0.1, for=_x`)
	f.Add("198.51.100.1:5", "1.1.1.1", "for=1.1.1.1")
	trusted, err := sock.ParseProxies([]string{"10.0.0.0/8"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, from, list, hops string) {
		r := &http.Request{RemoteAddr: from, Header: http.Header{}}
		if list != "" {
			r.Header.Set("X-Forwarded-For", list)
		}
		if hops != "" {
			r.Header.Set("Forwarded", hops)
		}
		peer, client := sock.ClientAddr(r), trusted.Client(r)
		if !trusted.Trusts(peer.Addr()) && client != peer || peer.IsValid() && !client.IsValid() {
			t.Fatalf("%v became %v", peer, client)
		}
	})
}
