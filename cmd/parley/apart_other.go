//go:build !linux

package main

import "syscall"

// apart has nothing that all other systems share.
func apart() *syscall.SysProcAttr { return nil }
