package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
)

var objectForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,62}$`)

// checkedReader yields an object's bytes and io.EOF only after size and SHA-256 were
// found right, so that nobody can use an end that was not proven.
type checkedReader struct {
	r    io.ReadCloser
	want Stored
	what string
	sum  hash.Hash
	n    int64
	err  error
}

func newCheckedReader(r io.ReadCloser, want Stored, what string) *checkedReader {
	return &checkedReader{r: r, want: want, what: what, sum: sha256.New()}
}

func (c *checkedReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	_, _ = c.sum.Write(p[:n])
	if c.n > c.want.Size {
		err = fmt.Errorf("%w: %s is longer than the %d bytes of the manifest", ErrDamaged, c.what, c.want.Size)
	} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = c.end()
	}
	c.err = err
	return n, err
}

func (c *checkedReader) end() error {
	if c.n != c.want.Size {
		return fmt.Errorf("%w: %s ends after %d of %d bytes", ErrDamaged, c.what, c.n, c.want.Size)
	}
	if got := hex.EncodeToString(c.sum.Sum(nil)); got != c.want.SHA256 {
		return fmt.Errorf("%w: %s has another SHA-256 than the manifest says", ErrDamaged, c.what)
	}
	return io.EOF
}

// Close closes the stored object. It fails if the end was never reached, because then
// nothing was proven.
func (c *checkedReader) Close() error {
	err := c.r.Close()
	if c.err == nil {
		return errors.Join(fmt.Errorf("%s was not read to its end", c.what), err)
	}
	return err
}

// ObjectWriter writes one object of a draft, encrypts it if it is to be, and digests what
// is stored on the way.
type ObjectWriter struct {
	w       Writer
	name    string
	sum     hash.Hash
	n       int64
	content io.WriteCloser // encrypts; nil if nothing is
	head    Encrypted
}

// seal encrypts whatever is written from now on.
func (o *ObjectWriter) seal(s Sealer) (err error) {
	if o.content, err = s.Seal(stored{o}); err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	o.head = Encrypted{Head: o.n, HeadSHA256: hex.EncodeToString(o.sum.Sum(nil))}
	return nil
}

// Write implements io.Writer.
func (o *ObjectWriter) Write(p []byte) (int, error) {
	if o.content == nil {
		return stored{o}.Write(p)
	}
	n, err := o.content.Write(p)
	o.head.Plain += int64(n)
	return n, err
}

// stored takes an object's bytes as they are stored.
type stored struct{ o *ObjectWriter }

func (s stored) Write(p []byte) (int, error) {
	o := s.o
	n, err := o.w.Write(p)
	o.n += int64(n)
	_, _ = o.sum.Write(p[:n])
	return n, err
}

// Commit makes the object durable and returns its manifest entry.
func (o *ObjectWriter) Commit(ctx context.Context) (Stored, error) {
	if o.content != nil {
		if err := o.content.Close(); err != nil {
			return Stored{}, fmt.Errorf("store %s: %w", o.name, err)
		}
	}
	if err := o.w.Commit(ctx); err != nil {
		return Stored{}, fmt.Errorf("store %s: %w", o.name, err)
	}
	entry := Stored{Name: o.name, Size: o.n, SHA256: hex.EncodeToString(o.sum.Sum(nil))}
	if o.content != nil {
		entry.Encrypted = &o.head
	}
	return entry, nil
}

// Abort gives the object up.
func (o *ObjectWriter) Abort() { o.w.Abort() }

// readAll reads a small document whole.
func readAll(ctx context.Context, s Store, key string) ([]byte, error) {
	r, err := s.Open(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	err = errors.Join(err, r.Close())
	if err == nil && len(b) > maxDocument {
		err = fmt.Errorf("%w: %s is larger than %d bytes", ErrDamaged, key, maxDocument)
	}
	return b, err
}

// writeAll stores a small document, create-only.
func writeAll(ctx context.Context, s Store, key string, b []byte) error {
	w, err := s.Create(ctx, key)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(b); err != nil {
		return err
	}
	return w.Commit(ctx)
}
