package main

import (
	"os"
	"path/filepath"
	"testing"
)

// What a run has written counts as written only as far as its output still has it.
func TestARunFindsItsPlaceInTheOutput(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text    string // the output as it is found
		left    string // and as the run goes on with it
		written uint64
		usage   bool
	}{
		"as it was left":         {"1\n4\n", "1\n4\n", 2, false},
		"with what was not kept": {"1\n4\n9\n1", "1\n4\n", 2, false},
		"emptied":                {"", "", 0, false},
		"another file":           {"1\n", "1\n", 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			run := &mapRun{Run: "r", Written: 2, Offset: 4, Begin: positions{7, 1}, After: positions{9, 1}}
			err = run.place(out)
			if (exitCode(err) == exitUsage) != c.usage || (err == nil) == c.usage {
				t.Errorf("error %v", err)
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != c.left || run.Written != c.written {
				t.Errorf("output %q, %v, of %d lines; want %q of %d", text, err, run.Written, c.left, c.written)
			}
			if run.Written == 0 && run.After != run.Begin {
				t.Errorf("it goes on at %v, not where it began", run.After)
			}
		})
	}
}

func FuzzMapID(f *testing.F) {
	run := &mapRun{Run: "k3xqa"}
	f.Add("k3xqa-17-0a0b0c0d")
	f.Add("k3xqa-17-0a0b0c0d-2")
	f.Add("other-17-0a0b0c0d")
	f.Fuzz(func(t *testing.T, id string) {
		j, ok := run.parse(id)
		if !ok {
			return
		}
		if again, ok := run.parse(run.id(j.number, j.sum, j.round)); !ok || again != j {
			t.Errorf("%q is %+v, and that is %+v", id, j, again)
		}
	})
}
