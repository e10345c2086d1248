package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mapRun is how far a run of parley map is. It is what --resume keeps, as JSON.
//
// The ids of its messages are made of the run's own id, the line's number and its sum: a line that is
// sent again is known to the server for as long as it knows ids, and its answers are known here for ever.
type mapRun struct {
	Run   string `json:"run"`
	Room  string `json:"room"`
	Group string `json:"group"`
	Name  string `json:"name"` // that messages are sent under: ids count by sender

	Window int `json:"window"` // the largest there was
	Round  int `json:"round"`  // rises when answers were lost, and jobs must be done again

	Written uint64 `json:"written"` // lines whose answer is in the output
	Failed  uint64 `json:"failed"`  // of them, those that have none
	Sum     string `json:"sum"`     // of these lines
	Base    int64  `json:"base"`    // bytes of the output's file before the run
	Offset  int64  `json:"offset"`  // and with what is written

	Begin positions `json:"begin"` // where the rooms were when the run began
	After positions `json:"after"` // up to where all is written that came by them

	path  string // "": it is not kept
	fresh bool   // it has never been anywhere: Begin is not known
}

// positions are seqs of the room of answers and that of dead letters.
type positions [2]uint64

// openRun reads the run that a file keeps, or begins one, and makes out its continuation. out is nil
// where the output is no file.
func openRun(path, room string, f *mapFlags, out *os.File) (*mapRun, error) {
	run, err := readRun(path)
	if err != nil {
		return nil, err
	}
	if run == nil {
		id := strings.ToLower(rand.Text()[:12])
		run = &mapRun{Run: id, Room: room, Group: f.group, Name: "map-" + id, Sum: sumOf(sha256.New()), path: path, fresh: true}
	}
	if run.Room != room || run.Group != f.group {
		return nil, usagef("%s is of a run in %s with the group %s", path, run.Room, run.Group)
	}
	run.Window = max(run.Window, f.window)
	return run, run.place(out)
}

// readRun gives nil where there is none.
func readRun(path string) (*mapRun, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, usagef("--resume: %w", err)
	}
	run := &mapRun{path: path}
	if err := json.Unmarshal(text, run); err != nil || run.Run == "" {
		return nil, usagef("--resume: %s does not keep a run of parley map", path)
	}
	return run, nil
}

// place has out end where the run has written to, and the run be where out ends. What a run wrote and
// did not note before it was killed is taken back: its answers are read again.
func (r *mapRun) place(out *os.File) error {
	size, ok := sizeOf(out)
	switch {
	case !ok:
		return nil
	case r.fresh:
		r.Base, r.Offset = size, size
		return nil
	case size >= r.Offset:
	case size == 0: // the shell has emptied it
		r.Written, r.Failed, r.Sum = 0, 0, sumOf(sha256.New())
		r.Base, r.Offset, r.After = 0, 0, r.Begin
	default:
		return usagef("the output has %d bytes, and the run in %s had written %d: it is another file, or was changed", size, r.path, r.Offset)
	}
	if err := out.Truncate(r.Offset); err != nil {
		return fmt.Errorf("go on with the output: %w", err)
	}
	_, err := out.Seek(r.Offset, io.SeekStart)
	return err
}

// sizeOf gives the size of what is a file on a disk.
func sizeOf(f *os.File) (int64, bool) {
	if f == nil {
		return 0, false
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}

// save writes the run to its file, so that a crash leaves the old one or the new one.
func (r *mapRun) save() (err error) {
	if r.path == "" {
		return nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(r.path), filepath.Base(r.path)+".*")
	if err != nil {
		return fmt.Errorf("keep how far the run is: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), r.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("keep how far the run is: %w", err)
	}
	return nil
}

// id is that of a line's job. A job that must be done again has another one.
func (r *mapRun) id(number uint64, sum string, round int) string {
	if round == 0 {
		return fmt.Sprintf("%s-%d-%s", r.Run, number, sum)
	}
	return fmt.Sprintf("%s-%d-%s-%d", r.Run, number, sum, round)
}

// jobID is what an id of a run's says.
type jobID struct {
	number uint64
	sum    string
	round  int
}

// parse reads an id, if it is one of this run's.
func (r *mapRun) parse(id string) (j jobID, ok bool) {
	parts := strings.Split(id, "-")
	if len(parts) < 3 || len(parts) > 4 || parts[0] != r.Run {
		return j, false
	}
	number, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return j, false
	}
	j = jobID{number: number, sum: parts[2]}
	if len(parts) == 4 {
		if j.round, err = strconv.Atoi(parts[3]); err != nil || j.round < 1 {
			return j, false
		}
	}
	return j, true
}

// ahead says whether a line is not written, and not further ahead than those are that were sent, also
// when some were written that the saved state does not know of.
func (r *mapRun) ahead(number uint64) bool {
	return number > r.Written && number-r.Written <= uint64(r.Window)+maxUnsaved
}

// lineSum tells the lines of one number apart, should the inputs have changed.
func lineSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:4])
}

// addLine counts a line into the sum of all.
func addLine(h hash.Hash, body []byte) {
	h.Write(body)
	h.Write([]byte{'\n'})
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
