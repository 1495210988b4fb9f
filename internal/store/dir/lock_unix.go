//go:build unix

package dir

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes the lock on an open directory, and reports whether it is ours now. It goes
// when the directory is closed, or its process dies.
func tryLock(dir *os.File) (held bool, err error) {
	for {
		switch err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return true, nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return false, nil
		default:
			return false, fmt.Errorf("this file system has no locks: %w", err)
		}
	}
}
