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

// openDisk makes the data directory where there is none and takes its lock.
func openDisk(c *Config) (_ *disk, err error) {
	d := &disk{sync: c.Sync}
	if c.URL != "" {
		return d.syncedByStore(), nil
	}
	defer func() {
		if err != nil {
			_ = d.close()
		}
	}()
	if d.lock, err = lockDir(c.Dir); err != nil {
		return nil, err
	}
	if err := endRestore(c.Dir); err != nil {
		return nil, err
	}
	if err := checkOwner(c); err != nil {
		return nil, err
	}
	if d.dir, err = os.Open(c.Dir); err != nil {
		return nil, fmt.Errorf("engine: data directory: %w", err)
	}
	if c.replicated() {
		return d.syncedByStore(), nil
	}
	if d.sync == nil {
		if d.sync = d.syncAll(); d.sync == nil {
			return d.syncedByStore(), nil
		}
	}
	return d, nil
}

// lockDir makes a directory where there is none and takes its lock, which is given back by closing it.
func lockDir(path string) (*os.File, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("engine: data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("engine: data directory: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", err, path), lock.Close())
	}
	return lock, nil
}

// syncedByStore leaves each sync to the store: what it says is stored, is durable.
func (d *disk) syncedByStore() *disk {
	d.storeMustSync = true
	if d.sync == nil {
		d.sync = func() error { return nil }
	}
	return d
}

// Where JetStream keeps all, where streams, and what tells that it was part of a cluster.
const (
	storeDir   = "jetstream"
	streamsDir = "jetstream/$G/streams"
	metaDir    = "jetstream/$SYS/_js_/_meta_"
)

// checkOwner refuses a directory of a cluster to one node alone, and one of a node alone to a
// cluster: JetStream would delete, as nobody's, the streams that its peers do not know of.
func checkOwner(c *Config) error {
	_, err := os.Stat(filepath.Join(c.Dir, filepath.FromSlash(metaDir)))
	clustered := err == nil
	if c.Cluster == nil || !c.Cluster.Adopt {
		if err := keepAside(c); err != nil {
			return err
		}
	}
	if c.Cluster == nil {
		if clustered {
			return fmt.Errorf("engine: %s belongs to a cluster; one node alone must not open it", c.Dir)
		}
		return nil
	}
	if clustered {
		return nil
	}
	streams, err := os.ReadDir(filepath.Join(c.Dir, filepath.FromSlash(streamsDir)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("engine: data directory: %w", err)
	}
	switch {
	case len(streams) == 0:
		return nil
	case !c.Cluster.Adopt:
		return fmt.Errorf("engine: %s: %w", c.Dir, ErrAlone)
	}
	if err := putAside(c.Dir); err != nil {
		return fmt.Errorf("engine: adopt: %w", err)
	}
	return nil
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
