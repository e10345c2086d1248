package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// The loads of a cluster run to their end, and every row has its figures.
func TestBenchCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, err := launch(t, must(t, binary), dir, nil, "bench", "cluster", "--json", "--dir", dir,
		"--sessions", "6", "--receivers", "20", "--kills", "1", "--for", "200ms", "--warm-up", "100ms")
	if err != nil {
		t.Fatal(err)
	}
	if code := p.exit(6 * patience); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	rows := map[string]map[string]any{}
	for line := range strings.Lines(p.stdout.String()) {
		row := map[string]any{}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		rows[row["load"].(string)+", "+row["peer"].(string)] = row
	}
	for of, figures := range map[string][]string{
		"cluster publish, 3 nodes":                                    {"acks_per_s", "cpu_s_per_1m", "p99_ms"},
		"cluster, sent at one node and delivered at another, 3 nodes": {"messages_per_s", "p50_ms"},
		"cluster fanout, a member's node of 3":                        {"deliveries_per_s", "cpu_s_per_1m"},
		"cluster fanout, a member's node of 3 ÷ one node alone":       {"cpu_s_per_1m"},
		"cluster, no acks after kill -9 of the leader, 3 nodes":       {"p50_ms", "p99_ms"},
	} {
		for _, figure := range figures {
			if v, ok := rows[of][figure].(float64); !ok || v <= 0 {
				t.Errorf("%s: %s is %v", of, figure, rows[of][figure])
			}
		}
	}
}
