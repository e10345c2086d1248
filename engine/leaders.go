package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Leaders do the work of a partition, so they are spread evenly: a node that leads more than its
// share hands one over, and one that stops hands over all.

const (
	spreadAfter  = 3 * time.Second // without any change of a leader, before one is brought about
	handOverAt   = "$JS.API.STREAM.LEADER.STEPDOWN."
	handOverWait = time.Second
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

// spread hands one partition over where this node leads more than others by two or more.
func (e *Engine) spread() {
	if e.cfg.Cluster == nil || e.health.refuses() != nil {
		return
	}
	own, p, to := e.surplus(time.Now())
	if p == nil {
		return
	}
	e.log.Info("leading too many partitions, one is handed over", "stream", p.stream, "leading", own, "to", to)
	if err := e.handOver(p, to); err != nil {
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
	leads := e.leads()
	me := e.cfg.Cluster.Node
	for i, s := range w.by {
		if s.leader != me {
			continue
		}
		if peer, ok := e.successor(&s, leads); ok && leads[peer]+2 <= leads[me] {
			return leads[me], e.parts[i], peer
		}
	}
	return 0, nil, ""
}

// leads counts the partitions of each node. The watch's mu is held.
func (e *Engine) leads() map[string]int {
	leads := make(map[string]int)
	for _, s := range e.watched.by {
		if s.leader != "" {
			leads[s.leader]++
		}
	}
	return leads
}

// successor gives the replica that leads the fewest partitions and is up to date.
func (e *Engine) successor(s *seen, leads map[string]int) (string, bool) {
	best := ""
	for _, r := range s.replicas {
		if e.alive(r) && r.Current && (best == "" || leads[r.Name] < leads[best]) {
			best = r.Name
		}
	}
	return best, best != ""
}

// handOver makes another node the partition's leader.
func (e *Engine) handOver(p *partition, to string) error {
	body, err := json.Marshal(map[string]any{"placement": map[string]string{"preferred": to}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverWait)
	defer cancel()
	answer, err := e.store.Load().pub.RequestWithContext(ctx, handOverAt+p.stream, body)
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

// HandOver has other nodes lead what this one leads, as far as they can: for a node that is about to
// stop, so that nobody waits for a leader when it does. It takes a second or so. Alone it does nothing.
func (e *Engine) HandOver() {
	if e.cfg.Cluster == nil {
		return
	}
	e.look()
	w := &e.watched
	w.mu.Lock()
	me := e.cfg.Cluster.Node
	leads := e.leads()
	given := make(map[*partition]string)
	for i, s := range w.by {
		if s.leader != me {
			continue
		}
		if peer, ok := e.successor(&s, leads); ok {
			leads[peer]++
			given[e.parts[i]] = peer
		}
	}
	w.mu.Unlock()
	for p, to := range given {
		if err := e.handOver(p, to); err != nil {
			e.log.Warn("hand a partition over", "stream", p.stream, "error", err)
		}
	}
	e.awaitHandedOver(given)
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
