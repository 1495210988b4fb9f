package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/snapshot"
	"rqvault/internal/store/storetest"
)

func TestDoubtfulCommit(t *testing.T) {
	another := func([]byte) []byte {
		m := whole()
		m.ID = ""
		return seal(t, m)
	}
	for _, c := range []struct {
		name    string
		slip    slip
		cancel  bool
		success bool
	}{
		{"done, but the answer was lost", slip{first: true, err: errTimeout}, false, true},
		{"done twice by a retry below", slip{first: true, err: snapshot.ErrExists}, false, true},
		{"done, answer lost, then interrupted", slip{first: true, err: context.Canceled}, true, true},
		{"not done", slip{err: errTimeout}, false, false},
		{"somebody else's stands there", slip{first: true, err: snapshot.ErrExists, then: another}, false, false},
		{"half of it stands there", slip{first: true, err: errTimeout, then: func(b []byte) []byte { return b[:len(b)/2] }}, false, false},
		{"refused", slip{err: snapshot.ErrDenied}, false, false},
	} {
		s, root := newStore(t)
		c.slip.Store, c.slip.suffix = s, "/manifest.json"
		ctx, cancel := context.WithCancelCause(t.Context())
		if c.cancel {
			c.slip.ctx = cancel
		}
		cat := catalogOf(t, &c.slip)
		d, m, err := draft(ctx, t, cat, taken, 1)
		if err != nil {
			t.Fatal(err)
		}
		before := files(t, root)
		err = d.Commit(ctx, m)
		if (err == nil) != c.success || !c.success && !errors.Is(err, c.slip.err) {
			t.Errorf("%s: got %v, want success %v", c.name, err, c.success)
		}
		d.Abort() // the outcome may be in doubt, so nothing is removed
		for _, f := range before {
			if !slices.Contains(files(t, root), f) {
				t.Errorf("%s: %s was removed after a commit was tried", c.name, f)
			}
		}
		if got := ids(t, catalogOf(t, s)); c.success != (len(got) == 1) && c.slip.then == nil {
			t.Errorf("%s: listed %v", c.name, got)
		}
		cancel(nil)
	}
}

func TestMarkerMayFail(t *testing.T) {
	s, _ := newStore(t)
	broken := &slip{Store: s, err: errTimeout, suffix: "no key"}
	c := catalogOf(t, broken)
	d, m, err := draft(t.Context(), t, c, taken, 1)
	broken.suffix = "/manifests/" + string(d.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), m); err != nil {
		t.Errorf("no marker could be written: got %v, want success", err)
	}
	if got := ids(t, c); !slices.Equal(got, []snapshot.ID{d.ID()}) {
		t.Errorf("got %v, want %s", got, d.ID())
	}
}

func TestManifestIsCreateOnly(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	d, m, err := draft(t.Context(), t, c, taken, 1)
	if err != nil {
		t.Fatal(err)
	}
	key := "default/snapshots/" + string(d.ID()) + "/manifest.json"
	storetest.Put(t, s, key, []byte("another's"))
	if err := d.Commit(t.Context(), m); !errors.Is(err, snapshot.ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
	if got := read(t, filepath.Join(root, key)); string(got) != "another's" {
		t.Errorf("the manifest that stood there was replaced by %q", got)
	}
}

// Whatever operation fails, and if all do from then on: no half snapshot is visible, the
// one before stays whole, and the next run succeeds.
func TestFaultWalkOfACommit(t *testing.T) {
	for _, wrap := range map[string]func(snapshot.Store, int) *storetest.Faulty{"fault": storetest.NewFaulty, "crash": storetest.NewCrashing} {
		s, root := newStore(t)
		c := catalogOf(t, s)
		prior := commit(t, c, taken, 1)
		for n := 0; ; n++ {
			now := taken.Add(time.Duration(n+1) * time.Minute)
			f := wrap(s, n)
			m, err := tryCommit(t.Context(), t, catalogOf(t, f), now, byte(n+2))
			listed := ids(t, c)
			switch {
			case listed[0] != prior.ID:
				t.Fatalf("operation %d: the snapshot before is gone", n)
			case err == nil && listed[len(listed)-1] != m.ID:
				t.Fatalf("operation %d: committed, but listed are %v", n, listed)
			case err != nil && m != nil && m.ID != "" && slices.Contains(listed, m.ID):
				t.Fatalf("operation %d: %v, yet %s is listed", n, err, m.ID)
			}
			for _, id := range listed {
				checkWhole(t, c, id)
			}
			if !f.Failed() {
				if err != nil {
					t.Errorf("no fault: got %v", err)
				}
				break
			}
			if n > 200 {
				t.Fatal("the walk does not end")
			}
		}
		commit(t, c, taken.Add(24*time.Hour), 250)
		_ = root
	}
}

// checkWhole reads everything of a snapshot.
func checkWhole(t testing.TB, c *snapshot.Catalog, id snapshot.ID) {
	t.Helper()
	m, err := c.Manifest(t.Context(), id)
	if err != nil {
		t.Fatalf("%s is listed, but: %v", id, err)
	}
	for _, o := range m.Objects {
		if _, err := readAll(c.Open(t.Context(), m, o.Name)); err != nil {
			t.Fatalf("%s is listed, but: %v", id, err)
		}
	}
}

func TestRepository(t *testing.T) {
	s, root := newStore(t)
	if err := snapshot.CheckRepository(t.Context(), s); !errors.Is(err, snapshot.ErrNoStore) && !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("no repository: got %v", err)
	}
	c := catalogOf(t, s)
	commit(t, c, taken, 1)
	name := filepath.Join(root, "rqvault.json")
	good := read(t, name)
	commit(t, c, taken.Add(time.Hour), 2)
	if !bytes.Equal(read(t, name), good) {
		t.Error("a second backup wrote rqvault.json again")
	}
	for what, b := range map[string][]byte{"cut": good[:len(good)-3], "empty": {}, "flipped": append([]byte("["), good[1:]...)} {
		rewrite(t, name, b)
		if err := snapshot.CheckRepository(t.Context(), s); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", what, err)
		}
		if _, err := c.Begin(t.Context(), taken, &dice{}); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s, a backup: got %v, want ErrDamaged", what, err)
		}
	}
	rewrite(t, name, seal(t, map[string]int{"format": 2}))
	if _, err := c.Begin(t.Context(), taken, &dice{}); !errors.Is(err, snapshot.ErrTooNew) {
		t.Errorf("a later format: got %v, want ErrTooNew", err)
	}
}

