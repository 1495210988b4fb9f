//go:build !linux

package dir

import (
	"errors"
	"os"
)

// renameFunc renames a file within one directory and fails with EEXIST if the new
// name is taken, whatever happens at the same time.
type renameFunc func(dir *os.File, from, to string) error

// renameNoReplace does not exist on this system: the writer links instead.
func renameNoReplace(*os.File, string, string) error { return errors.ErrUnsupported }
