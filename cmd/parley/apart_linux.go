package main

import "syscall"

// apart keeps Ctrl-C from a child, which is told to end in order, and ends it where this process does
// without having told it.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
