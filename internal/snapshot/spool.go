package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Spool copies one object, proven, into a nameless temporary file in dir, so that a
// reader that jumps about (Parquet) needs no trust in what it reads. Close the file.
func (c *Catalog) Spool(ctx context.Context, m *Manifest, name, dir string) (*os.File, int64, error) {
	r, err := c.Open(ctx, m, name)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.CreateTemp(dir, "rqvault-index-*.tmp")
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("create a temporary file: %w", err), r.Close())
	}
	_ = os.Remove(f.Name()) // the open file lives on without its name
	n, err := io.Copy(f, r)
	if err == nil {
		err = r.Close()
	} else {
		_ = r.Close()
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, fmt.Errorf("read %s of %s: %w", name, m.ID, err)
	}
	return f, n, nil
}
