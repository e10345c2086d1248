package work

import "context"

// In a cluster a reader has no owner: each node writes its place behind the last record that the node
// knows, and where another node's is there it reads that and looks again what is still to be written.

// fresh has the journal read again where another node may have written it.
func (r *reader) fresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.manager.shared() && !r.writing {
		r.loaded = false
	}
}

// overtaken deals with a write that came too late: who waits for it waits on.
func (r *reader) overtaken(waiting []awaited) {
	r.mu.Lock()
	r.waiting = append(waiting, r.waiting...)
	r.loaded = false
	r.mu.Unlock()
	r.manager.spawn(r.rewrite)
}

// rewrite reads where the reader is by now, and writes what is beyond that.
func (r *reader) rewrite(ctx context.Context) {
	r.mu.Lock()
	was := r.there
	r.mu.Unlock()
	err := r.load(ctx)
	r.mu.Lock()
	if r.there && !was && counted(r.journal) {
		r.manager.known.Add(-1) // another node's reader is counted there
	}
	var told, left []awaited
	for _, w := range r.waiting {
		if err != nil || r.there && w.position <= r.position {
			told = append(told, w)
		} else {
			left = append(left, w)
		}
	}
	r.waiting = left
	r.writing = len(left) > 0
	at := r.position
	r.mu.Unlock()
	for _, w := range told {
		if w.told != nil {
			w.told(at, err)
		}
	}
	if len(left) > 0 {
		r.write(ctx)
		return
	}
	r.manager.unuseReader(r)
}
