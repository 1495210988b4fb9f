package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Range is a run of bytes.
type Range struct{ Offset, Length int64 }

// ReadRange reads part of one object's content. What it returns is not digested; use it
// only where the bytes carry their own checksum, as zstd frames and Parquet pages do, or
// where they are encrypted.
func (c *Catalog) ReadRange(ctx context.Context, m *Manifest, name string, r Range) ([]byte, error) {
	o, err := c.ranged(ctx, m, name)
	if err != nil {
		return nil, err
	}
	return o.read(ctx, r)
}

// Parts reads parts of one object's content, each with one fetch. What it returns of an
// object that is not encrypted is not proven. It is used by one goroutine.
type Parts struct{ object *ranged }

// Parts opens an object for reading parts of it.
func (c *Catalog) Parts(ctx context.Context, m *Manifest, name string) (*Parts, error) {
	o, err := c.ranged(ctx, m, name)
	if err != nil {
		return nil, err
	}
	return &Parts{o}, nil
}

// Size is that of the content, in bytes.
func (p *Parts) Size() int64 { return p.object.size() }

// Read returns part of the content.
func (p *Parts) Read(ctx context.Context, r Range) ([]byte, error) { return p.object.read(ctx, r) }

// ranged reads parts of one object.
type ranged struct {
	c       *Catalog
	id      ID
	stored  Stored
	content Ranges // nil if the object is not encrypted
}

// ranged opens an object for reading parts of it. It reads nothing unless it is encrypted.
func (c *Catalog) ranged(ctx context.Context, m *Manifest, name string) (*ranged, error) {
	o, err := m.Object(name)
	if err != nil {
		return nil, err
	}
	r := &ranged{c: c, id: m.ID, stored: o}
	opener, err := c.opener(ctx, m)
	if err != nil || opener == nil {
		return r, err
	}
	if r.content, err = opener.Ranges(ctx, o.Size, *o.Encrypted, r.fetch); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", o.Name, m.ID, err)
	}
	return r, nil
}

// size is that of the content.
func (r *ranged) size() int64 {
	if r.content == nil {
		return r.stored.Size
	}
	return r.stored.Encrypted.Plain
}

// read returns part of the content.
func (r *ranged) read(ctx context.Context, at Range) ([]byte, error) {
	if at.Offset < 0 || at.Length < 0 || at.Offset > r.size() || at.Length > r.size()-at.Offset {
		return nil, fmt.Errorf("%w: bytes %d+%d of %s lie outside its %d", ErrDamaged, at.Offset, at.Length, r.stored.Name, r.size())
	}
	if r.content == nil {
		return r.fetch(ctx, at)
	}
	b, err := r.content.Read(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", r.stored.Name, r.id, err)
	}
	return b, nil
}

// fetch reads stored bytes.
func (r *ranged) fetch(ctx context.Context, at Range) ([]byte, error) {
	name, id := r.stored.Name, r.id
	var b []byte
	body, err := r.c.store.Open(ctx, r.c.key(id, name), at.Offset, at.Length)
	if err == nil {
		b = make([]byte, at.Length)
		_, err = io.ReadFull(body, b)
		err = errors.Join(err, body.Close())
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, fmt.Errorf("%w: %s of %s is gone", ErrDamaged, name, id)
	case errors.Is(err, io.ErrUnexpectedEOF): // by the Store's contract: the object is shorter
		return nil, fmt.Errorf("%w: %s of %s is shorter than the manifest says: %w", ErrDamaged, name, id, err)
	case err != nil:
		return nil, fmt.Errorf("read %s of %s: %w", name, id, err)
	}
	return b, nil
}
