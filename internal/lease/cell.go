package lease

import (
	"context"
	"errors"
	"fmt"
	"regexp"
)

// Cell is one small value in a store that changes only by compare-and-swap. All methods
// may be called concurrently, from several processes and hosts.
type Cell interface {
	// Load returns the value and its tag; "" and no error if there is none. No two values
	// that the cell ever held have the same tag, as long as no value is written twice.
	Load(ctx context.Context) (value []byte, tag string, err error)
	// Swap replaces the value if its tag is still that one; tag "" demands that there is
	// none yet. It returns the new value's tag. ErrMoved says that the cell holds another
	// value, and that this call cannot change it any more; any other error leaves open
	// what was done, or will be.
	Swap(ctx context.Context, tag string, value []byte) (newTag string, err error)
}

// MaxValue is how many bytes a cell's value may have.
const MaxValue = 64 << 10

// ErrMoved: the cell holds another value than the caller believed.
var ErrMoved = errors.New("somebody else has written it meanwhile")

// ErrUnconditional: the store writes whatever the condition says, so that two could lead.
var ErrUnconditional = errors.New("this store ignores the condition of a writing: two could lead at once")

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Key returns where in a store the lease of that name is kept.
func Key(name string) (string, error) {
	if !nameForm.MatchString(name) {
		return "", fmt.Errorf("lease %q: use up to 63 of a-z, 0-9, '_', '-', beginning with a letter or digit", name)
	}
	return "leases/" + name + ".json", nil
}
