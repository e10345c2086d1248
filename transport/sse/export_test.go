package sse

// Places are those of a stream, for the test of what is written in part.
type Places struct{ p places }

// Add adds a room and its place.
func (p *Places) Add(room string, seq uint64) { p.p.add(room, &seq) }

// ID is the id there is now.
func (p *Places) ID() string { return string(p.p.appendID(nil)) }

// Compose gives shared events with the stream's ids.
func (p *Places) Compose(events []byte) []byte { return p.p.compose(nil, events) }

// Accept says what it means that n composed bytes were written.
func (p *Places) Accept(composed []byte, n int) (int, []byte) { return p.p.accept(composed, n) }
