package backup_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rqvault/backup"
	"rqvault/internal/rq"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
	"rqvault/internal/store/storetest"
	"rqvault/verify"
)

// fileSource is a Redis that has already written its dump.
type fileSource struct{ path string }

func (s fileSource) Open(context.Context) (*backup.Dump, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &backup.Dump{Body: f, Size: info.Size(), Via: "bgsave", Atomic: true, At: time.Now()}, nil
}

var realDump = filepath.Join("..", "testdata", "rdb", "rq.rdb")

func save(t testing.TB, s snapshot.Store) (*snapshot.Catalog, *snapshot.Manifest, error) {
	t.Helper()
	cat, err := snapshot.NewCatalog(s, "default")
	if err != nil {
		t.Fatal(err)
	}
	m, err := backup.Save(t.Context(), backup.Options{Catalog: cat, Source: fileSource{realDump}, Schema: rq.Schema{},
		Now: time.Now, Random: rand.Reader, ToolVersion: "test"})
	return cat, m, err
}

// whole fails the test unless the snapshot is proven in full.
func whole(t testing.TB, cat *snapshot.Catalog, id snapshot.ID) {
	t.Helper()
	m, err := cat.Manifest(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	problems, err := verify.Stored(t.Context(), m, verify.StoredOptions{Catalog: cat, Schema: rq.Schema{}})
	if err != nil || len(problems) > 0 {
		t.Fatalf("snapshot %s: %v %v", id, problems, err)
	}
}

// TestACrashAtAnyOperationLeavesGarbageThatIsFoundExactly lets the process die at the
// store's operation 0, 1, 2 … Nothing half may show, and a day later, not before, exactly
// the rest is found and removed.
func TestACrashAtAnyOperationLeavesGarbageThatIsFoundExactly(t *testing.T) {
	root := t.TempDir()
	disk, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	cat, first, err := save(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	before := files(t, root)
	for at := 0; ; at++ {
		crashing := storetest.NewCrashing(disk, at)
		_, m, err := save(t, crashing)
		if !crashing.Failed() {
			if err != nil {
				t.Fatalf("without a crash: %v", err)
			}
			whole(t, cat, m.ID)
			break
		}
		ids, listErr := cat.IDs(t.Context())
		if listErr != nil {
			t.Fatal(listErr)
		}
		if err == nil || len(ids) > 1 { // the crash came after the commit, at the marker or the read-back
			if len(ids) != 2 {
				t.Fatalf("crash at operation %d: success without a snapshot", at)
			}
			whole(t, cat, ids[1])
			drop(t, disk, ids[1])
			continue
		}
		whole(t, cat, first.ID)
		sweep(t, cat, at, before, root)
	}
	if got := files(t, root); len(got) <= len(before) {
		t.Fatalf("the run without a crash left %d files, before there were %d", len(got), len(before))
	}
}

func sweep(t *testing.T, cat *snapshot.Catalog, at int, before []string, root string) {
	t.Helper()
	now := time.Now()
	if young, err := cat.Garbage(t.Context(), now.Add(23*time.Hour)); err != nil || len(young) != 0 {
		t.Fatalf("crash at operation %d: within a day %v counts as garbage (%v)", at, young, err)
	}
	old, err := cat.Garbage(t.Context(), now.Add(25*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Sweep(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if got := files(t, root); !slices.Equal(got, before) {
		t.Fatalf("crash at operation %d: after the sweep there are\n%v\nwant\n%v", at, got, before)
	}
}

func drop(t testing.TB, s snapshot.Store, id snapshot.ID) {
	t.Helper()
	for _, prefix := range []string{"default/snapshots/" + string(id), "default/manifests/" + string(id)} {
		var keys []string
		for o, err := range s.List(t.Context(), prefix, "") {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, o.Key)
		}
		for _, k := range keys {
			if err := s.Remove(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// files lists every file below root, hidden ones too.
func files(t testing.TB, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestStockToolsOpenASnapshot takes the dump out again with zstd alone and has Redis
// check it.
func TestStockToolsOpenASnapshot(t *testing.T) {
	root := t.TempDir()
	disk, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	_, m, err := save(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := os.Open(filepath.Join(root, "default", "snapshots", string(m.ID), snapshot.DumpName))
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	out := filepath.Join(t.TempDir(), "dump.rdb")
	plain, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	zstd := exec.Command("zstd", "-dc")
	zstd.Stdin, zstd.Stdout, zstd.Stderr = stored, plain, io.Discard
	if err := zstd.Run(); err != nil {
		t.Fatalf("zstd -d: %v", err)
	}
	if err := plain.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(realDump)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("zstd -d gives other bytes than Redis wrote")
	}
	if b, err := exec.Command("redis-check-rdb", out).CombinedOutput(); err != nil {
		t.Fatalf("redis-check-rdb: %v\n%s", err, b)
	}
}
