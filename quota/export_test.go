package quota

// Remembered counts the parties and clocks that take memory.
func (q *Quota) Remembered() (parties, clocks int) {
	for i := range q.parties.shards {
		s := &q.parties.shards[i]
		s.mu.Lock()
		parties += len(s.byID)
		s.mu.Unlock()
	}
	for i := range q.clocks.shards {
		s := &q.clocks.shards[i]
		s.mu.Lock()
		clocks += len(s.next)
		s.mu.Unlock()
	}
	return parties, clocks
}
