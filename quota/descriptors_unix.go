//go:build unix

package quota

import "golang.org/x/sys/unix"

// keptFiles is how many files the process keeps for itself: the log's, above all. Without them
// a flood of connections would stop it from storing anything.
const keptFiles = 512

// mostConnections is how many connections the process can have open, by how many files it may.
func mostConnections() int64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<31 {
		return 0
	}
	files := int64(l.Cur)
	return files - min(keptFiles, files/4)
}
