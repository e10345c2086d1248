package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	if os.Getenv(inside) == "" {
		return enter()
	}
	if err := prepare(nodes); err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp("", "parley-faults")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if s.program == "" {
		s.program = filepath.Join(work, "parley")
		if out, err := exec.Command("go", "build", "-o", s.program, "parley/cmd/parley").CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build the program: %w\n%s", err, out)
		}
	}
	return s.perform(work)
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
		list, err := perform(dir, s.program, plan)
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
		if len(wrong) > 0 || s.all {
			fmt.Println("  kept in", s.save(dir, seed))
		}
		_ = os.RemoveAll(dir)
		sum.add(f)
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
