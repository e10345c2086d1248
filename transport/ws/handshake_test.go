package ws_test

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	"parley"
	"parley/transport/ws"
)

func TestHandshakeChecksTheOrigin(t *testing.T) {
	f := start(t, parley.DefaultLimits(), ws.Config{Ping: -1, AllowedOrigins: []string{"https://chat.example.com", "app.example.com:8443"}})
	for _, c := range []struct {
		origin  string
		allowed bool
	}{
		{"http://" + f.addr(), true},
		{"https://" + f.addr(), true},
		{"https://chat.example.com", true},
		{"HTTPS://CHAT.example.com", true},
		{"http://app.example.com:8443", true},
		{"http://chat.example.com", false},
		{"https://app.example.com", false},
		{"https://evil.example.com", false},
		{"https://chat.example.com.evil.com", false},
		{"http://127.0.0.1", false},
		{"http://evil.example.com/" + f.addr(), false},
		{"null", false},
		{"", false},
		{"%", false},
	} {
		t.Run(c.origin, func(t *testing.T) {
			f.t = t
			p, resp := f.handshake(nil, "Origin: "+c.origin)
			defer func() { _ = resp.Body.Close() }()
			want := http.StatusForbidden
			if c.allowed {
				want = http.StatusSwitchingProtocols
			}
			if resp.StatusCode != want {
				t.Fatalf("%s, want %d", resp.Status, want)
			}
			if c.allowed { // it is counted behind the answer
				p.write(text(pingOp))
				p.want(pongOp)
			}
			_ = p.conn.Close()
		})
	}
	if got := f.server.Stats(); got.Foreign != 9 || got.Accepted != 5 {
		t.Errorf("%+v, want 9 foreign and 5 accepted", got)
	}
}

func TestHandshakeOfTwoOriginsIsRefused(t *testing.T) {
	f := startDefault(t)
	_, resp := f.handshake(nil, "Origin: http://"+f.addr(), "Origin: http://evil.example.com")
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusForbidden {
		t.Error(resp.Status)
	}
}

func TestHandshakeNegotiates(t *testing.T) {
	const compresses = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	f := startDefault(t)
	for _, c := range []struct {
		name                    string
		headers                 []string
		subprotocol, extensions string
	}{
		{name: "nothing"},
		{name: "the subprotocol", headers: []string{"Sec-WebSocket-Protocol: parley.v1"}, subprotocol: "parley.v1"},
		{name: "the subprotocol among others", headers: []string{"Sec-WebSocket-Protocol: mqtt, parley.v1, graphql"}, subprotocol: "parley.v1"},
		{name: "another subprotocol", headers: []string{"Sec-WebSocket-Protocol: mqtt"}},
		{name: "compression", headers: []string{deflateOffer}, extensions: compresses},
		{name: "compression as Chrome asks for it", headers: []string{deflateOffer + "; client_max_window_bits"}, extensions: compresses},
		{name: "compression without context takeover", headers: []string{deflateOffer + "; client_no_context_takeover; server_no_context_takeover"}, extensions: compresses},
		{name: "a small window, which is not to be had", headers: []string{deflateOffer + "; server_max_window_bits=9"}},
		{name: "a small window, or else none", headers: []string{deflateOffer + "; server_max_window_bits=9, permessage-deflate"}, extensions: compresses},
		{name: "a parameter that does not exist", headers: []string{deflateOffer + "; shrink"}},
		{name: "a parameter that does not exist, or else none", headers: []string{deflateOffer + "; shrink, permessage-deflate"}, extensions: compresses},
		{name: "another extension", headers: []string{"Sec-WebSocket-Extensions: x-webkit-deflate-frame"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			p, got := f.dial(c.headers...)
			p.write(text(pingOp))
			p.want(pongOp)
			if s := got.Get("Sec-WebSocket-Protocol"); s != c.subprotocol {
				t.Errorf("subprotocol %q, want %q", s, c.subprotocol)
			}
			if s := got.Get("Sec-WebSocket-Extensions"); parameters(s) != parameters(c.extensions) {
				t.Errorf("extensions %q, want %q", s, c.extensions)
			}
		})
	}
}

