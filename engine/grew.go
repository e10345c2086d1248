package engine

// Grew has told called with a room's name after it has grown, in the order of the tail, until stop; it
// must not block. It is of all rooms, followed or not, and a hint: what the live copies lose, it does
// too. There is one such listener at a time.
func (e *Engine) Grew(told func(room string)) (stop func()) {
	e.grew.Store(&told)
	return func() { e.grew.CompareAndSwap(&told, nil) }
}

// grown tells of the rooms of live copies that are released, each once where they follow each other.
func (r *releaser) grown(copies []liveCopy) {
	told := r.grew.Load()
	if told == nil {
		return
	}
	last := ""
	for _, c := range copies {
		if c.msg.Subject == last {
			continue
		}
		last = c.msg.Subject
		if room, err := roomOf(last); err == nil {
			(*told)(room)
		}
	}
}
