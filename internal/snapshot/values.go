package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"rqvault/internal/seekable"
)

// Values reads single values out of a stored dump by their place in it, fetching only
// the frames they lie in. It is used by one goroutine.
type Values struct {
	c      *Catalog
	m      *Manifest
	object *ranged
	table  *seekable.Table
	dec    *seekable.Decoder
	cached int    // frame held in raw, -1 for none
	raw    []byte // the frame, unpacked
	local  *os.File
	whole  []byte // the dump, where it is small
}

// Values opens a snapshot's dump for reading values: a few small reads.
func (c *Catalog) Values(ctx context.Context, m *Manifest) (*Values, error) {
	o, err := c.ranged(ctx, m, DumpName)
	if err != nil {
		return nil, err
	}
	table, err := seekable.ReadTable(func(offset, length int64) ([]byte, error) {
		return o.read(ctx, Range{offset, length})
	}, o.size())
	if err != nil {
		return nil, damaged(err, "%s of %s", DumpName, m.ID)
	}
	if table.RawSize() != m.Dump.Size {
		return nil, fmt.Errorf("%w: %s of %s unpacks to %d bytes, the manifest says %d", ErrDamaged, DumpName, m.ID, table.RawSize(), m.Dump.Size)
	}
	dec, err := seekable.NewDecoder()
	if err != nil {
		return nil, err
	}
	return &Values{c: c, m: m, object: o, table: table, dec: dec, cached: -1}, nil
}

// damaged adds our sentinel to a decoder's error where it is about the bytes.
func damaged(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if errors.Is(err, seekable.ErrDamaged) {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Read returns length bytes of the dump from offset. The slice is valid until the next
// Read.
func (v *Values) Read(ctx context.Context, offset, length int64) ([]byte, error) {
	if offset < 0 || length < 0 || length > v.table.RawSize()-offset {
		return nil, fmt.Errorf("%w: value at %d+%d lies outside the dump of %d bytes", ErrDamaged, offset, length, v.table.RawSize())
	}
	if length == 0 {
		return nil, nil
	}
	if v.whole != nil {
		return v.whole[offset : offset+length], nil
	}
	if v.local != nil {
		b := v.raw[:0]
		if b = slices.Grow(b, int(length))[:length]; length <= keptRead {
			v.raw = b
		}
		if _, err := v.local.ReadAt(b, offset); err != nil {
			return nil, fmt.Errorf("reread the unpacked dump: %w", err)
		}
		return b, nil
	}
	i, err := v.table.Find(offset)
	if err != nil {
		return nil, err
	}
	var whole []byte
	for {
		if err := v.load(ctx, i); err != nil {
			return nil, err
		}
		part := v.raw[offset-v.table.RawOffset(i):]
		if whole == nil && int64(len(part)) >= length {
			return part[:length], nil
		}
		part = part[:min(int64(len(part)), length)]
		whole = append(whole, part...)
		offset, length = offset+int64(len(part)), length-int64(len(part))
		if length == 0 {
			return whole, nil
		}
		i++
	}
}

func (v *Values) load(ctx context.Context, i int) error {
	if v.cached == i {
		return nil
	}
	off, n := v.table.StoredRange(i)
	b, err := v.object.read(ctx, Range{off, n})
	if err != nil {
		return err
	}
	v.cached = -1
	raw, err := v.dec.Frame(v.raw, b, v.table.Frames[i].Raw)
	if err != nil {
		return damaged(err, "%s of %s, frame %d at stored byte %d", DumpName, v.m.ID, i, off)
	}
	v.raw, v.cached = raw, i
	return nil
}

// keptRead is up to which size the room for a value is used again.
const keptRead = 1 << 20

// Unpack copies the whole dump, unpacked, into memory or, if it has more than so many
// bytes, into a nameless temporary file in dir, so that many values in any order cost one
// download. It needs the dump's size in room, and checks the object's SHA-256 on the way.
func (v *Values) Unpack(ctx context.Context, dir string, inMemory int64) error {
	if v.local != nil || v.whole != nil {
		return nil
	}
	if v.m.Dump.Size <= inMemory {
		return v.unpackHere(ctx)
	}
	f, err := os.CreateTemp(dir, "rqvault-dump-*.tmp")
	if err != nil {
		return fmt.Errorf("create a temporary file: %w", err)
	}
	_ = os.Remove(f.Name()) // the open file lives on without its name
	r, _, err := v.c.OpenDump(ctx, v.m)
	if err == nil {
		_, err = Copy(f, r)
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("unpack the dump of %s into %s: %w", v.m.ID, os.TempDir(), err)
	}
	v.local, v.raw, v.cached = f, nil, -1
	return nil
}

func (v *Values) unpackHere(ctx context.Context) error {
	r, _, err := v.c.OpenDump(ctx, v.m)
	if err != nil {
		return err
	}
	whole := make([]byte, v.m.Dump.Size)
	if _, err = io.ReadFull(r, whole); err == nil {
		_, err = io.Copy(io.Discard, r) // what the end proves
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("unpack the dump of %s: %w", v.m.ID, err)
	}
	v.whole, v.raw, v.cached = whole, nil, -1
	return nil
}

// Close frees what Unpack took.
func (v *Values) Close() error {
	if v.local == nil {
		return nil
	}
	return v.local.Close()
}

// OpenDump reads a snapshot's dump from its first byte, unpacked. The reader yields
// io.EOF only if every frame, the seek table, the size and the SHA-256 were right.
func (c *Catalog) OpenDump(ctx context.Context, m *Manifest) (io.ReadCloser, *seekable.Table, error) {
	v, err := c.Values(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	body, err := c.Open(ctx, m, DumpName)
	if err != nil {
		return nil, nil, err
	}
	r, err := seekable.NewReader(body, v.table)
	if err != nil {
		return nil, nil, errors.Join(err, body.Close())
	}
	return &dumpReader{r: r, body: body, what: DumpName + " of " + string(m.ID)}, v.table, nil
}

type dumpReader struct {
	r    io.Reader
	body io.ReadCloser
	what string
	err  error
}

func (d *dumpReader) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.r.Read(p)
	if err == io.EOF {
		// The seek table follows the last frame; its bytes count for the digest.
		if _, tail := io.Copy(io.Discard, d.body); tail != nil {
			err = tail
		}
	} else if err != nil {
		err = damaged(err, "%s", d.what)
	}
	d.err = err
	return n, err
}

func (d *dumpReader) Close() error { return d.body.Close() }
