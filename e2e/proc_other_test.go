//go:build !linux

package e2e_test

import (
	"syscall"
	"testing"
)

func diesWithParent() *syscall.SysProcAttr { return nil }

const noProc = "what a process holds is read from /proc"

func (p *process) memory(t testing.TB) (now, peak int64) { t.Skip(noProc); return 0, 0 }

func (p *process) resetPeak(t testing.TB) { t.Skip(noProc) }

func (p *process) descriptors(t testing.TB) int { t.Skip(noProc); return 0 }

func (p *process) listeners(t testing.TB) []string { t.Skip(noProc); return nil }
