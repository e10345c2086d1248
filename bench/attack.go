package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// Attack is a pair of honest users, one who writes and one who reads, while a hostile client tries to
// take all that the server has. Each kind of attack has a server of its own, with the limits that it
// has by default for clients from elsewhere. The pair is measured in peace first, then under attack.
//
// The attacker is a process of the lowest priority, from another loopback address: on a machine that
// it shares with what it attacks, what it takes by itself should not count.
type Attack struct {
	Kinds []string // none = all
	Rate  int      // messages a second of the pair
	Size  int      // bytes of a body
	For   time.Duration

	// Settle is how long the pair writes, and an attack goes on, before it is measured.
	Settle time.Duration
}

// AttackKinds are the attacks there are.
func AttackKinds() []string {
	var kinds []string
	for kind := range attacks {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

func (a *Attack) check() error {
	if a.Rate < 1 || a.For <= 0 {
		return errors.New("attack needs a rate of the honest pair, and a time to measure")
	}
	for _, kind := range a.Kinds {
		if _, is := attacks[kind]; !is {
			return fmt.Errorf("no attack %q: %s", kind, strings.Join(AttackKinds(), ", "))
		}
	}
	_, err := filler(a.Size)
	return err
}

// Attack runs attacks one after the other and prints a row for each.
func (s *Setup) Attack(ctx context.Context, a Attack) error {
	if err := a.check(); err != nil {
		return err
	}
	if s.Addr != "" || len(s.Against) > 0 {
		return errors.New("attack runs against servers that it starts itself, and has no peers")
	}
	if len(a.Kinds) == 0 {
		a.Kinds = AttackKinds()
	}
	var rows []Row
	for _, kind := range a.Kinds {
		row, err := s.row(ctx, Parley, &attackRun{Attack: a, kind: kind})
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		row.Peer = kind
		rows = append(rows, row)
	}
	return s.print(rows)
}

// attackRun is one kind of attack.
type attackRun struct {
	Attack
	kind string
}

func (*attackRun) overHTTP() bool { return true }

func (*attackRun) peer(string, string) []string { return nil }

// attackedConfig is a server that anybody may use, where tokens mean something all the same.
const attackedConfig = `limits: {loopback: true}
auth:
  issuer: https://id.example
  audience: parley
  keys: [{alg: HS256, secret_file: key}]
anonymous: [{rooms: "**", may: [join, send, history, members, signal]}]
`

// attackedKey is what nobody signs with here.
const attackedKey = "no token of this run is good, since none is signed with this\n"

// configure writes the configuration of the server.
func (*attackRun) configure(dir string) (file string, err error) {
	file = filepath.Join(dir, "parley.yml")
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(attackedKey), 0o600); err != nil {
		return "", err
	}
	return file, os.WriteFile(file, []byte(attackedConfig), 0o600)
}

func (a *attackRun) run(ctx context.Context, t *target) (row Row, err error) {
	p, err := a.newPair(ctx, t)
	if err != nil {
		return Row{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.write(gctx) })
	g.Go(func() error { return p.read(gctx) })
	g.Go(func() error { return p.readAcks(gctx) })
	g.Go(func() error {
		defer cancel()
		row, err = a.measure(gctx, t, p)
		return err
	})
	g.Go(func() error { // ends what waits for a socket
		<-gctx.Done()
		closeAll([]net.Conn{p.writer.conn, p.reader.conn})
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
		return row, err
	}
	return row, nil
}

// measure measures the pair in peace and under attack.
func (a *attackRun) measure(ctx context.Context, t *target, p *pair) (Row, error) {
	t.say("%s: in peace", a.kind)
	if err := sleep(ctx, a.Settle); err != nil {
		return Row{}, err
	}
	quiet, before, err := p.during(ctx, t, a.For)
	if err != nil {
		return Row{}, err
	}
	t.say("%s: under attack", a.kind)
	hostile, err := startProcess(ctx, t.dir, false, t.setup.Executable, "bench", "attacker",
		"--kind", a.kind, "--tcp", t.addr, "--http", t.web, "--room", p.room)
	if err != nil {
		return Row{}, err
	}
	defer func() { _ = hostile.stop() }()
	if err := sleep(ctx, a.Settle); err != nil {
		return Row{}, err
	}
	under, after, err := p.during(ctx, t, a.For)
	if err != nil {
		return Row{}, err
	}
	if err := hostile.stop(); err != nil {
		return Row{}, err
	}
	row := Row{Load: "attack", Params: []Param{{"rate", a.Rate}, {"size", a.Size}, {"for", a.For}}}
	at := func(h *hdrhistogram.Histogram, q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e6 }
	row.figure("quiet_p50_ms", "quiet p50 ms", at(quiet, 50))
	row.figure("quiet_p99_ms", "p99 ms", at(quiet, 99))
	row.figure("p50_ms", "attacked p50 ms", at(under, 50))
	row.figure("p99_ms", "p99 ms", at(under, 99))
	row.figure("ratio", "ratio of p99", at(under, 99)/at(quiet, 99))
	row.figure("quiet_cpu", "quiet CPUs", before.cpu.Seconds()/before.took.Seconds())
	row.figure("cpu", "CPUs", after.cpu.Seconds()/after.took.Seconds())
	did, took := hostile.result()
	row.figure("attempts_per_s", "attempts/s", did/took)
	return row, nil
}

// result is what an attacker says when it has ended: how much it did, and in what time.
func (p *process) result() (did, seconds float64) {
	text := p.said.tail()
	if i := strings.LastIndex(text, attackerSays); i >= 0 {
		if n, err := fmt.Sscanf(text[i:], attackerSays+"%g in %g", &did, &seconds); n == 2 && err == nil {
			return did, seconds
		}
	}
	return math.NaN(), 1
}

// pair is two honest users in a room.
type pair struct {
	writer, reader *client
	room           string
	rate           int
	body           []byte
	clock          clock
	window         window

	mu      sync.Mutex
	latency *hdrhistogram.Histogram
	sent    int // within the window
	arrived int
}

func (a *attackRun) newPair(ctx context.Context, t *target) (*pair, error) {
	p := &pair{room: roomName(runName(), 0), rate: a.Rate, clock: newClock(), latency: newHistogram()}
	var err error
	if p.body, err = filler(a.Size); err != nil {
		return nil, err
	}
	for i, c := range []**client{&p.writer, &p.reader} {
		conn, err := dial(ctx, t.addr, 0)
		if err != nil {
			return nil, err
		}
		if *c, err = (way{}).newClient(t, conn); err != nil {
			return nil, err
		}
		room := p.room
		if i == 0 {
			room += "-of-the-writer" // who reads nothing but acks
		}
		if err := (*c).join(room); err != nil {
			return nil, err
		}
		if err := conn.SetDeadline(time.Time{}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// write sends on a schedule: a message that is late counts from when it was due.
func (p *pair) write(ctx context.Context) error {
	period := time.Second / time.Duration(p.rate)
	for due := p.clock.now(); ; due += int64(period) {
		if err := sleep(ctx, time.Duration(due-p.clock.now())); err != nil {
			return nil //nolint:nilerr // it has ended
		}
		putDigits(p.body[:stampDigits], due)
		if p.window.has(due) {
			p.mu.Lock()
			p.sent++
			p.mu.Unlock()
		}
		if err := p.writer.say(fmt.Sprintf(`{"op":"send","room":"%s","body":"%s"}`, p.room, p.body)); err != nil {
			return err
		}
	}
}

func (p *pair) readAcks(context.Context) error {
	return p.writer.hear(make([]byte, 4<<10), func([]byte) (bool, error) { return false, nil })
}

// read takes the pair's messages; those of an attacker, which has no stamp of ours, are skipped.
func (p *pair) read(context.Context) error {
	return p.reader.hear(make([]byte, 64<<10), func(line []byte) (bool, error) {
		at, ok := parleyStamp(line)
		if !ok || !p.window.has(at) {
			return false, nil
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		record(p.latency, p.clock.now()-at)
		p.arrived++
		return false, nil
	})
}

// during measures the pair for a while.
func (p *pair) during(ctx context.Context, t *target, length time.Duration) (*hdrhistogram.Histogram, stretch, error) {
	p.mu.Lock()
	p.latency, p.sent, p.arrived = newHistogram(), 0, 0
	p.mu.Unlock()
	nothing := func() (int64, int64) { return 0, 0 }
	before, err := t.mark(nothing)
	if err != nil {
		return nil, stretch{}, err
	}
	p.window.open(p.clock.now(), length)
	if err := sleep(ctx, length); err != nil {
		return nil, stretch{}, err
	}
	after, err := t.mark(nothing)
	if err != nil {
		return nil, stretch{}, err
	}
	for moved := time.Now(); ; {
		latency, missing, sent := p.complete()
		switch {
		case latency != nil:
			return latency, after.since(before), nil
		case t.lost(moved):
			return nil, stretch{}, fmt.Errorf("%d of the honest pair's %d messages did not come", missing, sent)
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, stretch{}, err
		}
	}
}

// complete gives the latencies once all that was sent within the window has come, and begins anew; else
// how many are missing of how many.
func (p *pair) complete() (latency *hdrhistogram.Histogram, missing, sent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if missing, sent = p.sent-p.arrived, p.sent; missing > 0 || p.latency.TotalCount() == 0 {
		return nil, missing, sent
	}
	latency, p.latency = p.latency, newHistogram()
	return latency, 0, sent
}
