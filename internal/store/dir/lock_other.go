//go:build !unix

package dir

import (
	"errors"
	"os"
)

// tryLock does not exist on this system.
func tryLock(*os.File) (bool, error) { return false, errors.ErrUnsupported }
