package verify_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rqvault/backup"
	"rqvault/internal/lineage"
	"rqvault/internal/rq"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
	"rqvault/verify"
)

// dumpFile is a backup.Source that hands out a file.
type dumpFile []byte

func (d dumpFile) Open(context.Context) (*backup.Dump, error) {
	return &backup.Dump{Body: io.NopCloser(bytes.NewReader(d)), Size: int64(len(d)), Via: "bgsave", Atomic: true, At: taken,
		After: func(context.Context) (lineage.Facts, []string) { return lineage.Facts{}, nil }}, nil
}

// saved is a snapshot of a real dump in a directory.
type saved struct {
	cat  *snapshot.Catalog
	m    *snapshot.Manifest
	root string
}

func save(t testing.TB, dump string) *saved {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../testdata/rdb", dump))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	s, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := snapshot.NewCatalog(s, "default")
	if err != nil {
		t.Fatal(err)
	}
	m, err := backup.Save(t.Context(), backup.Options{Catalog: cat, Source: dumpFile(raw), Schema: rq.Schema{},
		Now: func() time.Time { return now }, Random: rand.Reader, ToolVersion: "test", TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return &saved{cat, m, root}
}

func (s *saved) path(name string) string {
	return filepath.Join(s.root, "default", "snapshots", string(s.m.ID), name)
}

func (s *saved) replace(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.Chmod(s.path(name), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *saved) check(t testing.TB, m *snapshot.Manifest) ([]string, error) {
	t.Helper()
	return verify.Stored(t.Context(), m, verify.StoredOptions{Catalog: s.cat, Schema: rq.Schema{}, TempDir: t.TempDir()})
}

func TestStoredSnapshotIsWhole(t *testing.T) {
	for _, dump := range []string{"rq.rdb", "all.rdb", "empty.rdb", "nochecksum.rdb", "repl.rdb"} {
		s := save(t, dump)
		m, err := s.cat.Manifest(t.Context(), s.m.ID)
		if err != nil {
			t.Fatal(err)
		}
		var keys int64
		problems, err := verify.Stored(t.Context(), m, verify.StoredOptions{Catalog: s.cat, Schema: rq.Schema{}, TempDir: t.TempDir(),
			Progress: func(_, k, _ int64) { keys = k }})
		if err != nil || len(problems) != 0 {
			t.Errorf("%s: got %q, %v, want nothing wrong", dump, problems, err)
		}
		if keys != m.Dump.Keys {
			t.Errorf("%s: told of %d keys, want %d", dump, keys, m.Dump.Keys)
		}
	}
}

// Damage of any stored object is a problem that names it, never an error of looking.
func TestStoredDamage(t *testing.T) {
	for _, name := range []string{snapshot.DumpName, snapshot.JobsName, snapshot.KeysName} {
		s := save(t, "rq.rdb")
		good, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		for what, damaged := range map[string][]byte{
			"a bit flipped in the middle": flip(good, len(good)/2), "the first bit flipped": flip(good, 0), "the last bit flipped": flip(good, len(good)-1),
			"cut in half": good[:len(good)/2], "one byte short": good[:len(good)-1], "empty": {}, "a byte too long": append(bytes.Clone(good), 0),
		} {
			s.replace(t, name, damaged)
			problems, err := s.check(t, s.m)
			if err != nil || !strings.Contains(strings.Join(problems, "; "), name) {
				t.Errorf("%s, %s: got %q, %v, want a problem with its name", name, what, problems, err)
			}
		}
		if err := os.Remove(s.path(name)); err != nil {
			t.Fatal(err)
		}
		problems, err := s.check(t, s.m)
		if err != nil || !strings.Contains(strings.Join(problems, "; "), name) {
			t.Errorf("%s is gone: got %q, %v, want a problem with its name", name, problems, err)
		}
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// The manifest's words and the index are held against the dump, not only their digests.
func TestStoredDisagreement(t *testing.T) {
	s, other := save(t, "rq.rdb"), save(t, "all.rdb")
	for name, change := range map[string]func(*snapshot.Manifest){
		"format":       func(m *snapshot.Manifest) { m.Dump.Format = "Redis RDB 9" },
		"checksum":     func(m *snapshot.Manifest) { m.Dump.Checksum = "absent" },
		"aux":          func(m *snapshot.Manifest) { m.Dump.Aux = nil },
		"keys":         func(m *snapshot.Manifest) { m.Counts.Keys++; m.Dump.Keys++ },
		"jobs":         func(m *snapshot.Manifest) { m.Counts.Jobs-- },
		"rows":         func(m *snapshot.Manifest) { m.Counts.Rows++ },
		"status":       func(m *snapshot.Manifest) { m.Counts.Status = map[string]int64{"queued": 1} },
		"queues":       func(m *snapshot.Manifest) { m.Counts.Queues = nil },
		"unknown keys": func(m *snapshot.Manifest) { m.Counts.Unknown += 5 },
		"registered":   func(m *snapshot.Manifest) { m.Registered = map[string][]string{"0": {"rq:queue:other"}} },
	} {
		m, err := s.cat.Manifest(t.Context(), s.m.ID)
		if err != nil {
			t.Fatal(err)
		}
		change(m)
		if problems, err := s.check(t, m); err != nil || len(problems) == 0 {
			t.Errorf("another %s: got %q, %v, want a problem", name, problems, err)
		}
	}
	for _, name := range []string{snapshot.JobsName, snapshot.KeysName} {
		m, err := s.cat.Manifest(t.Context(), s.m.ID)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := os.ReadFile(other.path(name))
		if err != nil {
			t.Fatal(err)
		}
		mine, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		s.replace(t, name, theirs)
		for i := range m.Objects {
			if m.Objects[i].Name == name {
				m.Objects[i].Size, m.Objects[i].SHA256 = int64(len(theirs)), snapshot.SHA256(theirs)
			}
		}
		if problems, err := s.check(t, m); err != nil || !strings.Contains(strings.Join(problems, "; "), name) {
			t.Errorf("%s of another dump, with a right digest: got %q, %v, want a problem with its name", name, problems, err)
		}
		s.replace(t, name, mine)
	}
}

func TestStoredCanBeStopped(t *testing.T) {
	s := save(t, "rq.rdb")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if problems, err := verify.Stored(ctx, s.m, verify.StoredOptions{Catalog: s.cat, Schema: rq.Schema{}, TempDir: t.TempDir()}); err == nil {
		t.Errorf("got %q and no error: an interrupted look must not pass for a good one", problems)
	}
}
