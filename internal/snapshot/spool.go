package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"rqvault/internal/seekable"
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
	n, err := Copy(f, r)
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

// SpoolDump is OpenDump from a proven copy in dir: the first byte is handed out only after
// the stored object was read to its end and found right. It takes the stored size in disk
// room.
func (c *Catalog) SpoolDump(ctx context.Context, m *Manifest, dir string) (io.ReadCloser, error) {
	v, err := c.Values(ctx, m)
	if err != nil {
		return nil, err
	}
	f, n, err := c.Spool(ctx, m, DumpName, dir)
	if err != nil {
		return nil, err
	}
	r, err := seekable.NewReader(io.NewSectionReader(f, 0, n), v.table)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &dumpReader{r: r, body: f, what: DumpName + " of " + string(m.ID)}, nil
}
