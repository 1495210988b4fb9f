package snapshot_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/lineage"
	"rqvault/internal/seekable"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
)

var taken = time.Date(2026, 11, 23, 6, 15, 0, 123_000_000, time.UTC)

// dice gives the same "random" bytes in each test, and others at each call.
type dice struct{ n byte }

func (d *dice) Read(p []byte) (int, error) {
	for i := range p {
		d.n += 37
		p[i] = d.n
	}
	return len(p), nil
}

func newStore(t testing.TB) (snapshot.Store, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "vault")
	s, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s, root
}

func catalogOf(t testing.TB, s snapshot.Store) *snapshot.Catalog {
	t.Helper()
	c, err := snapshot.NewCatalog(s, "default")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// manifest is a valid one, without its objects.
func manifest() *snapshot.Manifest {
	return &snapshot.Manifest{CreatedAt: taken, FinishedAt: taken.Add(time.Second), ToolVersion: "test", Via: "scan",
		Dump:   snapshot.Dump{Format: "Redis RDB 10", Checksum: "verified", Size: 100, Keys: 2, Aux: map[string]string{"redis-ver": "7.0.15"}},
		Counts: snapshot.Counts{Keys: 2, Jobs: 1, Rows: 1, ByKind: map[string]int64{"hash": 2}}, Warnings: []string{},
		Lineage: snapshot.Lineage{Before: lineage.Facts{RunID: "a", Calls: map[string]int64{"del": 1}}}}
}

// frames are the pieces of the dumps that tests store.
func frames(seed byte) [][]byte {
	return [][]byte{bytes.Repeat([]byte{seed}, 10), []byte("0123456789abcdefghij" + string(rune('a'+seed%20))), {seed}, bytes.Repeat([]byte("xyz"), 400)}
}

func packed(t testing.TB, fs [][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := seekable.NewWriter(&out, seekable.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		if err := w.WriteFrame(f, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// draft writes a snapshot's objects and returns what is left to commit.
func draft(ctx context.Context, t testing.TB, c *snapshot.Catalog, now time.Time, seed byte) (*snapshot.Draft, *snapshot.Manifest, error) {
	t.Helper()
	d, err := c.Begin(ctx, now, &dice{seed})
	if err != nil {
		return nil, nil, err
	}
	m := manifest()
	m.CreatedAt, m.FinishedAt = now, now.Add(time.Second)
	raw := bytes.Join(frames(seed), nil)
	m.Dump.Size = int64(len(raw))
	for name, content := range map[string][]byte{
		snapshot.DumpName: packed(t, frames(seed)), snapshot.JobsName: []byte("jobs" + string(rune(seed))), snapshot.KeysName: {},
	} {
		w, err := d.Create(ctx, name)
		if err != nil {
			return d, m, err
		}
		defer w.Abort()
		for half := range slices.Chunk(content, max(1, len(content)/2)) {
			if _, err := w.Write(half); err != nil {
				return d, m, err
			}
		}
		entry, err := w.Commit(ctx)
		if err != nil {
			return d, m, err
		}
		if entry.Name != name || entry.Size != int64(len(content)) || entry.SHA256 != snapshot.SHA256(content) {
			t.Errorf("stored %s as %+v", name, entry)
		}
		m.Objects = append(m.Objects, entry)
	}
	return d, m, nil
}

func tryCommit(ctx context.Context, t testing.TB, c *snapshot.Catalog, now time.Time, seed byte) (*snapshot.Manifest, error) {
	t.Helper()
	d, m, err := draft(ctx, t, c, now, seed)
	if err == nil {
		err = d.Commit(ctx, m)
	}
	if err != nil && d != nil {
		d.Abort()
	}
	return m, err
}

// commit takes one whole snapshot.
func commit(t testing.TB, c *snapshot.Catalog, now time.Time, seed byte) *snapshot.Manifest {
	t.Helper()
	m, err := tryCommit(t.Context(), t, c, now, seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func path(root string, m *snapshot.Manifest, name string) string {
	return filepath.Join(root, m.Source, "snapshots", string(m.ID), name)
}

func marker(root string, m *snapshot.Manifest) string {
	return filepath.Join(root, m.Source, "manifests", string(m.ID))
}

func remove(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// rewrite replaces a stored file, which is read-only.
func rewrite(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// files lists what a store's directory holds, without the repository's own file.
func files(t testing.TB, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "rqvault.json" {
			all = append(all, strings.TrimPrefix(p, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func ids(t testing.TB, c *snapshot.Catalog) []snapshot.ID {
	t.Helper()
	all, err := c.IDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// readAll reads one object to its proven end.
func readAll(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return b, err
}
