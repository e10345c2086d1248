package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a test waits for what must come. It is long because machines are slow at
// times; no test that passes waits for it.
const patience = 30 * time.Second

// builds is where binaries of this run are put.
var builds string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if builds, err = os.MkdirTemp("", "parley-e2e"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(builds) }()
	if _, err := binary(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// binary is the program under test.
var binary = sync.OnceValues(func() (string, error) { return build("parley", raceEnabled) })

// leanBinary is the program without the race detector, which multiplies memory: for the tests
// that measure it.
var leanBinary = sync.OnceValues(func() (string, error) {
	if !raceEnabled {
		return binary()
	}
	return build("parley-lean", false)
})

func build(name string, race bool) (string, error) {
	if path := os.Getenv("PARLEY_TEST_BINARY"); path != "" {
		return path, nil
	}
	path := filepath.Join(builds, name)
	args := []string{"build", "-o", path}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "parley/cmd/parley")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
}
