package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Errors of encrypted snapshots. Test with errors.Is.
var (
	// ErrNoIdentity: it is encrypted, and nothing was given to open it with.
	ErrNoIdentity = errors.New("it is encrypted, and no identity was given")
	// ErrWrongKey: it is encrypted, and nothing that was given opens it.
	ErrWrongKey = errors.New("it is encrypted, and no identity that was given opens it")
	// ErrPlain: a snapshot would be stored unencrypted, or encrypted for others than the
	// ones it was meant for.
	ErrPlain = errors.New("refused to store a snapshot that others could read")
)

// Keys are the keys of a store, in the hands of whoever knows the encryption.
type Keys interface {
	// Sealer encrypts new snapshots. It is nil if the store has no keys.
	Sealer(ctx context.Context) (Sealer, error)
	// Opener decrypts what was encrypted in an epoch: ErrNoIdentity or ErrWrongKey if it
	// cannot.
	Opener(ctx context.Context, epoch int) (Opener, error)
}

// Sealer encrypts objects. It needs no secret.
type Sealer interface {
	// Epoch is the number under which the key is kept.
	Epoch() int
	// Seal writes to w what is encrypted. It writes everything that comes before the first
	// byte of content at once, and Close the rest; Close does not close w.
	Seal(w io.Writer) (io.WriteCloser, error)
}

// Opener decrypts objects. Its errors of bytes that are not what was written are ErrDamaged.
type Opener interface {
	// Open decrypts a stream. Only io.EOF proves that nothing was cut off.
	Open(r io.Reader) (io.Reader, error)
	// Ranges decrypts parts of an object of size bytes, of which plain are content. fetch
	// returns stored bytes.
	Ranges(ctx context.Context, size int64, e Encrypted, fetch Fetch) (Ranges, error)
}

// Fetch reads stored bytes.
type Fetch func(ctx context.Context, r Range) ([]byte, error)

// Ranges reads parts of an object's content, with one fetch each. It is used by one
// goroutine.
type Ranges interface {
	Read(ctx context.Context, r Range) ([]byte, error)
}

// Encrypted is what the manifest says of an object that is encrypted. Size and SHA256
// beside it are those of the stored bytes.
type Encrypted struct {
	Plain int64 `json:"plain"` // bytes of the content
	// Head is how many bytes come before the first encrypted one, and HeadSHA256 their digest:
	// nobody who cannot read the object can make another with the same head.
	Head       int64  `json:"head"`
	HeadSHA256 string `json:"head_sha256"`
}

// Encryption says how a snapshot is encrypted.
type Encryption struct {
	Epoch int `json:"epoch"`
	// Details is the encrypted part of the manifest, absent once it was read.
	Details []byte `json:"details,omitempty"`
}

const (
	// KeysPrefix is where a store keeps its keys.
	KeysPrefix = "keys/"
	// maxHead bounds what comes before an object's encrypted content.
	maxHead      = 64 << 10
	sealedSuffix = ".age"
)

// WithKeys returns the catalog with the keys of its store: new snapshots are encrypted if
// there are keys, and encrypted ones are opened.
func (c *Catalog) WithKeys(k Keys) *Catalog {
	with := *c
	with.keys = k
	return &with
}

// sealer returns who encrypts a new snapshot; nil if the store has no keys.
func (c *Catalog) sealer(ctx context.Context) (Sealer, error) {
	if c.keys != nil {
		return c.keys.Sealer(ctx)
	}
	for o, err := range c.store.List(ctx, KeysPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("look for the store's keys: %w", err)
		}
		return nil, fmt.Errorf("%w: the store has keys (%s), and nobody here uses them", ErrPlain, o.Key)
	}
	return nil, nil
}

// opener returns who decrypts a snapshot; nil if it is not encrypted.
func (c *Catalog) opener(ctx context.Context, m *Manifest) (Opener, error) {
	switch {
	case m.Encryption == nil:
		return nil, nil
	case c.keys == nil:
		return nil, fmt.Errorf("%s: %w", m.ID, ErrNoIdentity)
	}
	o, err := c.keys.Opener(ctx, m.Encryption.Epoch)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.ID, err)
	}
	return o, nil
}

// decrypted reads an object's content. Like the reader below it, it yields io.EOF only
// after the stored bytes were found right to their last.
type decrypted struct {
	stored io.ReadCloser
	source watched
	r      io.Reader
	want   int64
	what   string
	n      int64
	err    error
}

// watched remembers why a reader failed, whatever is made of that above it.
type watched struct {
	r   io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

func newDecrypted(stored io.ReadCloser, o Opener, want int64, what string) (*decrypted, error) {
	d := &decrypted{stored: stored, want: want, what: what}
	d.source.r = stored
	r, err := o.Open(&d.source)
	if err != nil {
		err = d.cause(err)
		_ = stored.Close()
		return nil, err
	}
	d.r = r
	return d, nil
}

// cause prefers what the stored bytes failed with to what the decryption made of it.
func (d *decrypted) cause(err error) error {
	if d.source.err != nil {
		return d.source.err
	}
	return fmt.Errorf("%s, after %d bytes of its content: %w", d.what, d.n, err)
}

func (d *decrypted) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.r.Read(p)
	d.n += int64(n)
	switch {
	case err == io.EOF:
		if _, end := io.Copy(io.Discard, d.stored); end != nil {
			err = end
		} else if d.n != d.want {
			err = fmt.Errorf("%w: %s has %d bytes of content, the manifest says %d", ErrDamaged, d.what, d.n, d.want)
		}
	case err != nil:
		err = d.cause(err)
	}
	d.err = err
	return n, err
}

// Close closes the stored object. It fails if its end was never reached.
func (d *decrypted) Close() error { return d.stored.Close() }

// plainName is an object's name without the mark of its encryption.
func plainName(name string) string { return strings.TrimSuffix(name, sealedSuffix) }
