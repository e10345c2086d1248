package engine

import (
	"fmt"
	"log/slog"
	"strings"
)

// storeLog passes the store's log on, and hears in it that a write has failed: the store answers
// such an append with silence and has no other word for it.
type storeLog struct {
	log    *slog.Logger
	broken func(reason string)
}

// writeFailures are the lines with which the store gives up writing.
var writeFailures = [...]string{"critical write error", "Critical write error", "failed to store a msg", "disabling JetStream", "will be DISABLED"}

func (l *storeLog) heard(line string) {
	for _, w := range writeFailures {
		if strings.Contains(line, w) {
			l.broken(line)
			return
		}
	}
}

func (l *storeLog) Noticef(string, ...any) {}
func (l *storeLog) Debugf(string, ...any)  {}
func (l *storeLog) Tracef(string, ...any)  {}

// beside the point: the one user there is has a random secret that never leaves the process.
const plaintext = "Plaintext passwords detected"

func (l *storeLog) Warnf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	if strings.HasPrefix(line, plaintext) {
		return
	}
	l.log.Warn("store", "line", line)
	l.heard(line)
}

func (l *storeLog) Errorf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.log.Error("store", "line", line)
	l.heard(line)
}

// Fatalf does not end the process: what the store cannot do without shows as an error of Open.
func (l *storeLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }
