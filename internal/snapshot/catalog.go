package snapshot

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Errors of finding a snapshot.
var (
	// ErrNoSnapshot: nothing committed answers to that name.
	ErrNoSnapshot = errors.New("no such snapshot")
	// ErrAmbiguous: a prefix fits several snapshots.
	ErrAmbiguous = errors.New("several snapshots begin like that")
)

// Catalog finds, reads and commits the snapshots of one source in one store.
type Catalog struct {
	store   Store
	source  string
	keys    Keys                // nil: nothing is encrypted, and nothing encrypted is read
	signer  ed25519.PrivateKey  // nil: manifests are not signed
	trusted []ed25519.PublicKey // none: unsigned manifests are read
}

// NewCatalog returns the catalog of a source; its name must be valid.
func NewCatalog(store Store, source string) (*Catalog, error) {
	if err := ValidSource(source); err != nil {
		return nil, err
	}
	return &Catalog{store: store, source: source}, nil
}

// Source is the catalog's source name.
func (c *Catalog) Source() string { return c.source }

// Store is where the catalog looks.
func (c *Catalog) Store() Store { return c.store }

func (c *Catalog) key(id ID, name string) string {
	return c.source + "/snapshots/" + string(id) + "/" + name
}
func (c *Catalog) marker(id ID) string { return c.source + "/manifests/" + string(id) }

// IDs lists the committed snapshots, oldest first. It costs one listing of the markers
// and one of what is newer than the last marker, because a crash between manifest and
// marker leaves a snapshot without one.
func (c *Catalog) IDs(ctx context.Context) ([]ID, error) {
	marked, late, err := c.list(ctx)
	return append(marked, late...), err
}

// list returns the snapshots with a marker, and those newer than the last marker.
func (c *Catalog) list(ctx context.Context) (marked, late []ID, err error) {
	prefix := c.source + "/manifests/"
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, nil, fmt.Errorf("list the snapshots of %s: %w", c.source, err)
		}
		if id, err := ParseID(strings.TrimPrefix(o.Key, prefix)); err == nil {
			marked = append(marked, id)
		}
	}
	after := ""
	if len(marked) > 0 {
		after = c.key(marked[len(marked)-1], "~")
	}
	late, err = c.scan(ctx, after)
	return marked, late, err
}

// mark writes the marker of a snapshot just committed, and before it those that earlier
// backups did not come to write: behind a later marker nobody would look for them. Where
// it fails, the snapshot is found without its marker.
func (c *Catalog) mark(ctx context.Context, id ID) {
	_, late, err := c.list(ctx)
	if err != nil {
		return
	}
	if !slices.Contains(late, id) { // a clock was set back
		late = append(late, id)
	}
	for _, id := range late {
		if err := writeAll(ctx, c.store, c.marker(id), nil); err != nil && !errors.Is(err, ErrExists) {
			return
		}
	}
}

