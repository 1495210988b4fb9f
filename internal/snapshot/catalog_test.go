package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"os"
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
