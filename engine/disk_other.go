//go:build !unix

package engine

import (
	"math"
	"os"
)

// lockFile does nothing: this system has no lock that ends with the process.
func lockFile(*os.File) error { return nil }

// free is not known on this system.
func (d *disk) free() (int64, error) { return math.MaxInt64, nil }
