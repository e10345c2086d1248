// Package floors holds no code but a test: that the packages of this module stand on floors, each
// importing only what is below it, and that docs/ARCHITECTURE.md names them all.
package floors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "parley"

// floors says how high each package stands; "" is the root. A new package gets its floor here, and
// a line in docs/ARCHITECTURE.md.
var floors = map[string]int{
	"":                     0,
	"clients/js":           0,
	"web":                  0,
	"audit":                1,
	"internal/bustest":     1,
	"internal/certtest":    1,
	"internal/logtest":     1,
	"internal/oidctest":    1,
	"internal/settings":    1,
	"auth":                 1,
	"engine":               1,
	"peers":                1,
	"wire":                 1,
	"client":               2,
	"quota":                2,
	"room":                 2,
	"ask":                  2,
	"work":                 2,
	"relay":                3,
	"hooks":                3,
	"session":              3,
	"transport/sock":       3,
	"transport/http":       4,
	"transport/sse":        4,
	"transport/tcp":        4,
	"transport/ws":         4,
	"bench":                5,
	"server":               5,
	"cmd/parley":           6,
	"e2e":                  7,
	"examples/temporary":   6,
	"examples/chat":        7,
	"examples/events":      7,
	"examples/computation": 7,
	"e2e/browser":          7,
	"e2e/history":          0,
	"e2e/faults":           7,
}

// Who may import what, beside the floors.
var (
	// The engine is the only one who knows NATS; bench drives it as a peer.
	nats = map[string]bool{"engine": true, "bench": true}
	// These are for tests alone.
	forTests = map[string]bool{"internal/bustest": true, "internal/certtest": true, "internal/logtest": true, "internal/oidctest": true, "e2e": true, "e2e/browser": true, "e2e/history": true, "e2e/faults": true}
)

type pkg struct {
	ImportPath string
	GoFiles    []string
	Imports    []string // without those of tests
}

// name is the package's path within the module.
func name(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

// own says whether an import path is of this module.
func own(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// packages lists those of the module.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,GoFiles,Imports", module+"/...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list found no packages")
	}
	return all
}

func TestPackagesImportOnlyLowerFloors(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests may import what they like
		}
		from := name(p.ImportPath)
		height, ok := floors[from]
		if !ok {
			t.Errorf("%s stands on no floor: give it one", p.ImportPath)
			continue
		}
		for _, path := range p.Imports {
			switch {
			case own(path):
				checkImport(t, p.ImportPath, height, path)
			case strings.HasPrefix(path, "github.com/nats-io/") && !nats[from]:
				t.Errorf("%s imports %s: only the engine knows NATS", p.ImportPath, path)
			}
		}
	}
}

func checkImport(t *testing.T, from string, height int, path string) {
	t.Helper()
	to := name(path)
	below, ok := floors[to]
	switch {
	case !ok:
		t.Errorf("%s imports %s, which stands on no floor", from, path)
	case forTests[to] && !forTests[name(from)]:
		t.Errorf("%s imports %s, which is for tests", from, path)
	case below >= height:
		t.Errorf("%s, on floor %d, imports %s, on floor %d", from, height, path, below)
	}
}

// listed are the packages of the page's table: the second cell of each row, behind the floor.
var listed = regexp.MustCompile("(?m)^\\|[^|`]*\\| *`([a-z0-9/]+)` *\\|")

func TestArchitecturePageNamesEveryPackage(t *testing.T) {
	page, err := os.ReadFile("../../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := bytes.Cut(page, []byte("\n## Floors\n"))
	if !found {
		t.Fatal(`docs/ARCHITECTURE.md has no section "Floors"`)
	}
	table, _, _ = bytes.Cut(table, []byte("\n## "))
	var want, got []string
	for _, p := range packages(t) {
		if want = append(want, name(p.ImportPath)); p.ImportPath == module {
			want[len(want)-1] = module
		}
	}
	for _, m := range listed.FindAllSubmatch(table, -1) {
		got = append(got, string(m[1]))
	}
	sort.Strings(want)
	sort.Strings(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the packages (-are +docs/ARCHITECTURE.md lists):\n%s", diff)
	}
}
