package logtest_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) { logtest.Run(t, memory) }

func TestMemoryJournals(t *testing.T) { logtest.RunJournals(t, memory) }

// memory makes a log whose clock can be steered.
func memory(_ *testing.T, s logtest.Settings) logtest.Harness {
	var past time.Duration // beyond the system's clock
	start := time.Now()
	l := logtest.New(logtest.Options{
		RetainMessages: s.RetainMessages,
		MaxInflight:    s.MaxInflight,
		Now:            func() time.Time { return start.Add(past) },
	})
	return logtest.Harness{Many: true, Log: l, Tick: func() { past += time.Millisecond }, Hold: l.Hold, Fail: l.Fail}
}
