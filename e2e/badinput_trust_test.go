package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// One user makes a hundred thousand rooms: a quota ends that, memory is bounded, and others go on.
func TestRoomsWithoutEnd(t *testing.T) {
	s := newServer(t, nil, lean)
	s.start()
	known(t, s)
	c, other := hello(t, s, "eve"), hello(t, s, "ada")
	other.want(`{"op":"join","room":"lobby"}`, `{"op":"joined"}`)
	_, before := s.process.memory(t)
	const n, most = 100_000, 20_000
	var g errgroup.Group
	g.Go(func() error {
		w := bufio.NewWriterSize(writerOf(c.say), 64<<10)
		for i := range n {
			if _, err := fmt.Fprintf(w, `{"op":"send","room":"room-%d","body":"x"}`+"\n", i); err != nil {
				return err
			}
		}
		return w.Flush()
	})
	count := map[string]int{}
	for range n {
		f := c.next()
		count[f.Op+" "+f.Code]++
		if count["error conflict"] == 1000 {
			other.publish("lobby", "others go on")
			other.expect(`{"op":"message","body":"others go on"}`)
			other.publish("a-room-of-mine", "and make rooms")
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if count["ack "] != most || count["error conflict"] != n-most {
		t.Errorf("%v, want %d acks", count, most)
	}
	if _, peak := s.process.memory(t); (peak-before)>>20 > 400 {
		t.Errorf("the server has grown by %d MB", (peak-before)>>20)
	}
	c.want(`{"op":"send","room":"room-7","body":"in a room there is"}`, `{"op":"ack"}`)
	c.want(`{"op":"join","room":"one-more"}`, `{"op":"error","code":"conflict"}`)
}

// writerOf makes a writer of a function that sends text.
type writerOf func(text string) error

func (w writerOf) Write(p []byte) (int, error) { return len(p), w(string(p)) }

// Whoever sends another user's id first takes nothing from that user: an id is its sender's own.
func TestAnotherUsersIDSentFirst(t *testing.T) {
	t.Parallel()
	s := limited(t, "")
	eve, ada := tokenFor(t, "eve", []grant{{"**", everyRight}}), tokenFor(t, "ada", []grant{{"**", everyRight}})
	send := func(body string) string { return fmt.Sprintf(`{"op":"send","room":"r","id":"pay-1","body":%q`, body) }
	first := operatorTCP(t, s, eve).ask(send("eve's"))
	if first.Op != "ack" || first.Duplicate {
		t.Fatal(first.raw)
	}
	mine := operatorTCP(t, s, ada).ask(send("ada's"))
	if mine.Op != "ack" || mine.Duplicate || mine.Seq <= first.Seq {
		t.Errorf("ada's own: %s", mine.raw)
	}
	again := operatorWS(t, s, ada).ask(send("ada's"))
	if again.Op != "ack" || !again.Duplicate || again.Seq != mine.Seq {
		t.Errorf("ada's own again: %s", again.raw)
	}
	for user, seq := range map[string]uint64{eve: first.Seq, ada: mine.Seq} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.webAddress()+"/rooms/r", strings.NewReader("over HTTP"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+user)
		r.Header.Set("Idempotency-Key", "pay-1")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Seq uint64 }
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || resp.StatusCode != http.StatusOK || got.Seq != seq {
			t.Errorf("HTTP answers %d, seq %d, %v; want the first seq %d", resp.StatusCode, got.Seq, err, seq)
		}
		_ = resp.Body.Close()
	}
	page := operatorTCP(t, s, ada).ask(`{"op":"history","room":"r"`)
	if len(page.Messages) != 2 {
		t.Errorf("stored: %s", page.raw)
	}
}

