package bench

import (
	"bytes"
	"fmt"
	"time"
)

// stuck is how long a server may neither read nor answer while something is on its way.
const stuck = 30 * time.Second

// taker is where a socket's bytes go. take is called by one goroutine, and may keep nothing of p.
type taker interface {
	take(p []byte) error
}

// lines cuts a stream into lines. It keeps only what has come of a line that has not ended.
type lines struct {
	rest []byte
}

// cut calls each for every line that p ends, its line end left out.
func (l *lines) cut(p []byte, each func(line []byte) error) error {
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.rest = append(l.rest, p...)
			return nil
		}
		line := p[:i]
		if len(l.rest) > 0 {
			l.rest = append(l.rest, line...)
			line = l.rest
			l.rest = l.rest[:0]
		}
		if err := each(line); err != nil {
			return err
		}
		p = p[i+1:]
	}
}

// unexpected is the error for an answer that no load asks for.
func unexpected(line []byte) error {
	const most = 300
	if len(line) > most {
		line = append(line[:most:most], "…"...)
	}
	return fmt.Errorf("the server said: %s", line)
}
