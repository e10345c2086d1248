package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// The loads of work run against a server of their own and print what they are for, one object a row.
func TestBenchesOfWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		rows []string // each the figures that it must have
	}{
		"work": {
			[]string{"work", "--jobs", "500", "--workers", "2"},
			[]string{"jobs_per_s cpu_s_per_1m", "jobs_per_s cpu_s_per_1m p50_ms p99_ms sent_p99_ms"},
		},
		"map": {
			[]string{"map", "--lines", "300", "--workers", "2", "--window", "50"},
			[]string{"answers_per_s cpu_s_per_1m", "answers_per_s cpu_s_per_1m", "answers_per_s cpu_s_per_1m"},
		},
		"a pattern over ws": {
			[]string{"fanout", "--rooms", "50", "--receivers", "4", "--senders", "2", "--transport", "ws", "--for", "300ms", "--warm-up", "100ms"},
			[]string{"messages_per_s p99_ms", "messages_per_s p99_ms", "messages_per_s cpu_s_per_1m"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := launch(t, must(t, leanBinary), t.TempDir(), nil, append([]string{"bench", "--json", "--quiet"}, c.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			if code := p.exit(4 * patience); code != 0 {
				t.Fatalf("it has exited with %d: %s", code, &p.stderr)
			}
			rows := strings.Split(strings.TrimSpace(p.stdout.String()), "\n")
			if len(rows) != len(c.rows) {
				t.Fatalf("%d rows, want %d:\n%s", len(rows), len(c.rows), &p.stdout)
			}
			for i, want := range c.rows {
				var row map[string]any
				if err := json.Unmarshal([]byte(rows[i]), &row); err != nil {
					t.Fatal(err)
				}
				for _, key := range strings.Fields(want) {
					if v, ok := row[key].(float64); !ok || v < 0 {
						t.Errorf("row %d has no figure %s: %s", i, key, rows[i])
					}
				}
			}
		})
	}
}
