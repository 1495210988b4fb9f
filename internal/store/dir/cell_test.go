package dir_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rqvault/internal/lease"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
	"rqvault/internal/store/storetest"
)

func cell(t testing.TB, root string) lease.Cell {
	t.Helper()
	s, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Cell("leases/x.json")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCell(t *testing.T) {
	root := filepath.Join(t.TempDir(), "not", "there", "yet")
	storetest.RunCell(t, func(t testing.TB) lease.Cell { return cell(t, root) })
	s := open(t, root)
	if got := storetest.Keys(t, s.List(t.Context(), "", "")); len(got) != 1 || got[0] != "leases/x.json" {
		t.Errorf("the store lists %q", got)
	}
	if got := storetest.Keys(t, s.Abandoned(t.Context())); got != nil {
		t.Errorf("left behind: %q", got)
	}
}

// A process that was stopped while it had the lock keeps others from writing, and not from
// reading or from giving up.
func TestCellWhoseLockSomebodyKeeps(t *testing.T) {
	root := t.TempDir()
	c := cell(t, root)
	tag, err := c.Swap(t.Context(), "", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(filepath.Join(root, "leases"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Swap(ctx, tag, []byte("2")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, lease.ErrMoved) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	if v, now, err := c.Load(t.Context()); string(v) != "1" || now != tag || err != nil {
		t.Errorf("got %q, tag %q, error %v", v, now, err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Swap(t.Context(), tag, []byte("2")); err != nil {
		t.Error(err)
	}
	if got := storetest.Keys(t, open(t, root).Abandoned(t.Context())); got != nil {
		t.Errorf("left behind: %q", got)
	}
}

func TestCellThatIsNone(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if _, err := s.Cell("../x"); err == nil {
		t.Error("a key that leads out is accepted")
	}
	if err := os.WriteFile(filepath.Join(root, "leases"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cell(t, root).Swap(t.Context(), "", []byte("1")); err == nil || errors.Is(err, lease.ErrMoved) {
		t.Errorf("its directory is a file: got error %v", err)
	}
	if _, _, err := cell(t, filepath.Join(root, "leases")).Load(t.Context()); !errors.Is(err, snapshot.ErrNoStore) {
		t.Errorf("its root is a file: got error %v", err)
	}
	storetest.Put(t, s, "big", make([]byte, lease.MaxValue+1))
	big, err := s.Cell("big")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := big.Load(t.Context()); err == nil {
		t.Error("a value without bounds is read")
	}
}
