package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"rqvault/internal/snapshot"
)

const (
	racers     = 16
	raceRounds = 60

	largeRacers = 4
	largeRounds = 3
	largeRace   = 6 * mib
)

func testOverwrite(t *testing.T, s snapshot.Store) {
	first := []byte("first")
	Put(t, s, "k", first)
	for _, data := range [][]byte{[]byte("second"), first, nil, Bytes(severalParts)} {
		err := TryPut(t.Context(), s, "k", data)
		wantError(t, fmt.Sprintf("overwrite by %d bytes", len(data)), err, snapshot.ErrExists)
	}
	wantObject(t, s, "k", first)
	if got := Keys(t, s.Abandoned(t.Context())); got != nil {
		t.Errorf("leftovers: got %q, want none", got)
	}
}

func testRace(t *testing.T, s snapshot.Store) { race(t, s, racers, raceRounds, 0) }

func testLargeRace(t *testing.T, s snapshot.Store) { race(t, s, largeRacers, largeRounds, largeRace) }

// race lets writers with different bytes commit the same key at the same moment.
func race(t *testing.T, s snapshot.Store, writers, rounds, size int) {
	for round := range rounds {
		key := fmt.Sprintf("race/%d", round)
		errs := make([]error, writers)
		bodies := make([][]byte, writers)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range writers {
			bodies[i] = append(Bytes(size), fmt.Sprintf("writer %d", i)...)
			w, err := s.Create(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer w.Abort()
				if _, errs[i] = w.Write(bodies[i]); errs[i] != nil {
					return
				}
				<-start
				errs[i] = w.Commit(t.Context())
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: writers %d and %d both won", round, winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, snapshot.ErrExists):
				t.Fatalf("round %d: got error %v, want %v", round, err, snapshot.ErrExists)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		wantObject(t, s, key, bodies[winner])
	}
	if got := Keys(t, s.Abandoned(t.Context())); got != nil {
		t.Errorf("leftovers: got %q, want none", got)
	}
}

// half returns a writer that has taken enough for a store to have sent some of it.
func half(ctx context.Context, t *testing.T, s snapshot.Store, key string) snapshot.Writer {
	t.Helper()
	w, err := s.Create(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(Bytes(severalParts)); err != nil {
		t.Fatal(err)
	}
	return w
}

func testInvisible(t *testing.T, s snapshot.Store) {
	ctx := t.Context()
	Put(t, s, "dir/before", nil)
	w := half(ctx, t, s, "dir/k")
	defer w.Abort()
	_, err := s.Stat(ctx, "dir/k")
	wantError(t, "stat", err, snapshot.ErrNotFound)
	_, err = s.Open(ctx, "dir/k", 0, -1)
	wantError(t, "open", err, snapshot.ErrNotFound)
	if got := Keys(t, s.List(ctx, "", "")); !slices.Equal(got, []string{"dir/before"}) {
		t.Errorf("list: got %q, want only dir/before", got)
	}
	if err := w.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	wantObject(t, s, "dir/k", Bytes(severalParts))
}

func testAbort(t *testing.T, s snapshot.Store) {
	for _, size := range []int{0, 3, severalParts} {
		w, err := s.Create(t.Context(), "dir/k")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(Bytes(size)); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		w.Abort()
		Empty(t, s)
		if err := w.Commit(t.Context()); err == nil {
			t.Error("commit after abort: want an error")
		}
		Empty(t, s)
	}
}

func testCancelledWrite(t *testing.T, s snapshot.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	w := half(ctx, t, s, "dir/k")
	cancel()
	_, err := w.Write(Bytes(severalParts))
	wantError(t, "write", err, context.Canceled)
	wantError(t, "commit", w.Commit(t.Context()), context.Canceled)
	w.Abort()
	Empty(t, s)

	// Only Abort follows.
	ctx, cancel = context.WithCancel(t.Context())
	w = half(ctx, t, s, "dir/k")
	cancel()
	w.Abort()
	Empty(t, s)
}

func testCancelledCommit(t *testing.T, s snapshot.Store) {
	for _, size := range []int{3, severalParts} {
		w, err := s.Create(t.Context(), "dir/k")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(Bytes(size)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantError(t, "commit", w.Commit(ctx), context.Canceled)
		w.Abort()
		Empty(t, s)
	}
}

func testFinished(t *testing.T, s snapshot.Store) {
	w, err := s.Create(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := w.Write([]byte("y")); err == nil {
		t.Error("write after commit: want an error")
	}
	if err := w.Commit(t.Context()); err == nil {
		t.Error("second commit: want an error")
	}
	wantObject(t, s, "k", []byte("x"))
}

func testRemove(t *testing.T, s snapshot.Store) {
	Put(t, s, "a/b/c", []byte("x"))
	Put(t, s, "a/d", []byte("y"))
	for range 2 {
		if err := s.Remove(t.Context(), "a/b/c"); err != nil {
			t.Fatal(err)
		}
		_, err := s.Stat(t.Context(), "a/b/c")
		wantError(t, "stat", err, snapshot.ErrNotFound)
	}
	wantObject(t, s, "a/d", []byte("y"))
	// What is left of directories must not keep a key from being used.
	Put(t, s, "a/b", []byte("z"))
	if err := s.Remove(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	Put(t, s, "a/b/c", []byte("again"))
	wantObject(t, s, "a/b/c", []byte("again"))
}

func testLeftovers(t *testing.T, s snapshot.Store) {
	ctx := t.Context()
	before := time.Now().Add(-time.Minute)
	w := half(ctx, t, s, "dir/k")
	defer w.Abort()
	var found []snapshot.Object
	for o, err := range s.Abandoned(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, o)
	}
	if len(found) != 1 || found[0].Modified.Before(before) {
		t.Fatalf("leftovers: got %+v, want one from now", found)
	}
	if got := Keys(t, s.List(ctx, "", "")); got != nil {
		t.Errorf("list: got %q, want nothing", got)
	}
	for range 2 {
		if err := s.Discard(ctx, found[0]); err != nil {
			t.Fatal(err)
		}
	}
	// Parts of a writer that is still alive may arrive after its upload was discarded, and
	// some services take them as if nothing had been: then all of them are there.
	if err := w.Commit(ctx); err == nil {
		wantObject(t, s, "dir/k", Bytes(severalParts))
		if err := s.Remove(ctx, "dir/k"); err != nil {
			t.Fatal(err)
		}
	}
	w.Abort()
	Empty(t, s)

	Put(t, s, "dir/k", []byte("x"))
	if err := s.Discard(ctx, snapshot.Object{Key: "dir/k"}); err == nil {
		t.Error("discard of an object: want an error")
	}
	wantObject(t, s, "dir/k", []byte("x"))
}

func testConcurrent(t *testing.T, s snapshot.Store) {
	const workers, rounds = 8, 10
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for round := range rounds {
				// Each round leaves its directories empty while others make theirs.
				key := fmt.Sprintf("shared/%d/%d", round%2, i)
				want := fmt.Appendf(nil, "%d of %d", i, round)
				if err := TryPut(t.Context(), s, key, want); err != nil {
					t.Error(err)
					return
				}
				got, err := Get(t.Context(), s, key, 0, -1)
				if err != nil || string(got) != string(want) {
					t.Errorf("%s: got %q and error %v, want %q", key, got, err, want)
				}
				if err := firstError(s.List(t.Context(), "shared/", "")); err != nil {
					t.Error(err)
				}
				if err := s.Remove(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	Empty(t, s)
}