// What a message says of itself is the server's word, whatever a client puts into a frame or a header;
// nothing of it reaches the log's own headers.
func TestForgedFieldsHaveNoEffect(t *testing.T) {
	t.Parallel()
	s := limited(t, "")
	token := tokenFor(t, "eve", []grant{{"**", everyRight}})
	forged := `"from":"ada","user":"ada","seq":999,"prev":998,"at":"2001-01-01T00:00:00Z","session":"0000000000000000",` +
		`"headers":{"Nats-Msg-Id":"x","Nats-Rollup":"all"},"Nats-Expected-Last-Sequence":"999","duplicate":true`
	var seqs []uint64
	for i, o := range []*operator{operatorTCP(t, s, token), operatorWS(t, s, token)} {
		f := o.ask(fmt.Sprintf(`{"op":"send","room":"r","body":"%d",%s`, i, forged))
		if f.Op != "ack" || f.Duplicate || f.Seq == 999 {
			t.Fatal(f.raw)
		}
		seqs = append(seqs, f.Seq)
		for _, id := range []string{`a\r\nNats-Rollup: all`, `a\u0000`, `a\n`, strings.Repeat("i", 129), `é`} {
			if f := o.ask(fmt.Sprintf(`{"op":"send","room":"r","body":"x","id":"%s"`, id)); f.Code != "bad_request" {
				t.Errorf("the id %q: %s", id, f.raw)
			}
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.webAddress()+"/rooms/r", strings.NewReader("2"))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"Authorization": "Bearer " + token, "Parley-Name": "ada", "From": "ada", "Nats-Msg-Id": "x", "Nats-Rollup": "all",
		"Nats-Expected-Last-Sequence": "999", "Nats-TTL": "1s", "Reply-To": "_INBOX.x",
	} {
		r.Header.Set(key, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("HTTP answers %d", resp.StatusCode)
	}
	page := operatorTCP(t, s, token).ask(`{"op":"history","room":"r"`)
	if len(page.Messages) != 3 {
		t.Fatalf("stored: %s", page.raw)
	}
	for i, m := range page.Messages {
		if m.From != "eve" || i < len(seqs) && m.Seq != seqs[i] || i > 0 && m.Prev != page.Messages[i-1].Seq || strings.HasPrefix(m.At, "2001") {
			t.Errorf("message %d: %+v", i, m)
		}
	}
}

// Whatever clients send, a line of the log is one JSON object without an escape for a terminal, and
// neither a token nor a body is in it.
func TestLogsAreWholeLinesWithoutSecrets(t *testing.T) {
	t.Parallel()
	s := guarded(t, gateConfig)
	s.flags = []string{"--log", "json"}
	p, err := s.launch()
	if err != nil {
		t.Fatal(err)
	}
	s.process = p
	found, err := p.stderr.wait(regexp.MustCompile(`"tcp":"(127\.0\.0\.1:\d+)","http":"(127\.0\.0\.1:\d+)"`), p.done, patience)
	if err != nil {
		t.Fatalf("%v\n%s", err, &p.stderr)
	}
	s.reached(found[1])
	web := found[2]

	good := tokenFor(t, "ada", []grant{{"**", everyRight}})
	bad := tokenFor(t, "mallory", []grant{{"**", everyRight}})
	forged := good[:len(good)-6] + "AAAAAA"
	body := "SECRET-BODY\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\x1b[2J\u202e"
	quoted, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	name, err := json.Marshal("a\n{\"msg\":\"forged\"}\x1b[31m")
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{good, bad, forged, "SECRET-TOKEN\x1b[2J\n"} {
		c, err := reach(s.address())
		if err != nil {
			t.Fatal(err)
		}
		hello, err := json.Marshal(map[string]any{"op": "hello", "token": token})
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range []string{
			string(hello), fmt.Sprintf(`{"op":"send","room":"lobby","body":%s}`, quoted), fmt.Sprintf(`{"op":"join","room":%s}`, name),
			fmt.Sprintf(`{"op":"hello","name":%s}`, name), fmt.Sprintf(`{"op":%s}`, name), `{"op":"send","room":"ops","body":"SECRET-BODY"}`, "{broken SECRET-BODY \x1b",
		} {
			if c.say(op+"\n") != nil {
				break // it was closed
			}
		}
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		for err == nil { // until it is closed
			_, err = c.readLine()
		}
		c.hangUp()
		for _, path := range []string{"/rooms/lobby/events?token=", "/ws?token=", "/rooms/lobby?token="} {
			ask(t, "http://"+web+path+url.QueryEscape(token), token)
		}
	}
	if code := s.terminate(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	text := p.stderr.String()
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["msg"] == "forged" {
			t.Errorf("a line of the log: %q, %v", line, err)
		}
	}
	signature := func(token string) string { return token[strings.LastIndexByte(token, '.')+1:] }
	for _, secret := range []string{good, bad, forged, signature(good), signature(bad), "SECRET", gateSecret, "\x1b"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// ask makes a request and does not wait for its end.
func ask(t *testing.T, target, token string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.ContainsAny(token, "\n\x1b") {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// No metric bears the name of a room or of a user.
func TestMetricsNameNobody(t *testing.T) {
	t.Parallel()
	s := limited(t, "  sends_per_second: 1\n  sends_burst: 2\n")
	token := tokenFor(t, "user-unheard-of", []grant{{"**", everyRight}})
	for _, o := range []*operator{operatorTCP(t, s, token), operatorWS(t, s, token)} {
		o.ask(`{"op":"join","room":"room-unheard-of","presence":true`)
		o.times(5, `{"op":"send","room":"room-unheard-of","body":"body-unheard-of"`, "rate_limited")
	}
	_, text := request(t, s, http.MethodGet, "/metrics", token, "")
	if !strings.Contains(text, "parley_limited_total") || strings.Contains(text, "unheard-of") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("the metrics are\n%s", text)
	}
}

// The log's own protocol is spoken nowhere that a client could reach.
func TestTheLogListensNowhere(t *testing.T) {
	t.Parallel()
	s := serve(t)
	got := s.process.listeners(t)
	want := map[string]bool{s.address(): true, s.webAddress(): true}
	if len(got) != len(want) {
		t.Errorf("it listens at %v, want %v", got, want)
	}
	for _, at := range got {
		if !want[at] {
			t.Errorf("it listens at %s", at)
		}
	}
}
