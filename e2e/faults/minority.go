package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"parley/e2e/history"
)

// A minority: one node is cut off from the others while clients stay with it. What must hold then is timed
// here, where the campaign's plans leave it to chance: sends fail in time, members are told, presence is
// right in time, and the node can be stopped.

const (
	refusedWithin = 5 * time.Second // a send, from its beginning
	toldWithin    = 8 * time.Second // members, from the cut
	rightWithin   = 5 * time.Second // presence, from the cut and from the heal
	backWithin    = 20 * time.Second
	endedWithin   = 20 * time.Second // drain, and the log's closing
	slackWithin   = 2 * time.Second  // of a machine that has more to do
	statusHold    = 4 * time.Second  // for which a node has to be well before it says so, and some more
)

// minorities does runs of it, of different lengths, and prints what each took. The exit code is 1 where
// something was wrong.
func (s *settings) minorities(work string) (code int, err error) {
	rng := rand.New(rand.NewPCG(s.seed, 1))
	for i := range s.runs {
		dir := filepath.Join(work, fmt.Sprint("minority-", i))
		if err := os.Mkdir(dir, 0o750); err != nil {
			return 0, err
		}
		lasts := toldWithin + time.Duration(rng.Int64N(int64(8*time.Second)))
		list, err := perform(dir, s.program, func(r *run) error { return r.minority(lasts) }, nil)
		if err != nil {
			return 0, fmt.Errorf("%w (see %s)", err, s.save(dir, s.seed))
		}
		wrong := false
		for _, e := range list {
			switch e.Op {
			case "trouble":
				wrong = true
				fmt.Println("  wrong:", e.Node, e.Reason)
			case "figure":
				fmt.Println(" ", e.Reason)
			}
		}
		if wrong {
			code = 1
			fmt.Println("  kept in", s.save(dir, s.seed))
		}
		_ = os.RemoveAll(dir)
	}
	return code, nil
}

func (r *run) figure(what string, took time.Duration) {
	r.rec.Add(history.Event{Type: "info", Op: "figure", Reason: fmt.Sprintf("%s: %.2fs", what, took.Seconds())})
}

// bystander is a member of a room that only listens.
type bystander struct {
	name, transport string
	host            int
	l               inbox

	mu   sync.Mutex
	told []bool // what it was told of its node, in order
	at   time.Time
}

func (b *bystander) statuses() ([]bool, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.told), b.at
}

// listen notes what it is told until it hangs up.
func (b *bystander) listen() {
	for {
		f, err := b.l.next(time.Now().Add(time.Hour))
		if err != nil {
			return
		}
		if f.Op == "status" {
			b.mu.Lock()
			b.told, b.at = append(b.told, f.Available), time.Now()
			b.mu.Unlock()
		}
	}
}

var ways = []string{"tcp", "ws", "sse", "plain"}

// minority cuts the first node off for so long, and looks at what comes of it.
func (r *run) minority(lasts time.Duration) error {
	var listening sync.WaitGroup
	var all []*bystander
	defer func() {
		for _, b := range all {
			b.l.hangUp()
		}
		listening.Wait()
	}()
	for host := 1; host <= nodes; host++ {
		for _, way := range ways {
			b := &bystander{name: fmt.Sprintf("%s%d", way, host), transport: way, host: host}
			var err error
			if b.l, err = (&reader{run: r, name: b.name, transport: way, room: "hall"}).join(host); err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
			all = append(all, b)
			listening.Go(b.listen)
		}
	}
	names := func(hosts ...int) (names []string) {
		for _, b := range all {
			if slices.Contains(hosts, b.host) {
				names = append(names, b.name)
			}
		}
		slices.Sort(names)
		return names
	}
	r.shows("before", time.Now(), names(1, 2, 3), 1, 2, 3)
	if err := r.cutOff(lasts, all, names); err != nil {
		return err
	}
	if err := r.cutShortly(all, names(1, 2, 3)); err != nil {
		return err
	}
	return r.endCutOff()
}

