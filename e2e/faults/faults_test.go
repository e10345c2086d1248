package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"parley/e2e/history"
)

var everyPlant = flag.Bool("every-plant", false, "have the campaign catch every planted bug, not only some")

// program builds the campaign. Tests are left out where it cannot run.
func program(t *testing.T) string {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "root: it makes hosts and disks"
	}
	for _, tool := range []string{"ip", "bridge", "iptables-legacy", "nsenter", "mkfs.ext4", "mount"} {
		if _, err := exec.LookPath(tool); err != nil && missing == "" {
			missing = "root, and " + tool + " too"
		}
	}
	if missing != "" {
		if os.Getenv("PARLEY_TEST_ROOT") == "1" {
			t.Fatalf("PARLEY_TEST_ROOT=1, and the campaign needs %s", missing)
		}
		t.Skip("needs " + missing)
	}
	path := filepath.Join(t.TempDir(), "faults")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the campaign: %v\n%s", err, out)
	}
	return path
}

// Two short runs. The whole campaign is make faults.
func TestCampaign(t *testing.T) {
	out, err := exec.Command(program(t), "-seed", "2", "-runs", "2", "-length", "8s").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// One node is cut off: sends there fail in time, its members are told, presence is right in time at every
// node, and the node ends when it is told to. It once told nobody, was apart for as long again as it had been
// cut off, and took a minute and more to end.
func TestMinority(t *testing.T) {
	out, err := exec.Command(program(t), "-minority", "-seed", "1", "-runs", "1").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// The campaign is worth what it catches.
func TestPlantedBugs(t *testing.T) {
	path := program(t)
	names := []string{"no-dedupe", "resume-off-by-one"}
	if *everyPlant {
		names = []string{"all"}
	}
	for _, name := range names {
		out, err := exec.Command(path, "-plant", name, "-runs", "5", "-length", "8s").CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a planted bug replaces must stand in the sources.
func TestPlantedBugsFit(t *testing.T) {
	t.Parallel()
	for _, p := range plants {
		text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(p.file)))
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(text), p.old); n != 1 {
			t.Errorf("%s: %s holds %d times %q, want once", p.name, p.file, n, p.old)
		}
		if _, err := allKinds(p.faults); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}

func TestSeedGivesThePlan(t *testing.T) {
	t.Parallel()
	kinds, err := allKinds("")
	if err != nil {
		t.Fatal(err)
	}
	drawn := make(map[string]bool)
	for seed := range uint64(100) {
		plan := draw(seed, kinds, 12*time.Second)
		if !reflect.DeepEqual(plan, draw(seed, kinds, 12*time.Second)) {
			t.Fatalf("seed %d gives two plans", seed)
		}
		for _, p := range plan {
			drawn[p.kind] = true
			if f := faults[p.kind]; f.all != (p.node == 0) || f.pair != (p.other != 0) || p.node == p.other && f.pair {
				t.Errorf("seed %d: %v", seed, p)
			}
			if p.at+p.lasts > 12*time.Second {
				t.Errorf("seed %d: %v ends after the run", seed, p)
			}
		}
	}
	if len(drawn) != len(kinds) {
		t.Errorf("of %d kinds of faults only %d are ever drawn", len(kinds), len(drawn))
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	f := count([]history.Event{
		{T: 1, Type: "invoke", Op: "publish", ID: "1"},
		{T: 10, Type: "ok", Op: "publish", ID: "1"},
		{T: 20, Type: "info", Op: "fault", Name: "pause"},
		{T: 30, Type: "info", Op: "publish"},
		{T: 40, Type: "info", Op: "fault", Name: "end of pause"},
		{T: 55, Type: "invoke", Op: "publish", ID: "2"},
		{T: 60, Type: "ok", Op: "publish", ID: "2"},
		{T: 70, Type: "info", Op: "fault", Name: "heal"},
		{T: 75, Type: "info", Op: "fault", Name: "recovered"},
	})
	var sum figures
	sum.add(f)
	sum.add(f)
	want := figures{runs: 2, sent: 4, acked: 4, unknown: 2, faults: map[string]int{"pause": 2}, longest: 50, recovered: 5, slowest: 9}
	if !reflect.DeepEqual(sum, want) {
		t.Errorf("got %+v, want %+v", sum, want)
	}
}
