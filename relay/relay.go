package relay

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"parley"
	"parley/work"
)

// Config is what a relay stands on.
type Config struct {
	Bus  parley.Bus
	Work *work.Manager // this node's books, which know of parts
	Part func(room string) int
	// Parts is into how many parts the rooms are split.
	Parts int
	// Leads says whether this node leads a part; nil where no node of ours can: then the nodes that
	// hear each other share the parts by their names.
	Leads  func(part int) bool
	Logger *slog.Logger // default: discard
}

// Pace and bounds.
const (
	lookEvery   = 50 * time.Millisecond
	beatEvery   = 500 * time.Millisecond
	silentFor   = 3 * time.Second         // a node that is not heard for so long is gone
	patience    = 4500 * time.Millisecond // what is asked for fails after so long
	askAgain    = time.Second             // without an answer
	maxServing  = 1024                    // calls of other nodes that are served at a time
	maxRemember = 4096                    // answers that are remembered for each node
)

// Relay is this node's part in keeping the jobs of a cluster. Its methods may be called from any
// goroutine. It holds its mu while it calls nobody but the bus; a group's mu may be held when it is
// taken.
type Relay struct {
	Config
	name    string
	life    string // of this run, later ones being greater: a node that has started again has forgotten whom it served
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	turns   chan struct{} // of calls of other nodes

	mu      sync.Mutex
	closed  bool
	ids     uint64
	peers   map[string]*peer
	routes  []string // the owner of each part; "" = not known
	holding map[int]*holding
	calls   map[uint64]*call
	takers  map[uint64]*taker
	held    map[string]*taker // who holds a job, by its name
	guests  map[string]*guest
	moved   []func() // told when this node keeps other parts than before

	// Owned by Run.
	born, beat, here time.Time
}

var _ work.Books = (*Relay)(nil)

// New makes a relay. Run must be called for anything to be kept or reached.
func New(c Config) *Relay {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Relay{
		Config: c, name: c.Bus.Node(), life: fmt.Sprintf("%016x", time.Now().UnixNano()) + rand.Text()[:8],
		turns: make(chan struct{}, maxServing), peers: make(map[string]*peer), routes: make([]string, c.Parts),
		holding: make(map[int]*holding), calls: make(map[uint64]*call), takers: make(map[uint64]*taker),
		held: make(map[string]*taker), guests: make(map[string]*guest),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Topics of the bus: one that all hear, and one for each node.
const topic = "work"

func inbox(node string) string { return topic + "." + node }

// Run keeps what this node owns and serves until ctx ends, then waits for all it has started. It fails
// where the bus does.
func (r *Relay) Run(ctx context.Context) error {
	defer r.end()
	r.born = time.Now()
	for _, t := range []string{topic, inbox(r.name)} {
		stop, err := r.Bus.Subscribe(t, r.hear)
		if err != nil {
			return err
		}
		defer stop()
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		changed := r.hold()
		if changed || now.Sub(r.beat) >= beatEvery {
			r.tellBeat(now)
		}
		r.expire(now)
		r.lookAfterTakers(now)
		r.lookAfterCalls(now)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// end lets go of everything.
func (r *Relay) end() {
	r.mu.Lock()
	r.closed = true
	for _, h := range r.holding {
		h.ending = true
	}
	r.mu.Unlock()
	r.tellBeat(time.Now()) // nothing is kept here any more; answers still come
	r.cancel()
	r.running.Wait()
	r.publish(topic, &note{Kind: noteBye})
	r.mu.Lock()
	calls := r.calls
	r.calls = make(map[uint64]*call)
	r.mu.Unlock()
	for _, c := range calls {
		c.done(answer{err: errEnding})
	}
}

// spawn runs f in a goroutine that Run waits for; false once it has ended.
func (r *Relay) spawn(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.running.Go(f)
	return true
}

// nextID gives a number that was not given before. r.mu is held.
func (r *Relay) nextID() uint64 {
	r.ids++
	return r.ids
}

// send passes a note to a node.
func (r *Relay) send(node string, n *note) { r.publish(inbox(node), n) }

func (r *Relay) publish(to string, n *note) {
	n.Life = r.life
	data, err := json.Marshal(n)
	if err != nil {
		r.Logger.Error("a note for another node", "err", err)
		return
	}
	r.Bus.Publish(to, data)
}

// hear takes a note of another node.
func (r *Relay) hear(from string, data []byte) {
	var n note
	if err := json.Unmarshal(data, &n); err != nil {
		r.Logger.Warn("a note of another node", "node", from, "err", err)
		return
	}
	switch n.Kind {
	case noteBeat:
		r.heardBeat(from, &n)
	case noteBye:
		r.lose(from, n.Life)
	case noteAnswer:
		r.answered(from, &n)
	case noteJob:
		if n.Given != nil && n.Given.Message != nil {
			r.got(&n)
		}
	case noteOver:
		r.over(&n)
	case noteLater:
		r.Work.LaterGrew()
	default:
		if r.outdated(from, n.Life) {
			return
		}
		r.serve(from, &n)
	}
}

// Reader implements work.Books: readers have no owner.
func (r *Relay) Reader(ctx context.Context, room, name string) (*work.Reader, uint64, bool, error) {
	return r.Work.Reader(ctx, room, name)
}

// Readers implements work.Books.
func (r *Relay) Readers(ctx context.Context, room, after string, limit int) ([]work.ReaderInfo, bool, error) {
	return r.Work.Readers(ctx, room, after, limit)
}

// RemoveReader implements work.Books. Only sessions of this node keep a reader from being removed.
func (r *Relay) RemoveReader(ctx context.Context, room, name string) error {
	return r.Work.RemoveReader(ctx, room, name)
}

// Later implements work.Books: the message is written here, and the node that sends it is told.
func (r *Relay) Later(ctx context.Context, d parley.Draft, at time.Time, told func(parley.Receipt, error)) error {
	return r.Work.Later(ctx, d, at, func(receipt parley.Receipt, err error) {
		if owner := r.owner(r.Work.LaterPart()); err == nil && owner != "" && owner != r.name {
			r.send(owner, &note{Kind: noteLater})
		}
		told(receipt, err)
	})
}

// Stats implements work.Books: what this node has done.
func (r *Relay) Stats() work.Stats { return r.Work.Stats() }

var (
	errEnding = parley.Errorf(parley.Unavailable, "the server is going away")
	errNobody = parley.Errorf(parley.Unavailable, "no node that keeps these jobs can be reached now")
	errLost   = parley.Errorf(parley.Unavailable, "the outcome is unknown: the job may be given out again")
)
