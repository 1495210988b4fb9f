package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Committed lists the committed snapshots, oldest first, by their manifests alone: it also
// finds one whose removal ended after its marker was gone. It lists every object.
func (c *Catalog) Committed(ctx context.Context) ([]ID, error) { return c.scan(ctx, "") }

// Remove takes a snapshot out of the store: its marker, then its manifest, with which it
// ceases to exist, then what stands beside it, and its objects last. Stopped anywhere and
// repeated, it ends the same; where nobody repeats it, Garbage finds the rest, because an
// object is left. ErrLocked: the store keeps the manifest, and the snapshot is as it was.
// What is locked of the rest stays for Garbage.
func (c *Catalog) Remove(ctx context.Context, id ID) error {
	if _, err := ParseID(string(id)); err != nil {
		return err
	}
	if err := c.store.Remove(ctx, c.marker(id)); err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	if err := c.store.Remove(ctx, c.key(id, manifestName)); err != nil {
		if errors.Is(err, ErrLocked) {
			c.mark(ctx, id)
		}
		return fmt.Errorf("remove %s: %w", id, err)
	}
	for _, place := range append(besides, "snapshots") {
		if err := c.clear(ctx, place, id); err != nil {
			return fmt.Errorf("remove %s: %w", id, err)
		}
	}
	return nil
}

// clear removes the document of a place that is about a snapshot, or all of them.
func (c *Catalog) clear(ctx context.Context, place string, id ID) error {
	var keys []string
	for o, err := range c.store.List(ctx, c.besideKey(place, id), "") {
		if err != nil {
			return err
		}
		keys = append(keys, o.Key)
	}
	for _, key := range keys {
		if err := c.store.Remove(ctx, key); err != nil && !errors.Is(err, ErrLocked) {
			return err
		}
	}
	return nil
}

// Lock is how long a store keeps an object, whoever wants to remove it.
type Lock struct {
	Until time.Time // zero where that is not known, or only somebody's word ends it
	Hold  bool      // such a word (a legal hold) is there
}

// String says so: "locked until 2027-01-01T00:00:00Z".
func (l Lock) String() string {
	switch {
	case l.Hold:
		return "kept by a legal hold"
	case l.Until.IsZero():
		return "kept by a lock of the store"
	}
	return "kept by lock until " + l.Until.UTC().Format(time.RFC3339)
}

// LockedError is ErrLocked with the lock that was met.
type LockedError struct{ Lock Lock }

func (e *LockedError) Error() string { return ErrLocked.Error() + ": " + e.Lock.String() }

// Is makes it ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Locker is a Store whose objects can be locked.
type Locker interface {
	// Locked returns the lock of an object; nil if there is none at that instant, or none
	// that our rights let us see.
	Locked(ctx context.Context, key string, now time.Time) (*Lock, error)
}

// Locked returns the longest lock on a snapshot's objects, manifest included; nil if none is
// locked, or the store has no locks.
func (c *Catalog) Locked(ctx context.Context, id ID, now time.Time) (*Lock, error) {
	locker, ok := c.store.(Locker)
	if !ok {
		return nil, nil
	}
	var longest *Lock
	for o, err := range c.store.List(ctx, c.besideKey("snapshots", id)+"/", "") {
		if err != nil {
			return nil, fmt.Errorf("look for a lock on %s: %w", id, err)
		}
		l, err := locker.Locked(ctx, o.Key, now)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("look for a lock on %s: %w", id, err)
		case l != nil && (longest == nil || l.Hold || !longest.Hold && l.Until.After(longest.Until)):
			longest = l
		}
	}
	return longest, nil
}

// splitBeside takes a key of a place apart into the snapshot's id and the document's name,
// "" where the document itself has the id for its name.
func splitBeside(source, place, key string) (id ID, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, source+"/"+place+"/")
	dir, name, _ := strings.Cut(rest, "/")
	id, err := ParseID(dir)
	return id, name, ok && err == nil
}
