package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// StoreIncident stores a document beside a snapshot, create-only. ErrExists: there is one of
// that name, which stays as it is.
func (c *Catalog) StoreIncident(ctx context.Context, id ID, name string, body io.Reader) error {
	key, err := c.incidentKey(id, name)
	if err != nil {
		return err
	}
	w, err := c.store.Create(ctx, key)
	if err == nil {
		defer w.Abort()
		if _, err = io.Copy(w, body); err == nil {
			err = w.Commit(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("store %s beside %s: %w", name, id, err)
	}
	return nil
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

// OpenIncident reads one of them; ErrNotFound if there is none of that name.
func (c *Catalog) OpenIncident(ctx context.Context, id ID, name string) (io.ReadCloser, error) {
	key, err := c.incidentKey(id, name)
	if err != nil {
		return nil, err
	}
	r, err := c.store.Open(ctx, key, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read %s beside %s: %w", name, id, err)
	}
	return r, nil
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
