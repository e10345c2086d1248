package sock

import "golang.org/x/sys/unix"

// Cork has the kernel keep what is written from here on for the end of the stream, and send both at once:
// for the last word before Linger. It keeps nothing for longer than 200 ms.
func (c *Conn) Cork() {
	_ = c.raw.Control(func(fd uintptr) { // else two packets go out
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1)
	})
}