func TestGarbage(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	kept := commit(t, c, taken, 1)
	aged := func(hours float64, names ...string) {
		for _, n := range names {
			at := time.Now().Add(-time.Duration(hours * float64(time.Hour)))
			if err := os.Chtimes(n, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	put := func(id, name string, hours float64) string {
		key := "default/snapshots/" + id + "/" + name
		storetest.Put(t, s, key, []byte("x"))
		aged(hours, filepath.Join(root, key))
		return key
	}
	old := []string{put("20261101T000000.000Z-00000000", "dump.rdb.zst", 30), put("20261101T000000.000Z-00000000", "jobs.parquet", 25)}
	put("20261102T000000.000Z-00000000", "dump.rdb.zst", 30) // one object is young: a backup may be at work
	put("20261102T000000.000Z-00000000", "jobs.parquet", 1)
	put("20261103T000000.000Z-00000000", "dump.rdb.zst", 23.9)
	for _, name := range []string{snapshot.DumpName, snapshot.JobsName, snapshot.KeysName, "manifest.json"} {
		aged(1000, path(root, kept, name))
	}
	// The other source's are another catalog's business, but for broken writes.
	storetest.Put(t, s, "other/snapshots/20261101T000000.000Z-00000000/dump.rdb.zst", []byte("x"))
	aged(1000, filepath.Join(root, "other/snapshots/20261101T000000.000Z-00000000/dump.rdb.zst"))
	w, err := s.Create(t.Context(), "default/snapshots/20261104T000000.000Z-00000000/dump.rdb.zst")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	find := func() (keys []string, partial int) {
		t.Helper()
		found, err := c.Garbage(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range found {
			if l.Partial {
				partial++
			} else {
				keys = append(keys, l.Key)
			}
		}
		return keys, partial
	}
	if keys, partial := find(); !slices.Equal(keys, old) || partial != 0 {
		t.Errorf("got %v and %d broken writes, want %v and none", keys, partial, old)
	}
	for _, f := range files(t, root) {
		if strings.Contains(f, ".tmp-") {
			aged(25, filepath.Join(root, f))
		}
	}
	if _, partial := find(); partial != 1 {
		t.Errorf("got %d broken writes, want 1", partial)
	}
	found, err := c.Garbage(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Sweep(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	if keys, partial := find(); len(keys)+partial != 0 {
		t.Errorf("after the sweep: got %v and %d", keys, partial)
	}
	checkWhole(t, c, kept.ID)
	if n := len(files(t, root)); n != 5+3+1 {
		t.Errorf("after the sweep: got %v", files(t, root))
	}
}

func TestSourcesWithOddNames(t *testing.T) {
	s, _ := newStore(t)
	if got, err := snapshot.Sources(t.Context(), s); len(got) != 0 || err != nil && !errors.Is(err, snapshot.ErrNoStore) {
		t.Errorf("of nothing: got %v, %v", got, err)
	}
	for _, key := range []string{"README", "a/x", "a/y/z", "a-b/x", "a.b/x", "a0/x", "a/~", "A/x", "b", "b0/x", "prod/manifests/1", "prod/snapshots/1/dump.rdb.zst",
		"prod2/x", "rqvault.json", "z/x", "z-/x", "ü/x", "_x/y", "a/zzz/ü"} {
		storetest.Put(t, s, key, nil)
	}
	got, err := snapshot.Sources(t.Context(), s)
	slices.Sort(got)
	want := []string{"a", "a-b", "a.b", "a0", "b0", "prod", "prod2", "z", "z-"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	counted := &counting{Store: s}
	if _, err := snapshot.Sources(t.Context(), counted); err != nil || counted.lists > len(want)+6 {
		t.Errorf("%d listings for %d names, %v", counted.lists, len(want), err)
	}
	broken := &counting{Store: s, err: errTimeout}
	if _, err := snapshot.Sources(t.Context(), broken); !errors.Is(err, errTimeout) {
		t.Errorf("got %v, want the store's error", err)
	}
}

// counting counts listings, and fails them all if told to. Where a listing begins must
// be text: that is all that S3 takes.
type counting struct {
	snapshot.Store
	lists int
	err   error
}

func (c *counting) List(ctx context.Context, prefix, after string) iter.Seq2[snapshot.Object, error] {
	c.lists++
	if strings.ToValidUTF8(after, "") != after {
		c.err = fmt.Errorf("a listing that starts after %q", after)
	}
	if c.err != nil {
		return func(yield func(snapshot.Object, error) bool) { yield(snapshot.Object{}, c.err) }
	}
	return c.Store.List(ctx, prefix, after)
}

func TestListingErrors(t *testing.T) {
	s, _ := newStore(t)
	commit(t, catalogOf(t, s), taken, 1)
	c := catalogOf(t, &counting{Store: s, err: errTimeout})
	if got, err := c.IDs(t.Context()); !errors.Is(err, errTimeout) {
		t.Errorf("IDs: got %v, %v", got, err)
	}
	if got, err := c.Resolve(t.Context(), "latest"); !errors.Is(err, errTimeout) {
		t.Errorf("Resolve: got %v, %v", got, err)
	}
	if _, err := c.Rescan(t.Context()); !errors.Is(err, errTimeout) {
		t.Errorf("Rescan: got %v", err)
	}
	if _, err := c.Garbage(t.Context(), taken); !errors.Is(err, errTimeout) {
		t.Errorf("Garbage: got %v", err)
	}
	if _, err := c.Verified(t.Context()); !errors.Is(err, errTimeout) {
		t.Errorf("Verified: got %v", err)
	}
}

func TestVerifications(t *testing.T) {
	s, _ := newStore(t)
	c := catalogOf(t, s)
	a, b := commit(t, c, taken, 1).ID, commit(t, c, taken.Add(time.Hour), 2).ID
	for _, v := range []snapshot.Verification{
		{Snapshot: a, At: taken.Add(2 * time.Hour), OK: true}, {Snapshot: a, At: taken.Add(3 * time.Hour), OK: true},
		{Snapshot: a, At: taken.Add(4 * time.Hour), Problems: []string{"x"}}, {Snapshot: b, At: taken.Add(5 * time.Hour)},
		{Kind: snapshot.Drilled, Snapshot: a, At: taken.Add(6 * time.Hour), OK: true}, {Kind: snapshot.Drilled, Snapshot: b, At: taken.Add(7 * time.Hour)},
	} {
		if err := c.Stamp(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Put(t, s, "default/verified/"+string(b)+"/full-junk-ok.json", nil)
	got, err := c.Verified(t.Context())
	if want := map[snapshot.ID]snapshot.Proof{
		a: {OK: taken.Add(3 * time.Hour), Failed: taken.Add(4 * time.Hour), DrillOK: taken.Add(6 * time.Hour)},
		b: {Failed: taken.Add(5 * time.Hour), DrillFailed: taken.Add(7 * time.Hour)}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestLastDrill(t *testing.T) {
	s, _ := newStore(t)
	c := catalogOf(t, s)
	a := commit(t, c, taken, 1).ID
	stamp := func(v snapshot.Verification) {
		t.Helper()
		if err := c.Stamp(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	stamp(snapshot.Verification{Snapshot: a, At: taken.Add(9 * time.Hour), OK: true})
	if v, err := c.LastDrill(t.Context(), a); v != nil || err != nil {
		t.Errorf("never drilled: got %+v, %v", v, err)
	}
	stamp(snapshot.Verification{Kind: snapshot.Drilled, Snapshot: a, At: taken.Add(time.Hour), OK: true, Problems: []string{}})
	want := snapshot.Verification{Kind: snapshot.Drilled, Snapshot: a, At: taken.Add(2 * time.Hour), Problems: []string{"x"},
		Seconds: map[string]float64{"load": 1.5}, Counts: map[string]int64{"keys": 7}}
	stamp(want)
	want.Format = snapshot.FormatVersion
	if v, err := c.LastDrill(t.Context(), a); err != nil || !reflect.DeepEqual(*v, want) {
		t.Errorf("got %+v, %v, want %+v", v, err, want)
	}
	storetest.Put(t, s, "default/verified/"+string(a)+"/drill-20991231T000000.000Z-ok.json", []byte("{}"))
	if v, err := c.LastDrill(t.Context(), a); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("a damaged result: got %+v, %v, want ErrDamaged", v, err)
	}
}
