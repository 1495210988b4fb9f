package backup_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/backup"
	"rqvault/internal/s3test"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
	"rqvault/internal/store/storetest"
)

// plant commits a snapshot of a few bytes, as if it had been taken then.
func plant(t testing.TB, cat *snapshot.Catalog, created time.Time, change func(*snapshot.Manifest)) snapshot.ID {
	t.Helper()
	d, err := cat.Begin(t.Context(), created, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := &snapshot.Manifest{CreatedAt: created, FinishedAt: created, ToolVersion: "test", Via: "sync", Atomic: true,
		Dump: snapshot.Dump{Format: "Redis RDB 10", Checksum: "verified", Size: 10}, Warnings: []string{}}
	for _, name := range []string{snapshot.DumpName, snapshot.JobsName, snapshot.KeysName} {
		w, err := d.Create(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
		o, err := w.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m.Objects = append(m.Objects, o)
	}
	if change != nil {
		change(m)
	}
	if err := d.Commit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

func stamp(t testing.TB, cat *snapshot.Catalog, id snapshot.ID, ok bool, at time.Time) {
	t.Helper()
	if err := cat.Stamp(t.Context(), snapshot.Verification{Snapshot: id, At: at, OK: ok}); err != nil {
		t.Fatal(err)
	}
}

func catalogIn(t testing.TB, s snapshot.Store) *snapshot.Catalog {
	t.Helper()
	cat, err := snapshot.NewCatalog(s, "default")
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func local(t testing.TB) (*snapshot.Catalog, *dir.Store) {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return catalogIn(t, s), s
}

// prune does what the command does, as if a day had passed since.
func prune(ctx context.Context, s snapshot.Store, keep backup.Keep, now time.Time) error {
	cat, err := snapshot.NewCatalog(s, "default")
	if err != nil {
		return err
	}
	r, err := backup.Retain(ctx, cat, keep, now)
	if err != nil {
		return err
	}
	left, err := cat.Garbage(ctx, time.Now().Add(25*time.Hour))
	if err != nil {
		return err
	}
	if _, err := cat.Rescan(ctx); err != nil {
		return err
	}
	if err := r.Remove(ctx, nil); err != nil {
		return err
	}
	return cat.Sweep(ctx, left)
}

// wholeAll fails the test unless every snapshot that is listed has all its objects, and the
// one to keep is among them.
func wholeAll(t testing.TB, cat *snapshot.Catalog, must snapshot.ID, when string) {
	t.Helper()
	ids, err := cat.IDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(ids, must) {
		t.Fatalf("%s: %s is gone, listed are %v", when, must, ids)
	}
	committed, err := cat.Committed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range committed {
		m, err := cat.Manifest(t.Context(), id)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		for _, o := range m.Objects {
			r, err := cat.Open(t.Context(), m, o.Name)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				err = errors.Join(err, r.Close())
			}
			if err != nil {
				t.Fatalf("%s: %s exists, but %v", when, id, err)
			}
		}
	}
}

// population is a store in which the policy "last 1" takes one of two snapshots, with all
// that can be beside it.
func population(t testing.TB, cat *snapshot.Catalog, now time.Time) (kept snapshot.ID) {
	t.Helper()
	created := now.Add(-10 * time.Hour)
	id := plant(t, cat, created, nil)
	stamp(t, cat, id, true, created.Add(time.Minute))
	if err := cat.StoreIncident(t.Context(), id, "diff.json", strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	// A freeze that was lifted goes with its snapshot, and must not stand again.
	if err := cat.Freeze(t.Context(), snapshot.Freeze{Snapshot: id, Since: created}); err != nil {
		t.Fatal(err)
	}
	if err := cat.Thaw(t.Context(), snapshot.Thaw{Snapshot: id, At: created}); err != nil {
		t.Fatal(err)
	}
	kept = plant(t, cat, now.Add(-time.Hour), nil)
	stamp(t, cat, kept, true, now)
	return kept
}

func allKeys(t testing.TB, s snapshot.Store) []string {
	t.Helper()
	return storetest.Keys(t, s.List(t.Context(), "", ""))
}

// walkRemoval lets operation 0, 1, 2 … of a prune fail, in two ways: only that one, and
// all from that one on. After each failure every snapshot that is listed is whole, and the
// next prune leaves just what one without a fault does.
//
// fresh returns such a population in a store of its own.
func walkRemoval(t *testing.T, now time.Time, fresh func() (snapshot.Store, snapshot.ID), step int) {
	keep := backup.Keep{Last: 1}
	for name, wrap := range map[string]func(snapshot.Store, int) *storetest.Faulty{"failed": storetest.NewFaulty, "crashed": storetest.NewCrashing} {
		refused := 0
		for at := 0; ; at += step {
			s, must := fresh()
			cat := catalogIn(t, s)
			faulty := wrap(s, at)
			err := prune(t.Context(), faulty, keep, now)
			if !faulty.Failed() {
				if err != nil {
					t.Fatalf("without a fault: %v", err)
				}
				break
			}
			if err == nil {
				t.Errorf("operation %d %s, and nobody said so", at, name)
			} else if !errors.Is(err, storetest.ErrInjected) {
				t.Errorf("operation %d %s: the error hides its cause: %v", at, name, err)
			}
			refused++
			wholeAll(t, cat, must, name)
			if err := prune(t.Context(), s, keep, now); err != nil {
				t.Fatalf("the prune after operation %d %s: %v", at, name, err)
			}
			wholeAll(t, cat, must, name)
			for _, key := range allKeys(t, s) {
				if key != "rqvault.json" && !strings.Contains(key, string(must)) {
					t.Errorf("operation %d %s: the next prune leaves %s", at, name, key)
				}
			}
		}
		if refused < 30/step {
			t.Errorf("only %d operations %s: the walk does not see what it should", refused, name)
		}
	}
}

func TestRemovalThatFailsAtAnyOperation(t *testing.T) {
	t.Parallel()
	now := time.Now()
	model := t.TempDir()
	s, err := dir.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	must := population(t, catalogIn(t, s), now)
	walkRemoval(t, now, func() (snapshot.Store, snapshot.ID) {
		root := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(root, os.DirFS(model)); err != nil {
			t.Fatal(err)
		}
		s, err := dir.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		return s, must
	}, 1)
}

func TestRemovalThatFailsAtAnyOperationInS3(t *testing.T) {
	server := s3test.Start(t)
	now, n := time.Now(), 0
	walkRemoval(t, now, func() (snapshot.Store, snapshot.ID) {
		n++
		s := server.Store(t, fmt.Sprintf("walk/%d", n))
		return s, population(t, catalogIn(t, s), now)
	}, 2)
}

// reasons returns what was decided of each snapshot.
func reasons(r *backup.Retention) map[snapshot.ID]string {
	said := map[snapshot.ID]string{}
	for _, s := range r.Snapshots {
		said[s.ID] = strings.Join(s.Reasons, ", ")
	}
	return said
}

func retain(t testing.TB, cat *snapshot.Catalog, keep backup.Keep, now time.Time) *backup.Retention {
	t.Helper()
	r, err := backup.Retain(t.Context(), cat, keep, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatRetentionSpares(t *testing.T) {
	cat, _ := local(t)
	now := time.Now()
	day := func(n int) time.Time { return now.Add(-time.Duration(n) * 24 * time.Hour) }
	long := plant(t, cat, day(50), nil)
	before := plant(t, cat, day(20), func(m *snapshot.Manifest) {
		m.Lineage.Break = &snapshot.Break{Snapshot: long, At: day(31)}
	})
	pinned := plant(t, cat, day(9), nil)
	proven := plant(t, cat, day(8), nil)
	rotten := plant(t, cat, day(7), nil)
	torn := plant(t, cat, day(6), func(m *snapshot.Manifest) {
		m.Lineage.Break = &snapshot.Break{Snapshot: before, At: day(6)}
	})
	newest := plant(t, cat, day(1), nil)
	if err := cat.Pin(t.Context(), snapshot.Pin{Snapshot: pinned, At: now, Reason: "year end"}); err != nil {
		t.Fatal(err)
	}
	keep := backup.Keep{Last: 1}

	r := retain(t, cat, keep, now)
	if err := r.Check(); !errors.Is(err, backup.ErrUnproven) {
		t.Errorf("nothing was ever verified: got %v", err)
	}
	if err := r.Remove(t.Context(), nil); !errors.Is(err, backup.ErrUnproven) {
		t.Errorf("remove all the same: got %v", err)
	}
	stamp(t, cat, proven, true, day(7))
	stamp(t, cat, rotten, true, day(7))
	stamp(t, cat, rotten, false, day(5))

	r = retain(t, cat, keep, now)
	want := map[snapshot.ID]string{
		long:   "no rule keeps it", // what was lost then is more than NeededFor ago
		before: "from before Redis lost data (" + day(6).UTC().Format(time.RFC3339) + ")",
		pinned: "pinned: year end", proven: "newest verified", rotten: "damaged, and no rule keeps it",
		torn: "no rule keeps it", newest: "newest, last 1",
	}
	if got := reasons(r); !maps.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	// A person's word lets it go.
	if err := cat.Thaw(t.Context(), snapshot.Thaw{Snapshot: before, At: now}); err != nil {
		t.Fatal(err)
	}
	if got := reasons(retain(t, cat, keep, now))[before]; got != "no rule keeps it" {
		t.Errorf("after the thaw: got %q", got)
	}
	// What is pinned after the look is spared, and who is asked may stop it.
	r = retain(t, cat, keep, now)
	if err := cat.Pin(t.Context(), snapshot.Pin{Snapshot: torn, At: now}); err != nil {
		t.Fatal(err)
	}
	stop, asked := errors.New("the lease is gone"), 0
	err := r.Remove(t.Context(), func(context.Context) error {
		if asked++; asked > 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
	if err := retain(t, cat, keep, now).Remove(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ids, err := cat.IDs(t.Context())
	if left := []snapshot.ID{pinned, proven, torn, newest}; err != nil || !slices.Equal(ids, left) {
		t.Errorf("left are %v (%v), want %v", ids, err, left)
	}
}

func TestAFreezeStopsEverything(t *testing.T) {
	cat, s := local(t)
	now := time.Now()
	must := population(t, cat, now)
	before := allKeys(t, s)
	r := retain(t, cat, backup.Keep{Last: 1}, now)
	if err := cat.Freeze(t.Context(), snapshot.Freeze{Snapshot: must, Since: now, Reasons: []string{"0 of 9 jobs are left"}}); err != nil {
		t.Fatal(err)
	}
	// It came after the look.
	if err := r.Remove(t.Context(), nil); !errors.Is(err, backup.ErrFrozen) || !strings.Contains(err.Error(), "0 of 9 jobs are left") {
		t.Errorf("got %v, want %v", err, backup.ErrFrozen)
	}
	if err := retain(t, cat, backup.Keep{Last: 1}, now).Check(); !errors.Is(err, backup.ErrFrozen) {
		t.Errorf("got %v, want %v", err, backup.ErrFrozen)
	}
	if got := allKeys(t, s); len(got) != len(before)+1 {
		t.Errorf("%d objects are left of %d and the freeze", len(got), len(before))
	}
	for range 2 {
		if err := cat.Thaw(t.Context(), snapshot.Thaw{Snapshot: must, At: now}); err != nil {
			t.Fatal(err)
		}
	}
	if err := retain(t, cat, backup.Keep{Last: 1}, now).Remove(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wholeAll(t, cat, must, "after the thaw")
}