// scan finds committed snapshots by their manifests, without the markers.
func (c *Catalog) scan(ctx context.Context, after string) ([]ID, error) {
	var ids []ID
	prefix := c.source + "/snapshots/"
	for o, err := range c.store.List(ctx, prefix, after) {
		if err != nil {
			return nil, fmt.Errorf("list the snapshots of %s: %w", c.source, err)
		}
		dir, name, _ := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
		if id, err := ParseID(dir); err == nil && name == manifestName {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Rescan writes the markers that are missing and returns how many. A marker whose
// manifest is gone is removed: it would name a snapshot that does not exist.
func (c *Catalog) Rescan(ctx context.Context) (int, error) {
	real, err := c.scan(ctx, "")
	if err != nil {
		return 0, err
	}
	listed := map[ID]bool{}
	prefix := c.source + "/manifests/"
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return 0, fmt.Errorf("list the snapshots of %s: %w", c.source, err)
		}
		listed[ID(strings.TrimPrefix(o.Key, prefix))] = true
	}
	changed := 0
	for _, id := range real {
		if listed[id] {
			delete(listed, id)
			continue
		}
		if err := writeAll(ctx, c.store, c.marker(id), nil); err != nil && !errors.Is(err, ErrExists) {
			return changed, fmt.Errorf("mark %s: %w", id, err)
		}
		changed++
	}
	for id := range listed {
		if err := c.store.Remove(ctx, c.marker(id)); err != nil {
			return changed, fmt.Errorf("unmark %s: %w", id, err)
		}
		changed++
	}
	return changed, nil
}

// Resolve finds the snapshot a person means: "latest" or "", a full id, a prefix that
// fits only one, or "@<RFC 3339 time>" for the newest at or before that instant.
func (c *Catalog) Resolve(ctx context.Context, ref string) (ID, error) {
	ids, err := c.IDs(ctx)
	if err != nil {
		return "", err
	}
	if len(ids) == 0 {
		return "", fmt.Errorf("%w: there is none yet", ErrNoSnapshot)
	}
	if ref == "" || ref == "latest" {
		return ids[len(ids)-1], nil
	}
	if at, ok := strings.CutPrefix(ref, "@"); ok {
		return newestAt(ids, at)
	}
	var found []ID
	for _, id := range ids {
		if strings.HasPrefix(string(id), ref) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: %q", ErrNoSnapshot, ref)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%w: %q fits %d, the last is %s", ErrAmbiguous, ref, len(found), found[len(found)-1])
}

func newestAt(ids []ID, at string) (ID, error) {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return "", fmt.Errorf("%w: @%s is no time such as @2026-11-23T06:00:00Z", ErrBadID, at)
	}
	for _, id := range slices.Backward(ids) {
		if !id.Time().After(t) {
			return id, nil
		}
	}
	return "", fmt.Errorf("%w: none at or before %s, the oldest is %s", ErrNoSnapshot, at, ids[0])
}

// Manifest reads and checks one manifest. Of an encrypted snapshot that cannot be opened
// here it has what is readable, and its Locked says why.
func (c *Catalog) Manifest(ctx context.Context, id ID) (*Manifest, error) {
	b, err := readAll(ctx, c.store, c.key(id, manifestName))
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: %s has no manifest", ErrNoSnapshot, id)
	}
	if err != nil {
		return nil, fmt.Errorf("read the manifest of %s: %w", id, err)
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	if err := c.proveSigner(ctx, id, b); err != nil {
		return nil, err
	}
	if m.ID != id || m.Source != c.source {
		return nil, fmt.Errorf("%w: the manifest under %s says it is %s of %s", ErrDamaged, id, m.ID, m.Source)
	}
	return m, c.unlock(ctx, m)
}

// Open reads the content of one object of a snapshot from its beginning. The reader yields
// io.EOF only if size and SHA-256 were right, and everything was decrypted.
func (c *Catalog) Open(ctx context.Context, m *Manifest, name string) (io.ReadCloser, error) {
	o, err := m.Object(name)
	if err != nil {
		return nil, err
	}
	opener, err := c.opener(ctx, m)
	if err != nil {
		return nil, err
	}
	r, err := c.OpenStored(ctx, m, name)
	if err != nil || opener == nil {
		return r, err
	}
	return newDecrypted(r, opener, o.Encrypted.Plain, o.Name+" of "+string(m.ID))
}

// OpenStored reads one object as it is stored, encrypted if it is. The reader yields io.EOF
// only if size and SHA-256 were right.
func (c *Catalog) OpenStored(ctx context.Context, m *Manifest, name string) (io.ReadCloser, error) {
	o, err := m.Object(name)
	if err != nil {
		return nil, err
	}
	name = o.Name
	r, err := c.store.Open(ctx, c.key(m.ID, name), 0, -1)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: %s of %s is gone", ErrDamaged, name, m.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", name, m.ID, err)
	}
	return newCheckedReader(r, o, name+" of "+string(m.ID)), nil
}

// SHA256 is the hex digest of b, as manifests carry it.
func SHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Sources lists the source names that a store holds, in order. It skips from name to
// name, one listing request each.
func Sources(ctx context.Context, s Store) ([]string, error) {
	var names []string
	after := ""
	for {
		found := ""
		for o, err := range s.List(ctx, "", after) {
			if err != nil {
				return nil, fmt.Errorf("list sources: %w", err)
			}
			name, _, ok := strings.Cut(o.Key, "/")
			if !ok {
				after = o.Key
				continue
			}
			found = name
			break
		}
		if found == "" {
			return names, nil
		}
		if ValidSource(found) == nil {
			names = append(names, found)
		}
		after = found + "0" // the byte after the slash: no key of that source is greater
	}
}
