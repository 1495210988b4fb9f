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

func TestCommitAndRead(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	if _, err := c.Resolve(t.Context(), "latest"); !errors.Is(err, snapshot.ErrNoSnapshot) && !errors.Is(err, snapshot.ErrNoStore) {
		t.Errorf("of nothing: got %v", err)
	}
	want := commit(t, c, taken, 1)
	if want.ID.Time() != taken || want.Source != "default" || want.Format != 1 || len(want.Nonce) != 32 {
		t.Errorf("got %+v", want)
	}
	got, err := c.Manifest(t.Context(), want.ID)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	for name, content := range map[string][]byte{snapshot.JobsName: []byte("jobs\x01"), snapshot.KeysName: {}, snapshot.DumpName: read(t, path(root, want, snapshot.DumpName))} {
		if b, err := readAll(c.Open(t.Context(), got, name)); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s: got %d bytes, %v, want %d", name, len(b), err, len(content))
		}
	}
	if err := snapshot.CheckRepository(t.Context(), s); err != nil {
		t.Error(err)
	}
	if !slices.Equal(ids(t, c), []snapshot.ID{want.ID}) {
		t.Errorf("got %v, want %s", ids(t, c), want.ID)
	}
}

func TestResolve(t *testing.T) {
	s, _ := newStore(t)
	c := catalogOf(t, s)
	var all []snapshot.ID
	for i := range 3 {
		all = append(all, commit(t, c, taken.Add(time.Duration(i)*time.Hour), byte(i)).ID)
	}
	all = append(all, commit(t, c, taken.Add(2*time.Hour), 99).ID) // in the same millisecond
	slices.Sort(all)
	if !slices.Equal(ids(t, c), all) {
		t.Fatalf("got %v, want %v", ids(t, c), all)
	}
	for ref, want := range map[string]snapshot.ID{
		"": all[3], "latest": all[3], string(all[0]): all[0], string(all[2]): all[2], "20261123T06": all[0], "20261123T0715": all[1], string(all[3][:22]): all[3],
		"@2026-11-23T06:15:01Z": all[0], "@2026-11-23T07:15:00.123Z": all[1], "@2026-11-23T08:15:00.122Z": all[1], "@2026-11-23T08:15:00.123Z": all[3],
		"@2027-01-01T00:00:00Z": all[3], "@2026-11-23T09:00:00+02:00": all[0], "@2026-11-23T07:15:00.123999Z": all[1],
	} {
		if ref == string(all[3][:22]) && strings.HasPrefix(string(all[2]), ref) {
			t.Fatalf("the test's ids %s and %s begin alike", all[2], all[3])
		}
		if got, err := c.Resolve(t.Context(), ref); err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", ref, got, err, want)
		}
	}
	for ref, want := range map[string]error{
		"2026": snapshot.ErrAmbiguous, "20261123T0815": snapshot.ErrAmbiguous, "2027": snapshot.ErrNoSnapshot, "nonsense": snapshot.ErrNoSnapshot,
		string(all[0]) + "x": snapshot.ErrNoSnapshot, "LATEST": snapshot.ErrNoSnapshot, "@2026-11-23T06:15:00Z": snapshot.ErrNoSnapshot,
		"@yesterday": snapshot.ErrBadID, "@": snapshot.ErrBadID, "@2026-11-23": snapshot.ErrBadID, "../x": snapshot.ErrNoSnapshot,
	} {
		if got, err := c.Resolve(t.Context(), ref); !errors.Is(err, want) || got != "" {
			t.Errorf("%q: got %q, %v, want %v", ref, got, err, want)
		}
	}
	if _, err := c.Manifest(t.Context(), "20270101T000000.000Z-00000000"); !errors.Is(err, snapshot.ErrNoSnapshot) {
		t.Errorf("a manifest that is not there: got %v, want ErrNoSnapshot", err)
	}
}

