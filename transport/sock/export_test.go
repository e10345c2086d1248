package sock

// Asleep says that a connection has no goroutine.
func (c *Conn) Asleep() bool { return c.asleep.Load() }

// Nudged says that a connection was told to go to sleep and has not heard it.
func (c *Conn) Nudged() bool { return c.drowsy.Load() }
