package backup_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
	"rqvault/internal/store/storetest"
)

// TestAStoreThatFailsOnceAtAnyOperation lets the store refuse operation 0, 1, 2 … of a
// backup. Each time: the backup either says so and leaves nothing behind, or it did not
// need that operation; the earlier snapshot stays whole; the next run succeeds.
func TestAStoreThatFailsOnceAtAnyOperation(t *testing.T) {
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
	refused := 0
	for at := 0; ; at++ {
		faulty := storetest.NewFaulty(disk, at)
		_, m, err := save(t, faulty)
		if !faulty.Failed() {
			if err != nil {
				t.Fatalf("without a fault: %v", err)
			}
			break
		}
		whole(t, cat, first.ID)
		ids, listErr := cat.IDs(t.Context())
		if listErr != nil {
			t.Fatal(listErr)
		}
		if err == nil {
			if !slices.Equal(ids, []snapshot.ID{first.ID, m.ID}) {
				t.Fatalf("fault at operation %d: success, but listed are %v", at, ids)
			}
			whole(t, cat, m.ID)
			drop(t, disk, m.ID)
			continue
		}
		refused++
		if !errors.Is(err, storetest.ErrInjected) {
			t.Errorf("fault at operation %d: the error hides its cause: %v", at, err)
		}
		for _, id := range ids[1:] {
			t.Errorf("fault at operation %d: %s is listed, though the backup failed: %v", at, id, err)
		}
		if got := files(t, root); !slices.Equal(got, before) {
			// Once the manifest was tried its outcome could be in doubt, so nothing is removed:
			// that is left to prune.
			if !strings.Contains(err.Error(), "manifest.json") {
				t.Errorf("fault at operation %d (%v): left behind\n%q\nbefore\n%q", at, err, got, before)
			}
			before = got
		}
		_, m, err = save(t, disk)
		if err != nil {
			t.Fatalf("the run after a fault at operation %d: %v", at, err)
		}
		whole(t, cat, m.ID)
		drop(t, disk, m.ID)
	}
	if refused < 15 {
		t.Errorf("only %d operations were refused: the walk does not see what it should", refused)
	}
}
