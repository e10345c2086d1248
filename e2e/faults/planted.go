package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// plant is a bug that the campaign must catch: a place in the sources and what to put there. It is
// built into a binary of its own over a copy; the product never has it.
type plant struct {
	name   string
	file   string // of the module
	old    string // stands in the file once
	new    string
	faults string // under which it shows
}

var plants = []plant{
	{
		name: "ack-before-sync", faults: "power-cut-all",
		file: "engine/cluster.go",
		old:  "o.SyncAlways = true", new: "o.SyncAlways = false",
	},
	{
		name: "ack-before-store", faults: "kill-9,pause",
		file: "engine/attempt.go",
		old:  "a := b.hear(q.acks, q.vote, n, min(attemptFor, max(time.Until(batch[0].due), 0)))",
		new: "if true {\nreturn ackedBatch{verdict: stored, seq: b.engine.mark.at(q.part) + uint64(len(batch))}\n}\n" +
			"a := b.hear(q.acks, q.vote, n, min(attemptFor, max(time.Until(batch[0].due), 0)))",
	},
	{
		name: "ack-by-a-minority", faults: "isolated,pause", // no answer is taken for a good one
		file: "engine/attempt.go",
		old:  "if a.verdict == lost || a.verdict == absent {",
		new: "if a.err == errTimeout {\nreturn ackedBatch{verdict: stored, seq: b.engine.mark.at(q.part) + uint64(len(batch))}\n}\n" +
			"if a.verdict == lost || a.verdict == absent {",
	},
	{
		name: "no-dedupe", faults: "kill-9,pause",
		file: "engine/attempt.go",
		old:  `if one.msgID != "" {`, new: `if one.msgID == "never" {`,
	},
	{
		name: "ids-forgotten-early", faults: "kill-9,pause",
		file: "engine/streams.go",
		old:  "c.Dedupe,", new: "min(c.Dedupe, 100*time.Millisecond),",
	},
	{
		name: "unknown-told-as-refused", faults: "kill-9,pause",
		file: "engine/batch.go",
		old:  "case lost:\n\t\t\tunsure = true", new: "case lost:\nb.fail(batch, errNot.Because(ack.err))\nreturn",
	},
	{
		name: "acks-of-a-batch-off-by-one", faults: "kill-9",
		file: "engine/batch.go",
		old:  "first := ack.seq - uint64(len(batch)) + 1", new: "first := max(ack.seq - uint64(len(batch)), 1)",
	},
	{
		name: "halves-of-a-batch-swapped", faults: "kill-9,pause",
		file: "engine/batch.go",
		old:  "b.settle(q, batch[:half], unsure)\n\t\tb.settle(q, batch[half:], unsure)",
		new:  "b.settle(q, batch[half:], unsure)\n\t\tb.settle(q, batch[:half], unsure)",
	},
	{
		name: "resume-off-by-one", faults: "kill-9",
		file: "session/rooms.go",
		old:  "return s.enterAs(ctx, op, j, 0)\n}",
		new:  "if j.Start.After != nil && *j.Start.After > 0 {\nlater := *j.Start.After + 1\nj.Start.After = &later\n}\nreturn s.enterAs(ctx, op, j, 0)\n}",
	},
	{
		name: "stream-resumes-live", faults: "kill-9",
		file: "transport/sse/request.go",
		old:  "if start, ok := after.of(op.Room); ok {",
		new:  "if start, ok := after.of(op.Room); ok && (start.After == nil || *start.After == 0) {",
	},
	{
		name: "wrong-prev", faults: "kill-9",
		file: "engine/release.go",
		old:  "m.Prev = headerNumber(c.msg.Header, hdrPrev)",
		new:  "m.Prev = headerNumber(c.msg.Header, hdrPrev)\nif m.Seq%64 == 0 {\nm.Prev = 0\n}",
	},
	{
		name: "holes-in-the-tail-stay", faults: "kill-9,isolated",
		file: "engine/follow.go",
		old:  "if rest := f.pass(batch); len(rest) > 0 {",
		new:  "for i := range batch {\nbatch[i].Prev = min(batch[i].Prev, f.seen.Load())\n}\nif rest := f.pass(batch); len(rest) > 0 {",
	},
	{
		name: "reads-without-a-fence", faults: "pause,isolated,loss",
		file: "engine/fence.go",
		old:  "if e.batches == nil || seq == 0 {", new: "if e.batches != nil || seq == 0 {",
	},
	{
		name: "leaves-not-told", faults: "pause",
		file: "peers/note.go",
		old:  "of.rooms.take(r.Room, name)", new: "_ = name",
	},
}

// sow builds the program with a bug, over the sources of the module at root.
func sow(p plant, root, work string) (program string, err error) {
	path := filepath.Join(root, filepath.FromSlash(p.file))
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), p.old); n != 1 {
		return "", fmt.Errorf("%s holds %d times %q, which was to be replaced", p.file, n, p.old)
	}
	spoilt := filepath.Join(work, "spoilt.go")
	if err := os.WriteFile(spoilt, []byte(strings.Replace(string(text), p.old, p.new, 1)), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: spoilt}})
	if err != nil {
		return "", err
	}
	list := filepath.Join(work, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	program = filepath.Join(work, "parley-"+p.name)
	cmd := exec.Command("go", "build", "-overlay", list, "-o", program, "parley/cmd/parley")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build with %s: %w\n%s", p.name, err, out)
	}
	return program, nil
}

// planted finds a bug by its name.
func planted(name string) (plant, error) {
	i := slices.IndexFunc(plants, func(p plant) bool { return p.name == name })
	if i < 0 {
		return plant{}, fmt.Errorf("there is no planted bug %q", name)
	}
	return plants[i], nil
}
