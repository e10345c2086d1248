package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Leaders do the work of a partition, so they are spread evenly: a node that leads more than its
// share hands one over, and one that stops hands over all.

const (
	spreadAfter  = 3 * time.Second // without any change of a leader, before one is brought about
	handOverAt   = "$JS.API.STREAM.LEADER.STEPDOWN."
	handOverWait = time.Second

	leavingTopic = "leaving"      // on the bus, of a node that hands all over, again and again
	leavingFor   = 4 * watchEvery // not heard for so long, it leaves no more
)

// Parts is into how many parts the rooms are split; see [parley.Log.Part].
func (e *Engine) Parts() int { return e.cfg.Partitions }

// Leads says whether this node leads a part of the rooms, as far as it knows: it may have been
// replaced without having heard of it. Over another's store no node of ours leads.
func (e *Engine) Leads(part int) bool {
	st := e.store.Load()
	return e.cfg.Cluster != nil && st.srv != nil && e.health.refuses() == nil &&
		st.srv.JetStreamIsStreamLeader(globalAccount, e.parts[part].stream)
}

// spread hands one partition over where this node leads more than others by two or more; all, where
// it is about to stop.
func (e *Engine) spread() {
	if e.cfg.Cluster == nil {
		return
	}
	if e.retired() {
		e.bus.Publish(leavingTopic, nil)
		ctx, cancel := context.WithTimeout(e.ctx, handOverWait)
		defer cancel()
		e.giveAll(ctx, time.Now().Add(-stale))
		return
	}
	if e.health.refuses() != nil {
		return
	}
	own, p, to := e.surplus(time.Now())
	if p == nil {
		return
	}
	e.log.Info("leading too many partitions, one is handed over", "stream", p.stream, "leading", own, "to", to)
	ctx, cancel := context.WithTimeout(e.ctx, handOverWait)
	defer cancel()
	if err := e.handOver(ctx, p, to); err != nil {
		e.log.Warn("hand a partition over", "stream", p.stream, "error", err)
	}
}

// surplus finds a partition that another node should lead, and that node; nil where none should.
func (e *Engine) surplus(now time.Time) (own int, give *partition, to string) {
	w := &e.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.since) < spreadAfter || now.Sub(w.whole) > watchEvery {
		return 0, nil, ""
	}
	rooms, journals := e.leads()
	me := e.cfg.Cluster.Node
	for i, s := range w.by {
		if s.leader != me {
			continue
		}
		leads := rooms
		if e.parts[i].quiet {
			leads = journals
		}
		if peer, ok := e.successor(&s, leads); ok && leads.uneven(me, peer) {
			return leads.all[me], e.parts[i], peer
		}
	}
	return 0, nil, ""
}

// leads is how many partitions of a kind, rooms' or journals', each node leads, and how many of all.
type leads struct{ kind, all map[string]int }

func (l leads) add(node string) {
	l.kind[node]++
	l.all[node]++
}

// fewer says whether a leads fewer than b: of the kind, or as many of it and fewer of all.
func (l leads) fewer(a, b string) bool {
	if l.kind[a] != l.kind[b] {
		return l.kind[a] < l.kind[b]
	}
	return l.all[a] < l.all[b]
}

// uneven says whether one partition of the kind should go from one node to another: each kind is spread
// evenly, and so that all of them are.
func (l leads) uneven(from, to string) bool {
	more := l.kind[from] - l.kind[to]
	return more >= 2 || (more == 1 && l.all[from]-l.all[to] >= 2)
}

// leads counts them. The watch's mu is held.
func (e *Engine) leads() (rooms, journals leads) {
	all := make(map[string]int)
	rooms, journals = leads{make(map[string]int), all}, leads{make(map[string]int), all}
	for i, s := range e.watched.by {
		switch {
		case s.leader == "":
		case e.parts[i].quiet:
			journals.add(s.leader)
		default:
			rooms.add(s.leader)
		}
	}
	return rooms, journals
}

