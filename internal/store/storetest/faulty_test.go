package storetest_test

import (
	"errors"
	"testing"

	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
	"rqvault/internal/store/storetest"
)

func open(t *testing.T) snapshot.Store {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// flow uses every operation once at least and stops at the first error.
func flow(t *testing.T, s snapshot.Store) error {
	ctx := t.Context()
	if err := storetest.TryPut(ctx, s, "a", []byte("x")); err != nil {
		return err
	}
	if _, err := storetest.Get(ctx, s, "a", 0, -1); err != nil {
		return err
	}
	if _, err := s.Stat(ctx, "a"); err != nil {
		return err
	}
	for _, err := range s.List(ctx, "", "") {
		if err != nil {
			return err
		}
	}
	for _, err := range s.Abandoned(ctx) {
		if err != nil {
			return err
		}
	}
	if err := s.Discard(ctx, snapshot.Object{Key: ".a.tmp-0123456789abcdef"}); err != nil {
		return err
	}
	return s.Remove(ctx, "a")
}

func TestFaultyContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) snapshot.Store { return storetest.NewFaulty(open(t), -1) })
}

func TestFaultWalk(t *testing.T) {
	counted := storetest.NewFaulty(open(t), -1)
	if err := flow(t, counted); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		inner := open(t)
		f := storetest.NewFaulty(inner, n)
		err := flow(t, f)
		if !f.Failed() {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, storetest.ErrInjected) {
			t.Errorf("operation %d: got error %v, want %v", n, err, storetest.ErrInjected)
		}
		if got, want := f.Operations(), n+1; got != want {
			t.Errorf("operation %d: the flow went on to %d", n, got)
		}
		if got := storetest.Keys(t, inner.Abandoned(t.Context())); got != nil {
			t.Errorf("operation %d: leftovers %q", n, got)
		}
	}
	if got, want := n, counted.Operations(); got != want {
		t.Errorf("faults met: got %d, want %d", got, want)
	}
}

func TestCrash(t *testing.T) {
	inner := open(t)
	f := storetest.NewCrashing(inner, 1) // the write
	if err := storetest.TryPut(t.Context(), f, "a", []byte("x")); !errors.Is(err, storetest.ErrInjected) {
		t.Errorf("got error %v, want %v", err, storetest.ErrInjected)
	}
	if _, err := f.Stat(t.Context(), "a"); !errors.Is(err, storetest.ErrInjected) {
		t.Errorf("after the crash: got error %v, want %v", err, storetest.ErrInjected)
	}
	left := 0
	for o, err := range inner.Abandoned(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		left++
		if err := inner.Discard(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
	if left != 1 {
		t.Errorf("leftovers: got %d, want 1", left)
	}
	storetest.Empty(t, inner)
}
