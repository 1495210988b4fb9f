package dir_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
	"rqvault/internal/store/storetest"
)

func open(t *testing.T, root string) *dir.Store {
	t.Helper()
	s, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) snapshot.Store {
		return open(t, t.TempDir())
	})
}

// The file systems that lack RENAME_NOREPLACE, and all systems but Linux.
func TestContractWithHardLinks(t *testing.T) {
	storetest.Run(t, func(t *testing.T) snapshot.Store {
		s := open(t, t.TempDir())
		dir.WithoutRename(s)
		return s
	})
}

func TestMissingRoot(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, root)
	ctx := t.Context()
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, snapshot.ErrNoStore) {
			t.Errorf("%s: got error %v, want %v", what, err, snapshot.ErrNoStore)
		}
	}
	_, err := s.Open(ctx, "k", 0, -1)
	check("open", err)
	_, err = s.Stat(ctx, "k")
	check("stat", err)
	check("remove", s.Remove(ctx, "k"))
	for _, err := range s.List(ctx, "x/", "") {
		check("list", err)
	}
	for _, err := range s.Abandoned(ctx) {
		check("leftovers", err)
	}
	if _, err := os.Stat(filepath.Dir(root)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made a directory: %v", err)
	}

	storetest.Put(t, s, "k", []byte("x"))
	info, err := os.Stat(root)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), fs.FileMode(0o700); got != want {
		t.Errorf("the root's mode: got %o, want %o", got, want)
	}
	if got := storetest.Keys(t, s.List(ctx, "", "")); len(got) != 1 {
		t.Errorf("list: got %q, want k", got)
	}
}

func TestRootIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if _, err := s.Stat(t.Context(), "k"); !errors.Is(err, snapshot.ErrNoStore) {
		t.Errorf("stat: got error %v, want %v", err, snapshot.ErrNoStore)
	}
	if _, err := s.Create(t.Context(), "k"); err == nil {
		t.Error("create: want an error")
	}
}

func TestModes(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	w, err := s.Create(t.Context(), "a/b/k")
	if err != nil {
		t.Fatal(err)
	}
	mode := func(path string) fs.FileMode {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	temps, err := filepath.Glob(filepath.Join(root, "a/b/.k.tmp-*"))
	if err != nil || len(temps) != 1 {
		t.Fatalf("temporary files: got %q and error %v, want one", temps, err)
	}
	if got := mode(temps[0]); got != 0o600 {
		t.Errorf("while writing: got %o, want 600", got)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{"a": 0o700, "a/b": 0o700, "a/b/k": 0o400} {
		if got := mode(filepath.Join(root, path)); got != want {
			t.Errorf("%s: got %o, want %o", path, got, want)
		}
	}
	if err := s.Remove(t.Context(), "a/b/k"); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(root)
	if err != nil || len(left) != 0 {
		t.Errorf("after remove: got %v and error %v, want an empty root", left, err)
	}
}

func TestLongName(t *testing.T) {
	s := open(t, t.TempDir())
	key := "d/" + strings.Repeat("x", 255)
	storetest.Put(t, s, key, []byte("x"))
	if _, err := s.Stat(t.Context(), key); err != nil {
		t.Error(err)
	}
}

func TestTemporaryNamesAreReserved(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Create(t.Context(), "a/.k.tmp-0123456789abcdef"); err == nil {
		t.Error("create: want an error")
	}
}

func TestLinksDoNotLeadOut(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	s := open(t, root)
	ctx := t.Context()
	if _, err := s.Open(ctx, "out/secret", 0, -1); err == nil {
		t.Error("open: want an error")
	}
	if w, err := s.Create(ctx, "out/new"); err == nil {
		w.Abort()
		t.Error("create: want an error")
	}
	if err := s.Remove(ctx, "out/secret"); err == nil {
		t.Error("remove: want an error")
	}
	if got := storetest.Keys(t, s.List(ctx, "", "")); got != nil {
		t.Errorf("list: got %q, want nothing", got)
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Error(err)
	}
}

func TestObjectCutWhileRead(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	storetest.Put(t, s, "k", make([]byte, 1000))
	r, err := s.Open(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join(root, "k")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 400); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if len(got) != 400 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d bytes and error %v, want 400 and %v", len(got), err, io.ErrUnexpectedEOF)
	}
}

// A network file system may report our own success as a clash.
func TestClashWithOurselves(t *testing.T) {
	s := open(t, t.TempDir())
	dir.WithLostAnswer(s)
	if err := storetest.TryPut(t.Context(), s, "a/k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := storetest.TryPut(t.Context(), s, "a/k", []byte("y")); !errors.Is(err, snapshot.ErrExists) {
		t.Errorf("second writer: got error %v, want %v", err, snapshot.ErrExists)
	}
	if got := storetest.Keys(t, s.Abandoned(t.Context())); got != nil {
		t.Errorf("leftovers: got %q, want none", got)
	}
}

func TestOtherFilesAreNotObjects(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	storetest.Put(t, s, "k", []byte("x"))
	if err := os.Symlink("k", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Keys(t, s.List(t.Context(), "", "")); len(got) != 1 {
		t.Errorf("list: got %q, want k", got)
	}
	if _, err := s.Open(t.Context(), "link", 0, -1); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("open: got error %v, want %v", err, snapshot.ErrNotFound)
	}
}
