package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Incident is a stored document about what happened after a snapshot, such as the diff and
// the plan that were made when live data collapsed.
type Incident struct {
	Snapshot ID        `json:"snapshot"` // the last one from before
	Name     string    `json:"name"`     // such as "plan.json"
	Size     int64     `json:"size"`
	At       time.Time `json:"at"` // by the store's clock
}

// ErrBadName: a document's name has the wrong form.
var ErrBadName = errors.New("use a-z, 0-9, '.' and '-' in a name")

// StoreIncident stores a document beside a snapshot, create-only, and encrypted if the store
// has keys: it names jobs. Its name then ends in the epoch and ".age". ErrExists: there is one
// of that name, which stays as it is.
func (c *Catalog) StoreIncident(ctx context.Context, id ID, name string, body io.Reader) error {
	sealer, err := c.sealer(ctx)
	if err != nil {
		return err
	}
	if sealer != nil {
		name = fmt.Sprintf("%s.%d%s", name, sealer.Epoch(), sealedSuffix)
	}
	key, err := c.incidentKey(id, name)
	if err != nil {
		return err
	}
	w, err := c.store.Create(ctx, key)
	if err == nil {
		defer w.Abort()
		if err = copySealed(w, body, sealer); err == nil {
			err = w.Commit(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("store %s beside %s: %w", name, id, err)
	}
	return nil
}

// copySealed writes a document, encrypted unless the sealer is nil.
func copySealed(w io.Writer, body io.Reader, s Sealer) error {
	if s == nil {
		_, err := io.Copy(w, body)
		return err
	}
	content, err := s.Seal(w)
	if err != nil {
		return err
	}
	_, err = io.Copy(content, body)
	return errors.Join(err, content.Close())
}

func (c *Catalog) incidentKey(id ID, name string) (string, error) {
	if _, err := ParseID(string(id)); err != nil {
		return "", err
	}
	if !objectForm.MatchString(name) {
		return "", fmt.Errorf("%w: %q", ErrBadName, name)
	}
	return c.besideKey("incidents", id) + "/" + name, nil
}

// OpenIncident reads one of them, by the name that Incidents tells; ErrNotFound if there is
// none of it.
func (c *Catalog) OpenIncident(ctx context.Context, id ID, name string) (io.ReadCloser, error) {
	key, err := c.incidentKey(id, name)
	if err != nil {
		return nil, err
	}
	var epoch int
	var opener Opener
	if plain := plainName(name); plain != name {
		if _, err := fmt.Sscanf(plain[strings.LastIndexByte(plain, '.')+1:], "%d", &epoch); err != nil {
			return nil, fmt.Errorf("%w: %q names no epoch", ErrBadName, name)
		}
		if opener, err = c.opener(ctx, &Manifest{ID: id, Encryption: &Encryption{Epoch: epoch}}); err != nil {
			return nil, err
		}
	}
	r, err := c.store.Open(ctx, key, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read %s beside %s: %w", name, id, err)
	}
	if opener == nil {
		return r, nil
	}
	content, err := opener.Open(r)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s beside %s: %w", name, id, err), r.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{content, r}, nil
}

// Incidents lists the documents stored beside the source's snapshots, or beside one if its
// id is given, by id and name.
func (c *Catalog) Incidents(ctx context.Context, of ID) ([]Incident, error) {
	found := []Incident{}
	prefix := c.source + "/incidents/" + string(of)
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list the incidents of %s: %w", c.source, err)
		}
		id, name, ok := splitBeside(c.source, "incidents", o.Key)
		if ok && name != "" {
			found = append(found, Incident{Snapshot: id, Name: name, Size: o.Size, At: o.Modified.UTC()})
		}
	}
	return found, nil
}
