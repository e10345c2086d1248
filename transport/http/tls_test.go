package httpapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"parley/internal/certtest"
	"parley/transport/http"
	"parley/transport/sock"
)

// overTLS has what follows in a test speak TLS.
func overTLS(t *testing.T) {
	t.Helper()
	secure = certtest.New(t)
	t.Cleanup(func() { secure = nil })
}

// What holds over TCP holds over TLS, where the guard reads through another connection.
func TestOverTLS(t *testing.T) {
	overTLS(t)
	for name, test := range map[string]func(*testing.T){
		"doubtful lengths": TestRequestsOfDoubtfulLengthAreRefusedAndClosed,
		"bounds":           TestHeadsAndBodiesAreBounded,
		"paths":            TestPathsNeverMeanAnotherRoom,
		"hosts":            TestHosts,
		"posts":            TestWhatIsPostedIsStored,
		"pages":            TestPages,
		"methods":          TestMethods,
	} {
		t.Run(name, test)
	}
}

func TestSecureAnswersSaySo(t *testing.T) {
	const header = "Strict-Transport-Security"
	if a := serve(t, httpapi.Config{}).ask("GET", "/livez", ""); a.header.Get(header) != "" {
		t.Errorf("over TCP: %v", a.header)
	}
	overTLS(t)
	f := serve(t, httpapi.Config{})
	f.client.TLSClientConfig.NextProtos = []string{"h2", "http/1.1"}
	for path, want := range map[string]int{"/livez": 200, "/rooms/lobby": 200, "/nowhere": 404, "/rooms/a%2fb": 400} {
		if a := f.ask("GET", path, ""); a.status != want || a.header.Get(header) != "max-age=31536000" {
			t.Errorf("%s: %d, %v", path, a.status, a.header)
		}
	}
	req, err := http.NewRequest(http.MethodGet, "https://"+f.addr+"/rooms/lobby/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := f.client.RoundTrip(req.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Header.Get(header) == "" || resp.TLS.NegotiatedProtocol != "http/1.1" {
		t.Errorf("a stream: %v, %q", resp.Header, resp.TLS.NegotiatedProtocol)
	}
}

func TestPlainRequestsAtASecurePortAreToldOnce(t *testing.T) {
	overTLS(t)
	f := serve(t, httpapi.Config{})
	secure = nil // what follows is plain
	if got := f.raw("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); len(got) != 1 || got[0] != 400 {
		t.Errorf("%v", got)
	}
}

// The address that a handler sees is the client's, if a listed proxy has said it.
func TestTheClientBehindAProxy(t *testing.T) {
	seen := make(chan string, 1)
	page := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- sock.ClientAddr(r).Addr().String() })
	for name, tt := range map[string]struct {
		proxies sock.Proxies
		header  string
		want    string
	}{
		"nobody is listed": {nil, "X-Forwarded-For: 203.0.113.7", "127.0.0.1"},
		"another is":       {sock.Proxies{netip.MustParsePrefix("10.0.0.0/8")}, "X-Forwarded-For: 203.0.113.7", "127.0.0.1"},
		"it is listed":     {sock.Proxies{netip.MustParsePrefix("127.0.0.0/8")}, "X-Forwarded-For: 1.1.1.1, 203.0.113.7", "203.0.113.7"},
		"Forwarded":        {sock.Proxies{netip.MustParsePrefix("127.0.0.0/8")}, "Forwarded: for=203.0.113.7", "203.0.113.7"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, httpapi.Config{Page: page})
			f.web.SetProxies(tt.proxies)
			req, err := http.NewRequest(http.MethodGet, "http://"+f.addr+"/who", nil)
			if err != nil {
				t.Fatal(err)
			}
			key, value, _ := strings.Cut(tt.header, ": ")
			req.Header.Set(key, value)
			resp, err := f.client.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := <-seen; got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// A header of the PROXY protocol is bad input where nobody is listed.
func TestProxyHeadersOfOthersAreRefused(t *testing.T) {
	f := serve(t, httpapi.Config{})
	for _, h := range []string{"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"} {
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(nc, h+"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if got, _ := io.ReadAll(nc); !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
			t.Errorf("%q", got)
		}
		_ = nc.Close()
	}
}
