package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"parley/e2e/history"
)

// settings are what the campaign was told.
type settings struct {
	seed    uint64
	runs    int
	length  time.Duration
	kinds   string
	program string
	keep    string
	all     bool
	plant   string
	minor   bool
	caught  bool // end with the first run that is wrong
}

func main() {
	var s settings
	flag.Uint64Var(&s.seed, "seed", 1, "seed of the first run; each run adds one")
	flag.IntVar(&s.runs, "runs", 1, "runs")
	flag.DurationVar(&s.length, "length", 12*time.Second, "how long faults go on in a run")
	flag.StringVar(&s.kinds, "faults", "", "kinds of faults to draw from, with commas (default: all)")
	flag.StringVar(&s.program, "program", "", "the binary under test (default: it is built)")
	flag.StringVar(&s.keep, "keep", "", "directory for histories and logs of runs that fail (default: a temporary one)")
	flag.BoolVar(&s.all, "keep-all", false, "keep those of all runs")
	flag.StringVar(&s.plant, "plant", "", "build the program with a bug of planted.go, and end with the first run that catches it; all = one after the other")
	flag.BoolVar(&s.minor, "minority", false, "cut one node off, in each run for another time, and look at it closely")
	flag.Parse()
	code, err := campaign(&s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		code = 2
	}
	os.Exit(code)
}

// campaign gives the exit code: 0 where all runs were sound, 1 where one was not.
func campaign(s *settings) (int, error) {
	if _, err := allKinds(s.kinds); err != nil {
		return 0, err
	}
	if os.Geteuid() != 0 {
		return 0, fmt.Errorf("it makes hosts and disks, and that needs root")
	}
	work := os.Getenv(inside)
	if work == "" {
		return enter()
	}
	if err := prepare(nodes); err != nil {
		return 0, err
	}
	switch {
	case s.plant != "":
		return s.perfect(work)
	case s.program == "":
		s.program = filepath.Join(work, "parley")
		if out, err := exec.Command("go", "build", "-o", s.program, "parley/cmd/parley").CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build the program: %w\n%s", err, out)
		}
	}
	if s.minor {
		return s.minorities(work)
	}
	return s.perform(work)
}

// perfect has the campaign catch planted bugs. The exit code is 1 where one was not.
func (s *settings) perfect(work string) (code int, err error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return 0, fmt.Errorf("where the module is: %w", err)
	}
	chosen := plants
	if s.plant != "all" {
		p, err := planted(s.plant)
		if err != nil {
			return 0, err
		}
		chosen = []plant{p}
	}
	missed := 0
	for _, p := range chosen {
		of := *s
		of.kinds, of.caught = p.faults, true
		if of.program, err = sow(p, strings.TrimSpace(string(root)), work); err != nil {
			return 0, err
		}
		fmt.Printf("== %s\n", p.name)
		found, err := of.perform(work)
		if err != nil {
			return 0, fmt.Errorf("with %s: %w", p.name, err)
		}
		if found == 0 {
			missed++
			fmt.Printf("%s was not caught\n", p.name)
		}
		_ = os.Remove(of.program)
	}
	fmt.Printf("%d of %d planted bugs were caught\n", len(chosen)-missed, len(chosen))
	return min(missed, 1), nil
}

// perform does the runs and prints their figures.
func (s *settings) perform(work string) (int, error) {
	kinds, err := allKinds(s.kinds)
	if err != nil {
		return 0, err
	}
	var sum figures
	for seed := s.seed; seed < s.seed+uint64(max(s.runs, 0)); seed++ { //nolint:gosec // not negative
		dir := filepath.Join(work, fmt.Sprint("seed-", seed))
		if err := os.Mkdir(dir, 0o750); err != nil {
			return 0, err
		}
		began := time.Now()
		plan := draw(seed, kinds, s.length)
		list, err := perform(dir, s.program, (*run).course, plan)
		if err != nil {
			return 0, fmt.Errorf("seed %d: %w (see %s)", seed, err, s.save(dir, seed))
		}
		f := count(list)
		wrong := history.Judge(list)
		f.wrong = len(wrong)
		verdict := "sound"
		if len(wrong) > 0 {
			f.failed, verdict = 1, "WRONG"
		}
		fmt.Printf("seed %d: %s, %.0fs\n", seed, verdict, time.Since(began).Seconds())
		f.print(os.Stdout)
		if len(wrong) > 0 {
			for _, p := range plan {
				fmt.Println("  plan:", p)
			}
			for _, w := range wrong {
				fmt.Println("  wrong:", w)
			}
		}
		if (len(wrong) > 0 && !s.caught) || s.all {
			fmt.Println("  kept in", s.save(dir, seed))
		}
		_ = os.RemoveAll(dir)
		sum.add(f)
		if s.caught && len(wrong) > 0 {
			break
		}
	}
	fmt.Printf("%d runs, %d of them wrong\n", sum.runs, sum.failed)
	sum.print(os.Stdout)
	if sum.failed > 0 {
		return 1, nil
	}
	return 0, nil
}

// save keeps a run's history and logs, and says where.
func (s *settings) save(dir string, seed uint64) string {
	to := s.keep
	if to == "" {
		to = filepath.Join(os.TempDir(), "parley-faults-kept")
	}
	to = filepath.Join(to, fmt.Sprintf("seed-%d-%s", seed, time.Now().Format("150405")))
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err.Error()
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.*l*"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(f)), data, 0o600)
		}
		if err != nil {
			return err.Error()
		}
	}
	return to
}