// cutShortly cuts the node off for some seconds, several times: whatever TCP makes of it, presence is right
// soon after, and members are never told the same twice in a row.
func (r *run) cutShortly(all []*bystander, names []string) error {
	for range 4 {
		lasts := 500*time.Millisecond + rand.N(6*time.Second)
		r.event("isolated", 1)
		if err := isolate(r, planned{node: 1}); err != nil {
			return err
		}
		r.rest(lasts)
		r.event("heal", 0)
		if err := healNetwork(r, planned{}); err != nil {
			return err
		}
		r.shows(fmt.Sprintf("presence after a cut of %.1fs", lasts.Seconds()), time.Now(), names, 1, 2, 3)
	}
	if !r.within(backWithin, func() bool { return r.sendsAt(1) == nil }) {
		r.trouble("n1 takes no message within %v of the heal", backWithin)
	}
	r.rest(statusHold)
	for _, b := range all {
		told, _ := b.statuses()
		for i := range told {
			if told[i] != (i%2 == 1) || len(told)%2 != 0 {
				r.trouble("%s was told %v", b.name, told)
				break
			}
		}
	}
	return nil
}

// cutOff is the cut, and its healing.
func (r *run) cutOff(lasts time.Duration, all []*bystander, names func(...int) []string) error {
	r.event("isolated", 1)
	if err := isolate(r, planned{node: 1}); err != nil {
		return err
	}
	cut := time.Now()
	var sending sync.WaitGroup
	for _, way := range []string{"tcp", "ws", "http", "plain"} {
		sending.Go(func() { r.refusals(way, cut.Add(lasts-refusedWithin)) })
	}
	r.shows("presence at the others after the cut", cut, names(2, 3), 2, 3)
	r.shows("presence at the minority after the cut", cut, names(1), 1)
	r.told(all, cut, []bool{false})
	if r.node(1).ready() || !r.node(2).ready() {
		r.trouble("/readyz: ready at n1 %v, at n2 %v, while n1 is cut off", r.node(1).ready(), r.node(2).ready())
	}
	if err := r.sendsAt(2); err != nil {
		r.trouble("the majority does not take a message: %v", err)
	}
	sending.Wait()
	r.rest(lasts - time.Since(cut))
	r.event("heal", 0)
	if err := healNetwork(r, planned{}); err != nil {
		return err
	}
	healed := time.Now()
	r.shows("presence after the heal", healed, names(1, 2, 3), 1, 2, 3)
	if !r.within(backWithin, func() bool { return r.sendsAt(1) == nil }) {
		r.trouble("n1 takes no message within %v of the heal", backWithin)
	}
	r.figure("sends taken after the heal", time.Since(healed))
	r.told(all, healed, []bool{false, true})
	return nil
}

// shows waits until the nodes show these users in the room, and nobody else.
func (r *run) shows(what string, since time.Time, want []string, hosts ...int) {
	var shown []string
	right := r.within(rightWithin+slackWithin-time.Since(since), func() bool {
		for _, host := range hosts {
			l, err := dialTCP(r.node(host).tcp(), "auditor")
			if err != nil {
				return false
			}
			f, err := ask(l, `{"op":"members","room":"hall"}`, "members")
			l.hangUp()
			if err != nil {
				return false
			}
			shown = nil
			for _, m := range f.Members {
				shown = append(shown, m.User)
			}
			slices.Sort(shown)
			if !slices.Equal(shown, want) {
				return false
			}
		}
		return true
	})
	if !right {
		r.trouble("%s: %v is shown %.1fs after, want %v", what, shown, time.Since(since).Seconds(), want)
	}
	r.figure(what, time.Since(since))
}

// told waits until the members at the first node were told this, and nothing more; others nothing at all.
func (r *run) told(all []*bystander, since time.Time, want []bool) {
	r.within(toldWithin+slackWithin-time.Since(since), func() bool {
		return !slices.ContainsFunc(all, func(b *bystander) bool {
			told, _ := b.statuses()
			return b.host == 1 && len(told) < len(want)
		})
	})
	r.rest(time.Second) // what should not come has time to
	var last time.Time
	for _, b := range all {
		told, at := b.statuses()
		switch {
		case b.host == 1 && !slices.Equal(told, want):
			r.trouble("%s was told %v, want %v", b.name, told, want)
		case b.host == 1 && at.After(last):
			last = at
		case b.host != 1 && len(told) > 0:
			r.trouble("%s was told %v, and its node was well", b.name, told)
		}
	}
	if !last.IsZero() {
		r.figure("members told", last.Sub(since))
	}
}