// successor gives the replica that leads the fewest partitions, is up to date and stays. The watch's mu
// is held.
func (e *Engine) successor(s *seen, leads leads) (string, bool) {
	best := ""
	for _, r := range s.replicas {
		if !e.alive(r) || !r.Current || time.Since(e.watched.leaving[r.Name]) < leavingFor {
			continue
		}
		if best == "" || leads.fewer(r.Name, best) {
			best = r.Name
		}
	}
	return best, best != ""
}

// heardLeaving takes it that a node hands over what it leads: nothing should be handed to it.
func (e *Engine) heardLeaving(node string, _ []byte) {
	w := &e.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leaving == nil {
		w.leaving = make(map[string]time.Time)
	}
	w.leaving[node] = time.Now()
}

func (e *Engine) retired() bool {
	e.watched.mu.Lock()
	defer e.watched.mu.Unlock()
	return e.watched.retired
}

// handOver makes another node the partition's leader, if this one is.
func (e *Engine) handOver(ctx context.Context, p *partition, to string) error {
	st := e.store.Load()
	if !st.srv.JetStreamIsStreamLeader(globalAccount, p.stream) {
		return nil // whoever is would be told to step down
	}
	body, err := json.Marshal(map[string]any{"placement": map[string]string{"preferred": to}})
	if err != nil {
		return err
	}
	answer, err := st.pub.RequestWithContext(ctx, handOverAt+p.stream, body)
	if err != nil {
		return err
	}
	var said struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &said); err != nil {
		return err
	}
	if said.Error != nil {
		return fmt.Errorf("the store refused: %s", said.Error.Description)
	}
	return nil
}

// HandOver has other nodes lead what this one leads, as far as they can, from now on: for a node that is
// about to stop, so that nobody waits for a leader when it does. It takes a second or so, and never more
// than four. Alone it does nothing, nor where no majority would hear of it.
func (e *Engine) HandOver() {
	if e.cfg.Cluster == nil || e.Apart() != nil {
		return
	}
	e.watched.mu.Lock()
	e.watched.retired = true
	e.watched.mu.Unlock()
	e.bus.Publish(leavingTopic, nil)
	began := time.Now()
	ctx, cancel := context.WithTimeout(e.ctx, 3*handOverWait)
	defer cancel()
	e.look(ctx)
	e.awaitHandedOver(e.giveAll(ctx, began))
}

// giveAll hands over whatever this node leads, as was seen since began, where another can take it.
func (e *Engine) giveAll(ctx context.Context, began time.Time) (given map[*partition]string) {
	w := &e.watched
	w.mu.Lock()
	me := e.cfg.Cluster.Node
	rooms, journals := e.leads()
	given = make(map[*partition]string)
	for i, s := range w.by {
		if s.leader != me || s.at.Before(began) {
			continue
		}
		leads := rooms
		if e.parts[i].quiet {
			leads = journals
		}
		if peer, ok := e.successor(&s, leads); ok {
			leads.add(peer)
			given[e.parts[i]] = peer
		}
	}
	w.mu.Unlock()
	var all sync.WaitGroup
	for p, to := range given {
		all.Go(func() {
			if err := e.handOver(ctx, p, to); err != nil {
				e.log.Warn("hand a partition over", "stream", p.stream, "error", err)
			}
		})
	}
	all.Wait()
	return given
}

// awaitHandedOver waits, not for long, until the partitions have other leaders.
func (e *Engine) awaitHandedOver(given map[*partition]string) {
	st := e.store.Load()
	for end := time.Now().Add(handOverWait); len(given) > 0 && time.Now().Before(end); {
		for p := range given {
			if !st.srv.JetStreamIsStreamLeader(globalAccount, p.stream) {
				delete(given, p)
			}
		}
		<-time.After(10 * time.Millisecond)
	}
}
