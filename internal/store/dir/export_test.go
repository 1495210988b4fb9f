package dir

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// WithoutRename makes a store behave as on a file system without RENAME_NOREPLACE.
func WithoutRename(s *Store) {
	s.rename = func(*os.File, string, string) error { return syscall.EINVAL }
}

// WithLostAnswer makes publishing succeed and then report a clash, as a repeated
// request on a network file system does.
func WithLostAnswer(s *Store) {
	s.rename = func(dir *os.File, from, to string) error {
		err := os.Link(filepath.Join(dir.Name(), from), filepath.Join(dir.Name(), to))
		return errors.Join(err, syscall.EEXIST)
	}
}