// A request that is no handshake is told what this is.
func TestHandshakeOfAnotherKindIsRefused(t *testing.T) {
	f := startDefault(t)
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"no upgrade":      {func(r *http.Request) { r.Header.Del("Upgrade") }, http.StatusUpgradeRequired},
		"another upgrade": {func(r *http.Request) { r.Header.Set("Upgrade", "h2c") }, http.StatusUpgradeRequired},
		"no connection":   {func(r *http.Request) { r.Header.Del("Connection") }, http.StatusBadRequest},
		"a POST":          {func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed},
		"no key":          {func(r *http.Request) { r.Header.Del("Sec-Websocket-Key") }, http.StatusBadRequest},
		"a short key":     {func(r *http.Request) { r.Header.Set("Sec-Websocket-Key", "x") }, http.StatusBadRequest},
		"no version":      {func(r *http.Request) { r.Header.Del("Sec-Websocket-Version") }, http.StatusBadRequest},
		"an old version":  {func(r *http.Request) { r.Header.Set("Sec-Websocket-Version", "8") }, http.StatusUpgradeRequired},
		"two keys":        {func(r *http.Request) { r.Header.Add("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==") }, http.StatusBadRequest},
		"no base64":       {func(r *http.Request) { r.Header.Set("Sec-Websocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==") }, http.StatusBadRequest},
		"a key too long":  {func(r *http.Request) { r.Header.Set("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAAAA") }, http.StatusBadRequest},
		"bad extensions":  {func(r *http.Request) { r.Header.Set("Sec-Websocket-Extensions", "=;,") }, http.StatusBadRequest},
		"a foreign page":  {func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodGet, f.http.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{
				"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
				"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Version": {"13"},
			}
			c.change(r)
			resp, err := f.http.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != c.want {
				t.Errorf("%s, want %d", resp.Status, c.want)
			}
			checkProblem(t, resp)
		})
	}
}

// checkProblem sees that a refusal is one as all of HTTP has them, and what it says is right instead.
func checkProblem(t *testing.T, resp *http.Response) {
	t.Helper()
	var p struct {
		Type, Title, Detail string
		Code                parley.Code
		Status              int
	}
	err := json.NewDecoder(resp.Body).Decode(&p)
	if err != nil || p.Type == "" || p.Title == "" || p.Detail == "" || p.Code == "" || p.Status != resp.StatusCode {
		t.Errorf("no problem: %+v, %v", p, err)
	}
	h := resp.Header
	if h.Get("Content-Type") != "application/problem+json" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Vary") != "Origin" {
		t.Errorf("headers %v", h)
	}
	if resp.StatusCode == http.StatusMethodNotAllowed && h.Get("Allow") != "GET" {
		t.Errorf("Allow %q", h.Get("Allow"))
	}
	if resp.StatusCode == http.StatusUpgradeRequired && h.Get("Upgrade") != "websocket" && h.Get("Sec-Websocket-Version") != "13" {
		t.Errorf("it does not say what is spoken: %v", h)
	}
}

// Tokens stand in lists, in letters of any size.
func TestHandshakeInOtherWords(t *testing.T) {
	f := startDefault(t)
	conn, err := net.Dial("tcp", f.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	p := &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
	p.write([]byte("GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c, WebSocket\r\nConnection: keep-alive\r\nconnection: UPGRADE\r\n" +
		"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"))
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := resp.Header.Get("Sec-Websocket-Accept"); resp.StatusCode != http.StatusSwitchingProtocols || got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("%s, accepted by %q", resp.Status, got)
	}
	p.write(text(pingOp))
	p.want(pongOp)
}

// What a client writes without waiting for the handshake's answer is not lost.
func TestHandshakeWithOperationsRightBehindIt(t *testing.T) {
	f := startDefault(t)
	p, resp := f.handshake(join(text(pingOp), text(pingOp)[:9]))
	defer func() { _ = resp.Body.Close() }()
	p.want(pongOp)
	p.write(text(pingOp)[9:])
	p.want(pongOp)
}
