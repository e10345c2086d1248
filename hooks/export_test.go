package hooks

// What tests look at from inside.
var (
	RetryAfter = retryAfter
	Backoff    = backoff
	MaxBackoff = maxBackoff
)

// ParseStamped reads a signature with a time.
func ParseStamped(s string) (stamp string, sums []string, err error) {
	p, err := parseStamped(s)
	return p.stamp, p.sums, err
}

// Left says whether the drain has begun.
func (s *Sender) Left() bool { return s.left() }
