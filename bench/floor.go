package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// WriteServer is the floor under every fan-out: a bare loop of write calls on each core. A connection whose
// first line is "receive" is a receiver; one whose first line is "send" is a sender, and each
// chunk of bytes it sends is written to all receivers, one write each.
type WriteServer struct {
	Port  int // on loopback; 0 = any free one
	Chunk int // bytes of one write; what is left when a sender finishes is written too

	mu        sync.Mutex
	receivers []syscall.RawConn
	conns     map[net.Conn]bool
}

// Serve runs the loop until ctx ends. Its start line goes to ready.
func (w *WriteServer) Serve(ctx context.Context, ready io.Writer) error {
	if w.Chunk < 1 {
		return fmt.Errorf("a chunk of %d bytes", w.Chunk)
	}
	w.conns = make(map[net.Conn]bool)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", w.Port))
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		for c := range w.conns {
			_ = c.Close()
		}
	})
	defer stop()
	if _, err := fmt.Fprintf(ready, "tcp  %s\n", l.Addr()); err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() { w.serve(ctx, c) })
	}
}

func (w *WriteServer) serve(ctx context.Context, c net.Conn) {
	if !w.keep(ctx, c) {
		_ = c.Close()
		return
	}
	in := bufio.NewReaderSize(c, 64<<10)
	role, err := in.ReadString('\n')
	if err != nil {
		return
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	receives := strings.TrimSpace(role) == "receive"
	if receives {
		w.mu.Lock()
		w.receivers = append(w.receivers, raw)
		w.mu.Unlock()
	}
	if _, err := fmt.Fprintf(c, "ok\n"); err != nil || receives {
		return
	}
	chunk := make([]byte, w.Chunk)
	for {
		n, err := io.ReadFull(in, chunk)
		if n > 0 && w.writeAll(chunk[:n]) != nil || err != nil {
			return
		}
	}
}

// keep notes a connection for the end; false when the end has come already. A receiver's stays
// open until then.
func (w *WriteServer) keep(ctx context.Context, c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = true
	return ctx.Err() == nil
}

// writeAll writes p to every receiver, each core to a share of them.
func (w *WriteServer) writeAll(p []byte) error {
	w.mu.Lock()
	receivers := w.receivers
	w.mu.Unlock()
	var g errgroup.Group
	share := len(receivers)/runtime.GOMAXPROCS(0) + 1
	for part := range slices.Chunk(receivers, share) {
		g.Go(func() error {
			for _, r := range part {
				if err := writeRaw(r, p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// writeRaw waits for a socket that takes no more: the floor is as slow as its slowest receiver.
func writeRaw(r syscall.RawConn, p []byte) error {
	var failed error
	err := r.Write(func(fd uintptr) bool {
		n, err := syscall.Write(int(fd), p)
		p = p[max(n, 0):]
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			failed = os.NewSyscallError("write", err)
		}
		return len(p) == 0 || failed != nil
	})
	return errors.Join(err, failed)
}

// floorDialect speaks to a WriteServer: a message is its body and a line end, both ways.
func floorDialect() dialect {
	role := func(c net.Conn, role string) error {
		if _, err := fmt.Fprintf(c, "%s\n", role); err != nil {
			return err
		}
		_, err := await(c, "ok\n")
		return err
	}
	return dialect{
		lines: 1, finish: true, stamp: digitsFirst,
		receive: func(c net.Conn, _ string) error { return role(c, "receive") },
		sender:  func(c net.Conn, _ int) error { return role(c, "send") },
		frame: func(_ int, room string, body []byte) template {
			return makeTemplate(string(body)+"\n", room, "", "")
		},
	}
}