// A crash between manifest and marker leaves a snapshot without one. It is committed, so
// it is listed, now and after later backups.
func TestMissingMarkers(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	var ms []*snapshot.Manifest
	var want []snapshot.ID
	for i := range 3 {
		m := commit(t, c, taken.Add(time.Duration(i)*time.Hour), byte(i))
		ms, want = append(ms, m), append(want, m.ID)
		remove(t, marker(root, m))
		if got := ids(t, c); !slices.Equal(got, want) {
			t.Fatalf("%d snapshots, no marker of the last: got %v, want %v", i+1, got, want)
		}
	}
	last := commit(t, c, taken.Add(3*time.Hour), 3)
	want = append(want, last.ID)
	if got := ids(t, c); !slices.Equal(got, want) {
		t.Errorf("after one more backup: got %v, want %v", got, want)
	}
	for range 2 { // the second finds nothing to do
		if _, err := c.Rescan(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(t, c); !slices.Equal(got, want) {
		t.Errorf("after a rescan: got %v, want %v", got, want)
	}
	for _, m := range append(ms, last) {
		if _, err := os.Stat(marker(root, m)); err != nil {
			t.Errorf("no marker of %s after a rescan", m.ID)
		}
	}
	if n, err := c.Rescan(t.Context()); n != 0 || err != nil {
		t.Errorf("a rescan of what is right: got %d changes, %v", n, err)
	}
}

func TestRescanRemovesMarkersOfNothing(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	kept, gone := commit(t, c, taken, 1), commit(t, c, taken.Add(time.Hour), 2)
	remove(t, path(root, gone, "manifest.json"))
	storetest.Put(t, s, "default/manifests/not-an-id", nil)
	if n, err := c.Rescan(t.Context()); n != 2 || err != nil {
		t.Errorf("got %d changes, %v, want 2", n, err)
	}
	if got := ids(t, c); !slices.Equal(got, []snapshot.ID{kept.ID}) {
		t.Errorf("got %v, want %s", got, kept.ID)
	}
	if got, err := c.Resolve(t.Context(), "latest"); err != nil || got != kept.ID {
		t.Errorf("latest: got %s, %v, want %s", got, err, kept.ID)
	}
}

func TestStrayObjectsAreNoSnapshots(t *testing.T) {
	s, _ := newStore(t)
	c := catalogOf(t, s)
	want := commit(t, c, taken, 1).ID
	for _, key := range []string{"default/snapshots/x/manifest.json", "default/snapshots/20270101T000000.000Z-00000000/dump.rdb.zst",
		"default/snapshots/20270101T000000.000Z-00000001/old/manifest.json", "default/snapshots/manifest.json", "default/manifests/README",
		"default2/snapshots/20270101T000000.000Z-00000002/manifest.json", "README"} {
		storetest.Put(t, s, key, []byte("x"))
	}
	if got := ids(t, c); !slices.Equal(got, []snapshot.ID{want}) {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestManifestOfAnother(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	a, b := commit(t, c, taken, 1), commit(t, c, taken.Add(time.Hour), 2)
	rewrite(t, path(root, a, "manifest.json"), read(t, path(root, b, "manifest.json")))
	if _, err := c.Manifest(t.Context(), a.ID); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("another snapshot's manifest: got %v, want ErrDamaged", err)
	}
	storetest.Put(t, s, "other/snapshots/"+string(b.ID)+"/manifest.json", read(t, path(root, b, "manifest.json")))
	other, err := snapshot.NewCatalog(s, "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Manifest(t.Context(), b.ID); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("another source's manifest: got %v, want ErrDamaged", err)
	}
}

func TestCommitChecksItsObjects(t *testing.T) {
	for name, c := range map[string]struct {
		change func(root string, m *snapshot.Manifest)
		want   error
	}{
		"a size too large":        {func(_ string, m *snapshot.Manifest) { m.Objects[1].Size++ }, snapshot.ErrDamaged},
		"a size too small":        {func(_ string, m *snapshot.Manifest) { m.Objects[0].Size-- }, snapshot.ErrDamaged},
		"an object cut meanwhile": {func(root string, m *snapshot.Manifest) { rewrite(t, path(root, m, snapshot.DumpName), []byte("x")) }, snapshot.ErrDamaged},
		"an object gone":          {func(root string, m *snapshot.Manifest) { remove(t, path(root, m, snapshot.JobsName)) }, snapshot.ErrNotFound},
		"an impossible manifest":  {func(_ string, m *snapshot.Manifest) { m.Counts.Jobs = 99 }, snapshot.ErrDamaged},
		"an object left out":      {func(_ string, m *snapshot.Manifest) { m.Objects = m.Objects[:2] }, snapshot.ErrDamaged},
	} {
		s, root := newStore(t)
		cat := catalogOf(t, s)
		d, m, err := draft(t.Context(), t, cat, taken, 1)
		if err != nil {
			t.Fatal(err)
		}
		m.ID, m.Source = d.ID(), "default"
		if strings.HasPrefix(name, "a size") || strings.HasPrefix(name, "an object") {
			slices.SortFunc(m.Objects, func(a, b snapshot.Stored) int { return strings.Compare(a.Name, b.Name) })
		}
		c.change(root, m)
		if err := d.Commit(t.Context(), m); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if got := ids(t, cat); len(got) != 0 {
			t.Errorf("%s: a snapshot came into being: %v", name, got)
		}
		d.Abort() // nothing was tried yet, so nothing may stay
		if left := files(t, root); len(left) != 0 {
			t.Errorf("%s: Abort left %v", name, left)
		}
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	kept := commit(t, c, taken, 1)
	before := files(t, root)
	d, m, err := draft(t.Context(), t, c, taken.Add(time.Hour), 2)
	if err != nil {
		t.Fatal(err)
	}
	unfinished, err := d.Create(t.Context(), "more")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unfinished.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	unfinished.Abort()
	d.Abort()
	d.Abort()
	if got := files(t, root); !slices.Equal(got, before) {
		t.Errorf("got %v, want %v", got, before)
	}
	if got := ids(t, c); !slices.Equal(got, []snapshot.ID{kept.ID}) {
		t.Errorf("got %v, want %s", got, kept.ID)
	}
	if err := d.Commit(t.Context(), m); err == nil {
		t.Error("a commit after Abort: got no error")
	}
}

func TestAbortAfterCommitRemovesNothing(t *testing.T) {
	s, root := newStore(t)
	c := catalogOf(t, s)
	d, m, err := draft(t.Context(), t, c, taken, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	before := files(t, root)
	d.Abort()
	if got := files(t, root); !slices.Equal(got, before) || len(got) != 5 {
		t.Errorf("got %v, want %v", got, before)
	}
}

// slip is a store on which writing one kind of key goes wrong in a chosen way.
type slip struct {
	snapshot.Store
	suffix string
	first  bool                    // do it, then report err; otherwise only report err
	err    error                   //
	then   func(w []byte) []byte   // what is written in place of what was asked for
	ctx    context.CancelCauseFunc // called when it happens
}

type slipWriter struct {
	snapshot.Writer
	s   *slip
	buf bytes.Buffer
}

func (s *slip) Create(ctx context.Context, key string) (snapshot.Writer, error) {
	w, err := s.Store.Create(ctx, key)
	if err != nil || !strings.HasSuffix(key, s.suffix) {
		return w, err
	}
	return &slipWriter{Writer: w, s: s}, nil
}

func (w *slipWriter) Write(p []byte) (int, error) { return w.buf.Write(p) }

func (w *slipWriter) Commit(ctx context.Context) error {
	if w.s.ctx != nil {
		defer w.s.ctx(errors.New("interrupted"))
	}
	if !w.s.first {
		return w.s.err
	}
	b := w.buf.Bytes()
	if w.s.then != nil {
		b = w.s.then(b)
	}
	if _, err := w.Writer.Write(b); err != nil {
		return err
	}
	return errors.Join(w.Writer.Commit(ctx), w.s.err)
}

var errTimeout = errors.New("timeout awaiting response")

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
	} {
		if err := c.Stamp(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Put(t, s, "default/verified/"+string(b)+"/full-junk-ok.json", nil)
	got, err := c.Verified(t.Context())
	if want := map[snapshot.ID]snapshot.Proof{
		a: {OK: taken.Add(3 * time.Hour), Failed: taken.Add(4 * time.Hour)}, b: {Failed: taken.Add(5 * time.Hour)}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
