package engine_test

import (
	"path/filepath"
	"testing"

	"parley/engine"
)

func TestAPowerCutLosesNothingAcked(t *testing.T) {
	disk := newLoopDisk(t)
	dir := filepath.Join(disk.dir, "data")
	var acks []ack
	for range 2 {
		acks = append(acks, child(t, dir, 1500, disk.powerCut)...)
		disk.restart()
	}
	e := open(t, engine.Config{Dir: dir, MinFree: -1})
	checkAcked(t, e, acks)
	closeEngine(t, e)
}
