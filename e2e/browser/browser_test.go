package browser_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"parley/e2e/browser"
)

const patience = 30 * time.Second

// binary is the program under test, built once.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("PARLEY_TEST_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "parley-browser")
	if err != nil {
		return "", err
	}
	builds = dir
	path := filepath.Join(dir, "parley")
	if out, err := exec.Command("go", "build", "-o", path, "parley/cmd/parley").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
})

var builds string

func TestMain(m *testing.M) {
	code := m.Run()
	if builds != "" {
		_ = os.RemoveAll(builds)
	}
	os.Exit(code)
}

// server is the program on one data directory and one pair of ports, killed and started at will.
type server struct {
	t         testing.TB
	path      string
	dir       string
	tcp, http string
	flags     []string
	process   *exec.Cmd
	log       *transcript
}

// newServer starts a server, after a browser was found: there is nothing to build without one.
func newServer(t testing.TB, flags ...string) *server {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, path: path, dir: t.TempDir(), tcp: freeAddress(t), http: freeAddress(t), flags: flags}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// freeAddress is one that nobody listens on, to be had again after a kill.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

func (s *server) url(room string) string { return "http://" + s.http + "/#" + room }

func (s *server) start() {
	s.t.Helper()
	args := append([]string{"serve", "--data", filepath.Join(s.dir, "data"), "--tcp", s.tcp, "--http", s.http}, s.flags...)
	s.process = exec.Command(s.path, args...)
	s.process.Dir = s.dir
	s.log = new(transcript)
	s.process.Stderr = s.log
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		r, err := http.Get("http://" + s.http + "/readyz")
		if err != nil {
			continue
		}
		_ = r.Body.Close()
		if r.StatusCode == http.StatusOK {
			return
		}
	}
	s.kill()
	s.t.Fatalf("the server is not ready within %v\n%s", patience, s.log)
}

// transcript is what a server has said, to be read while it goes on.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.Write(p)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// kill ends the server as a crash would.
func (s *server) kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(syscall.SIGKILL)
	_ = s.process.Wait()
	s.process = nil
}

// terminal is somebody with nc.
type terminal struct {
	t     testing.TB
	conn  net.Conn
	lines *bufio.Reader
}

func (s *server) terminal() *terminal {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.tcp)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return &terminal{t: s.t, conn: conn, lines: bufio.NewReader(conn)}
}

func (c *terminal) types(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.conn, line); err != nil {
		c.t.Fatal(err)
	}
}

// reads waits for a line.
func (c *terminal) reads(want string) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			c.t.Fatalf("wait for %q: %v", want, err)
		}
		if strings.TrimSpace(line) == want {
			return
		}
	}
}

func TestBrowsersAndTerminalTalk(t *testing.T) {
	b := browser.New(t)
	s := newServer(t)
	ada := b.OpenAs("ada", s.url("lobby"), browser.Desk)
	bob := b.OpenAs("bob", s.url("lobby"), browser.Phone)
	eve := s.terminal()
	eve.types("/nick eve")
	eve.reads("* you are eve")
	ada.Until("who is there", `['ada', 'bob', 'eve'].every((n) => [...document.querySelectorAll('parley-people .name')].some((e) => e.textContent === n))`)

	ada.Say("hello all")
	bob.Sees("hello all")
	eve.reads("ada: hello all")
	eve.types(`<img src=x onerror="window.hit=1"> javascript:alert(1)`)
	for _, p := range []*browser.Page{ada, bob} {
		p.Sees(`<img src=x onerror="window.hit=1"> javascript:alert(1)`)
		if n := p.Int(`document.querySelectorAll('.messages img, .body a').length + (window.hit ?? 0)`); n != 0 {
			t.Error("what the terminal sent became markup")
		}
	}
	bob.Do("document.querySelector('parley-composer textarea').focus()")
	bob.Type("x")
	ada.Until("bob types", `document.querySelector('.typing').textContent === 'bob is typing'`)
	bob.Type("yz")
	bob.Press("\r")
	eve.reads("bob: xyz")
	ada.Sees("xyz")
	ada.Until("stored", `document.querySelector('.message.own .state[aria-label=stored]')`)
	eve.types("/quit")
	ada.Until("eve has gone", `![...document.querySelectorAll('parley-people .name')].some((e) => e.textContent === 'eve')`)
}

// The server dies while both write: everything that was written is there once, in one order.
func TestKilledServerLosesAndDoublesNothing(t *testing.T) {
	b := browser.New(t)
	s := newServer(t)
	ada := b.OpenAs("ada", s.url("ops.deploys"), browser.Desk)
	bob := b.OpenAs("bob", s.url("ops.deploys"), browser.Desk)
	var want []string
	say := func(p *browser.Page, text string) {
		p.Say(text)
		want = append(want, text)
	}
	for _, p := range []*browser.Page{ada, bob} {
		p.Allow("WebSocket connection to")
	}
	for round := range 2 {
		for i := range 5 {
			say(ada, fmt.Sprintf("ada %d.%d", round, i))
			say(bob, fmt.Sprintf("bob %d.%d", round, i))
		}
		s.kill()
		ada.Until("the banner", `document.querySelector('parley-banner').textContent.includes('You are offline')`)
		say(ada, fmt.Sprintf("ada offline %d", round))
		say(bob, fmt.Sprintf("bob offline %d", round))
		s.start()
		for _, p := range []*browser.Page{ada, bob} {
			p.Sees(fmt.Sprintf("ada offline %d", round))
			p.Sees(fmt.Sprintf("bob offline %d", round))
			p.Until("all is stored", `!document.querySelector('.draft')`)
		}
	}
	ada.Until("back online", `document.querySelector('parley-banner').dataset.kind !== 'bad'`)
	one, other := ada.Bodies(), bob.Bodies()
	if !slices.Equal(one, other) {
		t.Errorf("two orders:\n%q\n%q", one, other)
	}
	slices.Sort(one)
	slices.Sort(want)
	if !slices.Equal(one, want) {
		t.Errorf("the log shows\n%q, want\n%q", one, want)
	}
}

func TestHistoryOfTheRealServer(t *testing.T) {
	b := browser.New(t)
	s := newServer(t)
	c := s.terminal()
	c.types("/nick carol")
	const messages = 1000
	for i := 1; i <= messages; i++ {
		c.types(fmt.Sprintf("line %d", i))
	}
	c.types("/history 1")
	c.reads("* 1 message of lobby, and there are more")
	ada := b.OpenAs("ada", s.url("lobby"), browser.Desk)
	ada.Sees(fmt.Sprintf("line %d", messages))
	ada.Do(`new Promise((done, fail) => {
  const end = Date.now() + 40000;
  window.seen = new Set();
  const s = document.querySelector('.scroller');
  const step = () => {
    if (Date.now() > end) return fail(new Error('the beginning is not reached'));
    for (const m of document.querySelectorAll('.message .body')) window.seen.add(m.textContent);
    if (document.querySelector('.start').textContent.includes('begins') && s.scrollTop < 2) return done();
    s.scrollTop -= 600;
    requestAnimationFrame(step);
  };
  step();
})`)
	if n := ada.Int("window.seen.size"); n != messages {
		t.Errorf("%d messages on the way up, want %d", n, messages)
	}
	if n := ada.Int("document.querySelectorAll('.message').length"); n > 300 {
		t.Errorf("%d nodes, want at most 300", n)
	}
}
