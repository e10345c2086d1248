package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// disk is the data directory: its lock, its sync and its free space.
type disk struct {
	dir  *os.File // open for as long as the engine runs: an error of the disk is told to each open file once
	lock *os.File
	sync func() error

	// storeMustSync: there is no way to sync for many writes at once, so the store does for each.
	storeMustSync bool
}

const lockName = "parley.lock"

// openDisk makes dir where there is none and takes its lock. sync nil is the system's own.
func openDisk(path string, sync func() error) (_ *disk, err error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("engine: data directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(path, "jetstream", "$SYS", "_js_", "_meta_")); err == nil {
		return nil, fmt.Errorf("engine: %s belongs to a cluster; one node alone must not open it", path)
	}
	d := &disk{sync: sync}
	defer func() {
		if err != nil {
			_ = d.close()
		}
	}()
	if d.lock, err = os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o640); err != nil {
		return nil, fmt.Errorf("engine: data directory: %w", err)
	}
	if err := lockFile(d.lock); err != nil {
		return nil, fmt.Errorf("%w: %s", err, path)
	}
	if d.dir, err = os.Open(path); err != nil {
		return nil, fmt.Errorf("engine: data directory: %w", err)
	}
	if d.sync == nil {
		if d.sync = d.syncAll(); d.sync == nil {
			d.storeMustSync = true
			d.sync = func() error { return nil }
		}
	}
	return d, nil
}

// close gives the directory free.
func (d *disk) close() error {
	var errs []error
	for _, f := range []*os.File{d.dir, d.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
