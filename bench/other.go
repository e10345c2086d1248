//go:build !linux

package bench

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

var errLinux = errors.New("bench needs Linux: it reads sockets with epoll and figures from /proc")

type poller struct{}

func newPoller(int) (*poller, error)               { return nil, errLinux }
func (*poller) add(net.Conn, taker) (*sock, error) { return nil, errLinux }
func (*poller) run(context.Context) error          { return errLinux }
func (*poller) close()                             {}

type sock struct{ lane int }

func (*sock) write(context.Context, []byte) error { return errLinux }
func (*sock) finish() error                       { return errLinux }

func cpuTime(int) (time.Duration, error) { return 0, errLinux }
func residentBytes(int) (int64, error)   { return 0, errLinux }
func child() *syscall.SysProcAttr        { return nil }
func stepBack() error                    { return errLinux }
