// Package idle ends connections on which nothing moves.
package idle

import (
	"errors"
	"net"
	"os"
	"time"
)

// Conn gives each single read and write its own deadline. A deadline over a
// whole pipeline would cut large replies on slow lines; this one only ends
// connections on which nothing moves.
type Conn struct {
	net.Conn
	Limit time.Duration
}

// secondLook is how long a read goes on after its deadline. If it was this machine
// that stood still (a paused virtual machine, a suspended laptop), the deadline is
// over by the time it wakes, though the server's bytes are there.
const secondLook = 50 * time.Millisecond

func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.readFor(b, c.Limit)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		n, err = c.readFor(b, secondLook)
	}
	return n, err
}

func (c *Conn) readFor(b []byte, d time.Duration) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *Conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.Limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
