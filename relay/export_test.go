package relay

// Hear takes what another node publishes.
func (r *Relay) Hear(from string, data []byte) { r.hear(from, data) }
