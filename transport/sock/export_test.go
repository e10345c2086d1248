package sock

import "net"

// Asleep says that a connection has no goroutine.
func (c *Conn) Asleep() bool { return c.asleep.Load() }

// Nudged says that a connection was told to go to sleep and has not heard it.
func (c *Conn) Nudged() bool { return c.drowsy.Load() }

// Seal writes a record of TLS as TLS itself does, when it answers its client.
func (c *Conn) Seal(record []byte) error {
	_, err := c.below.Write(record)
	return err
}

// Unsent is how much TLS has to say that the socket has not taken.
func (c *Conn) Unsent() int {
	c.below.mu.Lock()
	defer c.below.mu.Unlock()
	return len(c.below.out)
}

// Measure is measure.
func Measure(data []byte) (size int, whole bool, err error) { return measure(data) }

// ParseHeader reads a whole header.
func ParseHeader(header []byte) (net.Addr, error) { return parseHeader(header) }
