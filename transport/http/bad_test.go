package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"parley/transport/http"
)

func TestRequestsOfDoubtfulLengthAreRefusedAndClosed(t *testing.T) {
	f := serve(t, httpapi.Config{})
	const head = "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\n"
	whole := head + "Content-Length: 2\r\n\r\nhi"
	tests := map[string]struct {
		request string
		want    []int
	}{
		"a length and chunks":                   {head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + whole, []int{400}},
		"chunks and a length":                   {head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + whole, []int{400}},
		"two lengths":                           {head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi" + whole, []int{400}},
		"the same length twice":                 {head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi" + whole, []int{400}},
		"small letters":                         {head + "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + whole, []int{400}},
		"in a later request":                    {whole + head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + whole, []int{201, 400}},
		"a length hidden by spaces":             {head + "Content-Length:" + strings.Repeat(" ", 100) + "5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + whole, []int{400}},
		"no number":                             {head + "Content-Length: x\r\n\r\nhi" + whole, []int{400}},
		"an unknown coding":                     {head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + whole, []int{501}},
		"what looks like a head in a body":      {head + "Content-Length: 44\r\n\r\n" + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx\r\nxx"[:44] + head + "Connection: close\r\nContent-Length: 2\r\n\r\nhi", []int{201, 201}},
		"chunks alone, and the connection ends": {head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + whole, []int{201}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := f.raw(tt.request)
			if name == "in a later request" && slices.Equal(got, []int{400}) {
				return // both were read at once, and the connection is not to be trusted
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestHeadsAndBodiesAreBounded(t *testing.T) {
	f := serve(t, httpapi.Config{SlowHead: 200 * time.Millisecond, SlowBody: 200 * time.Millisecond})
	const head = "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\n"
	for name, tt := range map[string]struct {
		request string
		want    int
	}{
		"a megabyte of headers":        {head + strings.Repeat("X-Filler: "+strings.Repeat("x", 1000)+"\r\n", 1000) + "\r\n", 431},
		"a head that does not end":     {head + "X-Slow: ", 408},
		"a body that does not come":    {head + "Content-Length: 10\r\n\r\nhi", 408},
		"chunks that do not come":      {head + "Transfer-Encoding: chunked\r\n\r\n5\r\nh", 408},
		"a length over the limit":      {head + "Content-Length: 100000000\r\n\r\nhi", 413},
		"chunks over the limit":        {head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("8000\r\n"+strings.Repeat("x", 0x8000)+"\r\n", 3), 413},
		"a body asked for but refused": {head + "Expect: 100-continue\r\nContent-Length: 100000000\r\n\r\n", 413},
	} {
		t.Run(name, func(t *testing.T) {
			if got := f.raw(tt.request); !slices.Equal(got, []int{tt.want}) {
				t.Errorf("%v, want %d", got, tt.want)
			}
		})
	}
	if got := f.ask("GET", "/rooms/lobby", "").texts(t); len(got) != 0 {
		t.Errorf("stored: %v", got)
	}
}

// A connection between two requests is closed in the end, without a word.
func TestIdleConnectionsAreClosed(t *testing.T) {
	f := serveWith(t, httpapi.Config{}, func(s *httpapi.Server) { s.SetTimes(200*time.Millisecond, time.Minute) })
	const live = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
	if got := f.raw(live + live); !slices.Equal(got, []int{200, 200}) { // raw reads until it is closed
		t.Errorf("%v", got)
	}
}

// A client that asks and does not read is cut: what it has asked for is not kept for it.
func TestAnswersThatAreNotReadEnd(t *testing.T) {
	var client atomic.Value // its address
	closed := make(chan struct{})
	f := serveWith(t, httpapi.Config{}, func(s *httpapi.Server) {
		s.SetTimes(time.Minute, 300*time.Millisecond)
		s.OnClosed(func(from string) {
			if from == client.Load() {
				close(closed)
			}
		})
	})
	for range 16 {
		f.ask("POST", "/rooms/lobby", strings.Repeat("x", 60<<10))
	}
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	client.Store(nc.LocalAddr().String())
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	const asked = 50 // of nearly a megabyte each, more than the sockets hold
	request := "GET /rooms/lobby HTTP/1.1\r\nHost: localhost\r\n\r\n"
	if _, err := nc.Write([]byte(strings.Repeat(request, asked))); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatalf("it is still being answered: %+v", f.web.Stats())
	}
	n, err := io.Copy(io.Discard, nc) // what the sockets held
	if n > asked<<19 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes were kept for it, and then: %v", n, err)
	}
}

func TestPathsNeverMeanAnotherRoom(t *testing.T) {
	f := serve(t, httpapi.Config{})
	for _, path := range []string{
		"/rooms/..%2fops", "/rooms/%2e%2e%2fops", "/rooms/a%2fb", "/rooms/a/../ops", "/rooms/./ops", "//rooms/ops",
		"/rooms//ops", "/rooms/ops%00", "/rooms/%00", "/rooms/%252e", "/rooms/a%2500", "/rooms/*", "/rooms/%3E", "/rooms/a..b",
		"/rooms/$JS", "/rooms/a%20b", "/rooms/%09", "/rooms/" + strings.Repeat("x", 1024), "/rooms/..", "/rooms/.", "/rooms/a%E2%80%8Db", "/rooms/%ff",
	} {
		for _, method := range []string{"GET", "POST"} {
			request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", method, path)
			if got := f.raw(request); !slices.Equal(got, []int{400}) {
				t.Errorf("%s %s: %v", method, path, got)
			}
		}
	}
	if got := string(f.ask("GET", "/rooms", "").body); got != `{"rooms":[],"more":false}`+"\n" {
		t.Errorf("there are rooms: %s", got)
	}
}

func TestHosts(t *testing.T) {
	f := serve(t, httpapi.Config{Hostnames: []string{"chat.example"}})
	_, port, _ := net.SplitHostPort(f.addr)
	for host, want := range map[string]int{
		f.addr: 200, "127.0.0.1": 200, "localhost": 200, "LOCALHOST.:" + port: 200, "a.localhost": 200, "[::1]:" + port: 200,
		"chat.example": 200, "Chat.Example:443": 200, "127.0.0.1:9": 200,
		"evil.example": 403, "localhost.evil.example": 403, "10.0.0.1": 403, "chat.example.evil": 403, "127.0.0.1.evil.example": 403, "x@localhost": 403,
	} {
		if strings.Contains(host, "@") {
			continue // net/http refuses it by itself
		}
		if a := f.ask("GET", "/livez", "", "Host: "+host); a.status != want {
			t.Errorf("%s: %d, want %d", host, a.status, want)
		}
	}
	if got := f.raw("GET /livez HTTP/1.0\r\n\r\n"); !slices.Equal(got, []int{403}) {
		t.Errorf("no host: %v", got)
	}
	if got := f.raw("GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); !slices.Equal(got, []int{403}) {
		t.Errorf("another host in the request line: %v", got)
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	f := serve(t, httpapi.Config{})
	own := "http://" + f.addr
	for name, tt := range map[string]struct {
		method  string
		headers []string
		want    int
	}{
		"curl":                         {"POST", nil, 201},
		"our own page":                 {"POST", []string{"Origin: " + own, "Sec-Fetch-Site: same-origin"}, 201},
		"our own page, an old browser": {"POST", []string{"Origin: " + own}, 201},
		"a form of another site":       {"POST", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Content-Type: application/x-www-form-urlencoded"}, 403},
		"json of another site":         {"POST", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Content-Type: application/json"}, 403},
		"an old browser":               {"POST", []string{"Origin: https://evil.example"}, 403},
		"a sandboxed frame":            {"POST", []string{"Origin: null"}, 403},
		"another port of this machine": {"POST", []string{"Origin: http://127.0.0.1:1", "Sec-Fetch-Site: same-site"}, 403},
		"a form, in a new page":        {"POST", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, 403},
		"reading from another site":    {"GET", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403},
		"reading by its origin":        {"GET", []string{"Origin: https://evil.example"}, 403},
		"a link":                       {"GET", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, 200},
		"a preflight":                  {"OPTIONS", []string{"Origin: https://evil.example", "Access-Control-Request-Method: POST"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			if a := f.ask(tt.method, "/rooms/lobby", "1", tt.headers...); a.status != tt.want {
				t.Errorf("%d, want %d: %s", a.status, tt.want, a.body)
			}
		})
	}
	if got := f.ask("GET", "/rooms/lobby", "").texts(t); len(got) != 3 {
		t.Errorf("stored: %v", got)
	}
}
