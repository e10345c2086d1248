package engine

import "golang.org/x/sys/unix"

// syncAll gives the call that writes the whole file system to the disk. Since Linux 5.8 it reports
// every error of the writes it waits for, and those since it was last called.
func (d *disk) syncAll() func() error {
	fd := int(d.dir.Fd())
	return func() error {
		for {
			if err := unix.Syncfs(fd); err != unix.EINTR {
				return err
			}
		}
	}
}
