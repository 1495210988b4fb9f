package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// besides are the places that hold small documents about a snapshot, beside it: one each,
// named by its id, or several in a directory of that name. They go with it, in this order:
// a freeze before the word that lifted it.
var besides = []string{"verified", "pins", "incidents", "freezes", "thaws"}

// Pin keeps a snapshot from retention because a person wants it.
type Pin struct {
	Format   int       `json:"format"`
	Snapshot ID        `json:"snapshot"`
	At       time.Time `json:"at"`
	Reason   string    `json:"reason,omitempty"`
}

// Pin stores a pin. ErrExists: the snapshot has one already, which stays as it is.
func (c *Catalog) Pin(ctx context.Context, p Pin) error {
	p.Format = FormatVersion
	return c.note(ctx, "pins", p.Snapshot, p)
}

// Unpin removes a snapshot's pin; it is no error if there is none.
func (c *Catalog) Unpin(ctx context.Context, id ID) error {
	if err := c.store.Remove(ctx, c.besideKey("pins", id)); err != nil {
		return fmt.Errorf("unpin %s: %w", id, err)
	}
	return nil
}

// Pins returns the pins of the source's snapshots. One that cannot be read counts, without
// its reason.
func (c *Catalog) Pins(ctx context.Context) (map[ID]Pin, error) {
	return notes(ctx, c, "pins", func(id ID) Pin { return Pin{Snapshot: id, At: id.Time()} })
}

// Freeze says that live data collapsed after a snapshot, so that the old ones may be all
// there is: until a person says otherwise, retention removes nothing.
type Freeze struct {
	Format   int       `json:"format"`
	Snapshot ID        `json:"snapshot"` // the last one from before
	Since    time.Time `json:"since"`    // created_at of the first one after
	Reasons  []string  `json:"reasons"`
}

// Freeze stores a freeze. One that stands there already, thawed or not, stays.
func (c *Catalog) Freeze(ctx context.Context, f Freeze) error {
	f.Format = FormatVersion
	if err := c.note(ctx, "freezes", f.Snapshot, f); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return nil
}

// Freezes returns all freezes, by the snapshot from before, thawed ones too. One that
// cannot be read counts.
func (c *Catalog) Freezes(ctx context.Context) (map[ID]Freeze, error) {
	return notes(ctx, c, "freezes", func(id ID) Freeze {
		return Freeze{Snapshot: id, Since: id.Time(), Reasons: []string{"the note that says why cannot be read"}}
	})
}

// Thaw is a person's word that what was lost after a snapshot is back, or was meant to go.
type Thaw struct {
	Format   int       `json:"format"`
	Snapshot ID        `json:"snapshot"` // the last one from before
	At       time.Time `json:"at"`
	Reason   string    `json:"reason,omitempty"`
}

// Thaw stores that word; it is no error if it was given already.
func (c *Catalog) Thaw(ctx context.Context, t Thaw) error {
	t.Format = FormatVersion
	if err := c.note(ctx, "thaws", t.Snapshot, t); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return nil
}

// Thawed lists the snapshots of which that was said.
func (c *Catalog) Thawed(ctx context.Context) (map[ID]bool, error) {
	said := map[ID]bool{}
	err := c.each(ctx, "thaws", func(id ID) error {
		said[id] = true
		return nil
	})
	return said, err
}

func (c *Catalog) besideKey(place string, id ID) string {
	return c.source + "/" + place + "/" + string(id)
}

// note stores a small document about a snapshot, create-only.
func (c *Catalog) note(ctx context.Context, place string, id ID, doc any) error {
	if _, err := ParseID(string(id)); err != nil {
		return err
	}
	b, err := Seal(doc)
	if err != nil {
		return err
	}
	if err := writeAll(ctx, c.store, c.besideKey(place, id), b); err != nil {
		return fmt.Errorf("note in %s of %s: %w", place, id, err)
	}
	return nil
}

// each calls f for every snapshot that has a document in a place.
func (c *Catalog) each(ctx context.Context, place string, f func(id ID) error) error {
	for o, err := range c.store.List(ctx, c.source+"/"+place+"/", "") {
		if errors.Is(err, ErrNoStore) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list the %s of %s: %w", place, c.source, err)
		}
		if id, name, ok := splitBeside(c.source, place, o.Key); ok && name == "" {
			if err := f(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// notes reads all documents of a place; unreadable stands for those whose bytes are
// damaged.
func notes[T any](ctx context.Context, c *Catalog, place string, unreadable func(ID) T) (map[ID]T, error) {
	found := map[ID]T{}
	err := c.each(ctx, place, func(id ID) error {
		b, err := readAll(ctx, c.store, c.besideKey(place, id))
		if errors.Is(err, ErrNotFound) { // removed meanwhile
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a note in %s of %s: %w", place, id, err)
		}
		var doc T
		if Unseal(b, &doc) != nil {
			doc = unreadable(id)
		}
		found[id] = doc
		return nil
	})
	return found, err
}
