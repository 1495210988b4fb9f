package dir

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameFunc renames a file within one directory and fails with EEXIST if the new
// name is taken, whatever happens at the same time.
type renameFunc func(dir *os.File, from, to string) error

// renameNoReplace asks the kernel for exactly that. File systems without it answer
// EINVAL, kernels before 3.15 ENOSYS.
func renameNoReplace(dir *os.File, from, to string) error {
	fd := int(dir.Fd())
	for {
		err := unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE)
		if err != unix.EINTR {
			return err
		}
	}
}
