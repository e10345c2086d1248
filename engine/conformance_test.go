package engine_test

import (
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/engine"
	"parley/internal/logtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(loadDir); dir != "" {
		load(dir) // this process is a test's child
	}
	if config := os.Getenv(nodeConfig); config != "" {
		node(config)
	}
	if config := os.Getenv(natsConfig); config != "" {
		natsServer(config)
	}
	goleak.VerifyTestMain(m)
}

// open opens an engine for one test.
func open(t testing.TB, c engine.Config) *engine.Engine {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	e, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func TestConformance(t *testing.T) { logtest.Run(t, harness) }

func TestJournals(t *testing.T) { logtest.RunJournals(t, harness) }

// harness opens an engine whose disk can be steered.
func harness(t *testing.T, s logtest.Settings) logtest.Harness {
	disk := newFaultySync()
	e := open(t, engine.Config{
		RetainMessages: s.RetainMessages,
		MaxInflight:    s.MaxInflight,
		SafetyCheck:    time.Hour, // the tail brings all by itself
		Sync:           disk.sync,
	})
	t.Cleanup(func() {
		disk.fail(errors.New("the test is over"))
		if s := e.Stats(); s.GapFills+s.SafetyFinds+s.Unreadable+s.Broke > 0 {
			t.Errorf("something was amiss: %+v", s)
		}
	})
	return logtest.Harness{Log: e, Tick: tick, Hold: disk.hold, Fail: func(err error) {
		disk.fail(err)
		for e.Ready() == nil { // the sync under way has to end
			tick()
		}
	}}
}

// tick waits until the clock has gone on by more than a millisecond.
func tick() { <-time.After(2 * time.Millisecond) }
