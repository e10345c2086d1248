//go:build !linux

package sock

// Cork does nothing where the kernel has no such thing.
func (c *Conn) Cork() {}
