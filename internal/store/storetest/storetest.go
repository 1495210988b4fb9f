// Package storetest is the contract of snapshot.Store as tests, the same for every
// kind of store, and a store that fails on demand for the tests of its users.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"testing"

	"rqvault/internal/snapshot"
)

const (
	mib = 1 << 20
	// severalParts is more than two parts of the smallest size that S3 allows, so
	// that a store that splits objects has some on their way.
	severalParts = 12 * mib
)

// Run checks a store against the contract. Each call of open returns another empty
// store; one that splits objects should do so at 5 MiB, so that the tests cover it.
func Run(t *testing.T, open func(t *testing.T) snapshot.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s snapshot.Store)
	}{
		{"whole objects come back", testRoundTrip},
		{"ranges", testRanges},
		{"a missing object", testMissing},
		{"invalid keys", testInvalidKeys},
		{"overwriting is refused", testOverwrite},
		{"one of many writers wins", testRace},
		{"one of many writers of large objects wins", testLargeRace},
		{"nothing shows before commit", testInvisible},
		{"abort leaves nothing", testAbort},
		{"cancelled while writing", testCancelledWrite},
		{"cancelled before commit", testCancelledCommit},
		{"cancelled calls", testCancelledCalls},
		{"a finished writer", testFinished},
		{"order of odd names", testOrder},
		{"listing by prefix and start", testListParts},
		{"remove", testRemove},
		{"leftovers", testLeftovers},
		{"many at once", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Bytes returns n bytes that do not compress and depend only on n.
func Bytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(data) // never fails
	return data
}

// Put stores one object.
func Put(t testing.TB, s snapshot.Store, key string, data []byte) {
	t.Helper()
	if err := TryPut(t.Context(), s, key, data); err != nil {
		t.Fatal(err)
	}
}

// TryPut stores one object and returns the error that a careful caller would see:
// it gives up what it cannot commit.
func TryPut(ctx context.Context, s snapshot.Store, key string, data []byte) error {
	w, err := s.Create(ctx, key)
	if err != nil {
		return err
	}
	defer w.Abort()
	for len(data) > 0 {
		step := data[:min(len(data), mib)]
		n, err := w.Write(step)
		if err != nil {
			return err
		}
		if n != len(step) {
			return io.ErrShortWrite
		}
		data = data[n:]
	}
	return w.Commit(ctx)
}

// Get reads a range, or with 0 and -1 the whole object.
func Get(ctx context.Context, s snapshot.Store, key string, offset, length int64) ([]byte, error) {
	r, err := s.Open(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

// Keys collects what List or Abandoned yields and fails the test at an error.
func Keys(t testing.TB, seq iter.Seq2[snapshot.Object, error]) []string {
	t.Helper()
	var keys []string
	for o, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// Empty fails the test unless the store shows no object and keeps no leftover.
func Empty(t testing.TB, s snapshot.Store) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	for what, seq := range map[string]iter.Seq2[snapshot.Object, error]{
		"objects": s.List(ctx, "", ""), "leftovers": s.Abandoned(ctx),
	} {
		for o, err := range seq {
			if errors.Is(err, snapshot.ErrNoStore) {
				break // never written to
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Errorf("%s: got %s, want none", what, o.Key)
		}
	}
}

// wantObject fails the test unless the object holds exactly want.
func wantObject(t testing.TB, s snapshot.Store, key string, want []byte) {
	t.Helper()
	got, err := Get(t.Context(), s, key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s holds other bytes (%d of them) than were written (%d)", key, len(got), len(want))
	}
}

// wantError fails the test unless err is target.
func wantError(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got error %v, want %v", what, err, target)
	}
}

// firstError runs through a listing and returns its error.
func firstError(seq iter.Seq2[snapshot.Object, error]) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}
