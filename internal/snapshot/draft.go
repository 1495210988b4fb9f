package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// Draft is a snapshot being written: objects in any order, then Commit. Until Commit
// returned nil there is no snapshot.
type Draft struct {
	c      *Catalog
	id     ID
	nonce  string
	sealer Sealer   // nil: nothing is encrypted
	names  []string // objects begun
	sealed bool     // a commit was tried: from then on nothing may be removed
}

// Begin starts a snapshot made at that instant and makes sure that the store is an
// rqvault repository we understand, founding it if it is new.
func (c *Catalog) Begin(ctx context.Context, now time.Time, random io.Reader) (*Draft, error) {
	if err := Found(ctx, c.store, now, random); err != nil {
		return nil, err
	}
	sealer, err := c.sealer(ctx)
	if err != nil {
		return nil, err
	}
	id, err := NewID(now, random)
	if err != nil {
		return nil, err
	}
	nonce, err := randomHex(random)
	if err != nil {
		return nil, err
	}
	return &Draft{c: c, id: id, nonce: nonce, sealer: sealer}, nil
}

func randomHex(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// ID is the id the snapshot will have.
func (d *Draft) ID() ID { return d.id }

// Encrypted reports whether the snapshot will be encrypted.
func (d *Draft) Encrypted() bool { return d.sealer != nil }

// Create begins one of the snapshot's objects, encrypted if the store has keys.
func (d *Draft) Create(ctx context.Context, name string) (*ObjectWriter, error) {
	if d.sealer != nil {
		name += sealedSuffix
	}
	w, err := d.c.store.Create(ctx, d.c.key(d.id, name))
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", name, err)
	}
	d.names = append(d.names, name)
	o := &ObjectWriter{w: w, name: name, sum: sha256.New()}
	if d.sealer != nil {
		if err := o.seal(d.sealer); err != nil {
			o.Abort()
			return nil, fmt.Errorf("store %s: %w", name, err)
		}
	}
	return o, nil
}

// Abort removes what was stored of a draft that came to nothing. It does nothing once
// a commit was tried, because the outcome of a failed commit can be in doubt. What it
// cannot remove is garbage for Garbage to find.
func (d *Draft) Abort() {
	if d.sealed {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, name := range d.names {
		_ = d.c.store.Remove(ctx, d.c.key(d.id, name))
	}
}

// Commit checks that every object the manifest names is there with its size, and
// writes the manifest, create-only. This is the one moment at which the snapshot comes
// into being. The marker after it is a cache and may fail.
func (d *Draft) Commit(ctx context.Context, m *Manifest) error {
	m.Format, m.ID, m.Source, m.Nonce = FormatVersion, d.id, d.c.source, d.nonce
	if d.sealer != nil {
		m.Format, m.Encryption = encryptedVersion, &Encryption{Epoch: d.sealer.Epoch()}
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("commit %s: %w", d.id, err)
	}
	for _, o := range m.Objects {
		got, err := d.c.store.Stat(ctx, d.c.key(d.id, o.Name))
		if err != nil {
			return fmt.Errorf("commit %s: look at %s: %w", d.id, o.Name, err)
		}
		if got.Size != o.Size {
			return fmt.Errorf("commit %s: %w: %s is stored with %d of %d bytes", d.id, ErrDamaged, o.Name, got.Size, o.Size)
		}
	}
	b, err := d.manifest(m)
	if err != nil {
		return fmt.Errorf("commit %s: %w", d.id, err)
	}
	if err := d.sign(ctx, b); err != nil {
		return fmt.Errorf("commit %s: %w", d.id, err)
	}
	d.sealed = true
	if err := d.write(ctx, b); err != nil {
		return fmt.Errorf("commit %s: %w", d.id, err)
	}
	d.c.mark(ctx, d.id)
	return nil
}

// manifest returns the bytes of the manifest.
func (d *Draft) manifest(m *Manifest) ([]byte, error) {
	if d.sealer == nil {
		return Seal(m)
	}
	stored, err := m.seal(d.sealer)
	if err != nil {
		return nil, err
	}
	return Seal(stored)
}

// write stores the manifest and, where the answer is in doubt, reads back whether the
// one that stands there is ours.
func (d *Draft) write(ctx context.Context, b []byte) error {
	err := writeAll(ctx, d.c.store, d.c.key(d.id, manifestName), b)
	if err == nil || errors.Is(err, ErrDenied) || errors.Is(err, ErrNoStore) {
		return err
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if m, lookErr := d.c.Manifest(back, d.id); lookErr == nil && m.Nonce == d.nonce {
		return nil
	}
	return err
}

// repository is the document rqvault.json.
type repository struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
}

const repositoryKey = "rqvault.json"

// CheckRepository says whether the store holds a repository this version can read. A
// store without one gives ErrNotFound.
func CheckRepository(ctx context.Context, s Store) error {
	b, err := readAll(ctx, s, repositoryKey)
	if err != nil {
		return fmt.Errorf("read %s: %w", repositoryKey, err)
	}
	var r repository
	if err := Unseal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", repositoryKey, err)
	}
	if r.Format > FormatVersion {
		return fmt.Errorf("%s: %w: version %d, this rqvault reads up to %d", repositoryKey, ErrTooNew, r.Format, FormatVersion)
	}
	return nil
}

// Found makes sure that the store is a repository this version understands, and founds it
// if there is none.
func Found(ctx context.Context, s Store, now time.Time, random io.Reader) error {
	err := CheckRepository(ctx, s)
	if err == nil || !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNoStore) {
		return err
	}
	id, err := randomHex(random)
	if err != nil {
		return err
	}
	b, err := Seal(repository{Format: FormatVersion, ID: id, CreatedAt: now.UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	err = writeAll(ctx, s, repositoryKey, b)
	if errors.Is(err, ErrExists) { // another writer founded it in the same moment
		return CheckRepository(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", repositoryKey, err)
	}
	return nil
}
