package backup_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/backup"
	"rqvault/internal/redistest"
	"rqvault/internal/rq"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
	"rqvault/internal/store/storetest"
	"rqvault/verify"
)

// held is a store that gives out bytes the test may change.
type held map[string][]byte

func (h held) Open(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	b, ok := h[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, snapshot.ErrNotFound)
	}
	if length < 0 {
		length = int64(len(b)) - offset
	}
	return io.NopCloser(bytes.NewReader(b[offset : offset+length])), nil
}

func (h held) Stat(_ context.Context, key string) (snapshot.Object, error) {
	return snapshot.Object{Key: key, Size: int64(len(h[key]))}, nil
}

func (h held) List(_ context.Context, prefix, after string) iter.Seq2[snapshot.Object, error] {
	return func(yield func(snapshot.Object, error) bool) {
		for _, k := range slices.Sorted(maps.Keys(h)) {
			if strings.HasPrefix(k, prefix) && k > after && !yield(snapshot.Object{Key: k, Size: int64(len(h[k]))}, nil) {
				return
			}
		}
	}
}

// The rest of a store is not needed to read.

func (h held) Create(context.Context, string) (snapshot.Writer, error) {
	return nil, snapshot.ErrDenied
}
func (h held) Remove(context.Context, string) error { return snapshot.ErrDenied }
func (h held) Abandoned(context.Context) iter.Seq2[snapshot.Object, error] {
	return func(func(snapshot.Object, error) bool) {}
}
func (h held) Discard(context.Context, snapshot.Object) error { return snapshot.ErrDenied }
func (h held) String() string                                 { return "memory" }

// tiny makes a snapshot of one job and gives out its store.
func tiny(t testing.TB) (held, *snapshot.Catalog, snapshot.ID) {
	t.Helper()
	s := redistest.Start(t)
	redistest.RQ(t, s, `
import os, redis
from rq import Queue
Queue('q', connection=redis.from_url(os.environ['REDIS_URL'])).enqueue('os.getpid', job_id='a')
`)
	s.Save()
	root := t.TempDir()
	disk, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := snapshot.NewCatalog(disk, "default")
	if err != nil {
		t.Fatal(err)
	}
	m, err := backup.Save(t.Context(), backup.Options{Catalog: cat, Source: fileSource{s.DumpPath()}, Schema: rq.Schema{},
		Now: time.Now, Random: rand.Reader, ToolVersion: "test"})
	if err != nil {
		t.Fatal(err)
	}
	h := held{}
	for _, name := range []string{snapshot.DumpName, snapshot.JobsName, snapshot.KeysName, "manifest.json"} {
		key := "default/snapshots/" + string(m.ID) + "/" + name
		if h[key], err = storetest.Get(t.Context(), disk, key, 0, -1); err != nil {
			t.Fatal(err)
		}
	}
	cat, err = snapshot.NewCatalog(h, "default")
	if err != nil {
		t.Fatal(err)
	}
	return h, cat, m.ID
}

// sees reports whether anything is found to be wrong with a snapshot.
func sees(t testing.TB, cat *snapshot.Catalog, id snapshot.ID, temp string) bool {
	t.Helper()
	m, err := cat.Manifest(t.Context(), id)
	if err != nil {
		return true
	}
	problems, err := verify.Stored(t.Context(), m, verify.StoredOptions{Catalog: cat, Schema: rq.Schema{}, TempDir: temp})
	if err != nil {
		t.Fatalf("damage must be a finding: %v", err)
	}
	return len(problems) > 0
}

// TestEverySingleBitThatFlipsInAStoredSnapshotIsFound flips each bit of each of the four
// objects in turn, and cuts each at every length. The tables are long, so most of their
// bits are only put through the check by which a verify fetches them, and one in
// sampled through the whole of it.
func TestEverySingleBitThatFlipsInAStoredSnapshotIsFound(t *testing.T) {
	const sampled = 199
	h, cat, id := tiny(t)
	temp := t.TempDir()
	if sees(t, cat, id, temp) {
		t.Fatal("the undamaged snapshot is found damaged")
	}
	m, err := cat.Manifest(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(h)) {
		name, b := filepath.Base(key), h[key]
		found := func(n int) bool {
			if !strings.HasSuffix(name, ".parquet") || n%sampled == 0 {
				return sees(t, cat, id, temp)
			}
			f, _, err := cat.Spool(t.Context(), m, name, temp)
			if err == nil {
				_ = f.Close()
			}
			return errors.Is(err, snapshot.ErrDamaged)
		}
		for bit := range 8 * len(b) {
			b[bit/8] ^= 1 << (bit % 8)
			if !found(bit) {
				t.Errorf("%s: bit %d of byte %d flipped unnoticed", name, bit%8, bit/8)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
		for n := range b {
			h[key] = b[:n]
			if !found(n) {
				t.Errorf("%s: cut to %d of %d bytes unnoticed", name, n, len(b))
			}
		}
		h[key] = b
	}
	if sees(t, cat, id, temp) {
		t.Fatal("the test has left damage")
	}
}