// refusals sends to the node that is cut off until it is late: each send has to fail in time, and well.
func (r *run) refusals(way string, late time.Time) {
	var longest time.Duration
	n := 0
	for ; time.Now().Before(late) && r.going(); n++ {
		began := time.Now()
		code, err := r.refusal(way)
		took := time.Since(began)
		longest = max(longest, took)
		if err != nil || code != "unavailable" {
			r.trouble("a send by %s to a minority ended with %q, %v", way, code, err)
		}
		if took > refusedWithin+slackWithin {
			r.trouble("a send by %s to a minority failed after %v", way, took)
		}
		r.rest(100 * time.Millisecond)
	}
	r.figure(fmt.Sprintf("longest of %d sends by %s to a minority", n, way), longest)
}

// refusal sends one message to the first node and gives the code with which it fails; "" = it was taken.
func (r *run) refusal(way string) (code string, err error) {
	switch way {
	case "http":
		return r.refusedPost()
	case "plain":
		return r.refusedLine()
	}
	l, err := dial(way, 1, "minor")
	if err != nil {
		return "", err
	}
	defer l.hangUp()
	_, err = ask(l, `{"op":"send","room":"hall","body":"x"}`, "ack")
	var f *frame
	if err != nil {
		f, err = parse(err.Error())
	}
	if f == nil {
		return "", err
	}
	return f.Code, err
}

func (r *run) refusedPost() (string, error) {
	client := http.Client{Timeout: answerWithin}
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://"+r.node(1).http()+"/rooms/hall", "text/plain", strings.NewReader("x"))
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode < 300 {
		return "", err
	}
	var problem struct{ Code string }
	err = json.Unmarshal(body, &problem)
	return problem.Code, err
}

func (r *run) refusedLine() (string, error) {
	in, err := joinPlain(1, "minor", "elsewhere")
	if err != nil {
		return "", err
	}
	l := in.(plainRoom)
	defer l.hangUp()
	if err := l.say("x"); err != nil {
		return "", err
	}
	for until := time.Now().Add(answerWithin); ; {
		line, err := l.line(until)
		if err != nil {
			return "", err
		}
		if said, ok := strings.CutPrefix(line, "* "); ok && !statusLine(line) {
			code, _, _ := strings.Cut(said, ":")
			return code, nil
		}
	}
}

// sendsAt sends a message to a node that should take it.
func (r *run) sendsAt(host int) error {
	l, err := dial("tcp", host, "major")
	if err != nil {
		return err
	}
	defer l.hangUp()
	_, err = ask(l, `{"op":"send","room":"hall","body":"y"}`, "ack")
	return err
}

// endCutOff cuts the node off again, under load, and tells it to stop.
func (r *run) endCutOff() error {
	if err := r.allReady(); err != nil {
		r.trouble("after the heal: %v", err)
	}
	var loading sync.WaitGroup
	stop := make(chan struct{})
	body := strings.Repeat("x", 32<<10)
	for i := range 4 {
		loading.Go(func() {
			for !closed(stop) {
				l, err := dial("tcp", 1, fmt.Sprint("load", i))
				if err != nil {
					r.rest(50 * time.Millisecond)
					continue
				}
				for err == nil && !closed(stop) {
					_, err = ask(l, fmt.Sprintf(`{"op":"send","room":"load%d","body":%q}`, i, body), "ack")
				}
				l.hangUp()
			}
		})
	}
	r.rest(time.Second)
	if err := isolate(r, planned{node: 1}); err != nil {
		return err
	}
	r.rest(rand.N(4 * time.Second))
	began := time.Now()
	r.node(1).terminate()
	took := time.Since(began)
	r.figure("a minority ends", took)
	if took > endedWithin {
		r.trouble("told to stop, n1 took %v", took)
	}
	close(stop)
	loading.Wait()
	return healNetwork(r, planned{})
}
