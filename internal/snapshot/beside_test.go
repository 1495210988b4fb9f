package snapshot_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rqvault/internal/snapshot"
)

func TestPinsAndFreezes(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	for what, n := range map[string]func() (int, error){
		"pins":    func() (int, error) { m, err := c.Pins(t.Context()); return len(m), err },
		"freezes": func() (int, error) { m, err := c.Freezes(t.Context()); return len(m), err },
		"thaws":   func() (int, error) { m, err := c.Thawed(t.Context()); return len(m), err },
	} {
		if n, err := n(); n != 0 || err != nil {
			t.Errorf("%s of a store that is not there yet: %d, %v", what, n, err)
		}
	}
	m := commit(t, c, taken, 1)
	if err := c.Pin(t.Context(), snapshot.Pin{Snapshot: m.ID, At: taken, Reason: "first"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Pin(t.Context(), snapshot.Pin{Snapshot: m.ID, At: taken, Reason: "second"}); !errors.Is(err, snapshot.ErrExists) {
		t.Errorf("a second pin: got %v, want %v", err, snapshot.ErrExists)
	}
	pins, err := c.Pins(t.Context())
	if err != nil || len(pins) != 1 || pins[m.ID].Reason != "first" || !pins[m.ID].At.Equal(taken) {
		t.Errorf("got %+v, %v", pins, err)
	}
	for _, why := range []string{"first", "second"} {
		if err := c.Freeze(t.Context(), snapshot.Freeze{Snapshot: m.ID, Since: taken, Reasons: []string{why}}); err != nil {
			t.Fatal(err)
		}
	}
	freezes, err := c.Freezes(t.Context())
	if err != nil || len(freezes) != 1 || freezes[m.ID].Reasons[0] != "first" {
		t.Errorf("got %+v, %v", freezes, err)
	}
	// Damaged notes count all the same: nobody is to lose data because of a flipped bit.
	for _, place := range []string{"pins", "freezes"} {
		rewrite(t, filepath.Join(root, "default", place, string(m.ID)), []byte("{}"))
	}
	pins, err = c.Pins(t.Context())
	freezes, freezeErr := c.Freezes(t.Context())
	if err != nil || freezeErr != nil || pins[m.ID].Snapshot != m.ID || freezes[m.ID].Snapshot != m.ID || len(freezes[m.ID].Reasons) != 1 {
		t.Errorf("damaged: got %+v, %+v, %v, %v", pins, freezes, err, freezeErr)
	}
	for range 2 {
		if err := c.Unpin(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
	}
	if pins, err := c.Pins(t.Context()); err != nil || len(pins) != 0 {
		t.Errorf("after unpin: got %+v, %v", pins, err)
	}
	if err := c.Pin(t.Context(), snapshot.Pin{Snapshot: "../x"}); !errors.Is(err, snapshot.ErrBadID) {
		t.Errorf("a bad id: got %v", err)
	}
}

func TestIncidents(t *testing.T) {
	s, _ := newStore(t)
	c := catalogOf(t, s)
	a, b := commit(t, c, taken, 1).ID, commit(t, c, taken.Add(time.Hour), 2).ID
	for _, id := range []snapshot.ID{a, b} {
		for _, name := range []string{"plan.json", "diff.json"} {
			if err := c.StoreIncident(t.Context(), id, name, strings.NewReader("of "+string(id))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.StoreIncident(t.Context(), a, "plan.json", strings.NewReader("other")); !errors.Is(err, snapshot.ErrExists) {
		t.Errorf("again: got %v, want %v", err, snapshot.ErrExists)
	}
	for _, name := range []string{"", "../x", "a/b", "Plan.json"} {
		if err := c.StoreIncident(t.Context(), a, name, strings.NewReader("x")); !errors.Is(err, snapshot.ErrBadName) {
			t.Errorf("%q: got %v, want %v", name, err, snapshot.ErrBadName)
		}
	}
	all, err := c.Incidents(t.Context(), "")
	if err != nil || len(all) != 4 || all[0].Snapshot != a || all[0].Name != "diff.json" || all[3].Snapshot != b || all[3].Name != "plan.json" {
		t.Errorf("got %+v, %v", all, err)
	}
	if some, err := c.Incidents(t.Context(), b); err != nil || len(some) != 2 || some[0].Snapshot != b || some[0].Size != int64(len("of "+string(b))) {
		t.Errorf("of one: got %+v, %v", some, err)
	}
	if body, err := readAll(c.OpenIncident(t.Context(), b, "plan.json")); err != nil || string(body) != "of "+string(b) {
		t.Errorf("got %q, %v", body, err)
	}
	if _, err := c.OpenIncident(t.Context(), b, "none.json"); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("one that is not there: got %v", err)
	}
}

// What stands beside a snapshot goes with it, and beside none it is garbage, but not what
// is beside another.
func TestWhatIsBesideASnapshotGoesWithIt(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	a, b := commit(t, c, taken, 1), commit(t, c, taken.Add(time.Hour), 2)
	for _, m := range []*snapshot.Manifest{a, b} {
		err := errors.Join(c.Pin(t.Context(), snapshot.Pin{Snapshot: m.ID}), c.Freeze(t.Context(), snapshot.Freeze{Snapshot: m.ID}),
			c.Thaw(t.Context(), snapshot.Thaw{Snapshot: m.ID}), c.StoreIncident(t.Context(), m.ID, "diff.json", strings.NewReader("x")),
			c.Stamp(t.Context(), snapshot.Verification{Snapshot: m.ID, At: taken, OK: true}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if left, err := c.Garbage(t.Context(), time.Now().Add(25*time.Hour)); err != nil || len(left) != 0 {
		t.Errorf("garbage in order: %v, %v", left, err)
	}
	for range 2 {
		if err := c.Remove(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files(t, root) {
		if strings.Contains(f, string(a.ID)) {
			t.Errorf("%s is left", f)
		}
	}
	if got := len(files(t, root)); got != 10 {
		t.Errorf("of the other %d files are left, want 10", got)
	}
	// Somebody removes the other by hand, and forgets the rest.
	if err := os.RemoveAll(filepath.Join(root, "default", "snapshots")); err != nil {
		t.Fatal(err)
	}
	if young, err := c.Garbage(t.Context(), time.Now().Add(23*time.Hour)); err != nil || len(young) != 0 {
		t.Errorf("within a day: %v, %v", young, err)
	}
	left, err := c.Garbage(t.Context(), time.Now().Add(25*time.Hour))
	if err != nil || len(left) != 5 {
		t.Errorf("got %d leftovers, %v, want 5", len(left), err)
	}
	if err := c.Sweep(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	if got := files(t, root); len(got) != 1 { // the marker, which a rescan removes
		t.Errorf("left are %q", got)
	}
}
