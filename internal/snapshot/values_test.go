package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"rqvault/internal/snapshot"
)

// stored is one snapshot in a directory, with its raw dump at hand.
type stored struct {
	c    *snapshot.Catalog
	m    *snapshot.Manifest
	s    snapshot.Store
	root string
	raw  []byte
}

func store(t testing.TB) *stored {
	t.Helper()
	s, root := newStore(t)
	c := catalogOf(t, s)
	return &stored{c: c, m: commit(t, c, taken, 5), s: s, root: root, raw: bytes.Join(frames(5), nil)}
}

func (s *stored) dump() string { return path(s.root, s.m, snapshot.DumpName) }

func (s *stored) values(t testing.TB) *snapshot.Values {
	t.Helper()
	v, err := s.c.Values(t.Context(), s.m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func TestValuesFromAnyPlace(t *testing.T) {
	s := store(t)
	for _, unpacked := range []string{"", "file", "memory"} {
		v := s.values(t)
		if unpacked != "" {
			dir, inMemory := t.TempDir(), int64(0)
			if unpacked == "memory" {
				inMemory = s.m.Dump.Size
			}
			for range 2 {
				if err := v.Unpack(t.Context(), dir, inMemory); err != nil {
					t.Fatal(err)
				}
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("unpacking left %v in its directory (%v)", left, err)
			}
		}
		check := func(from, n int) {
			t.Helper()
			got, err := v.Read(t.Context(), int64(from), int64(n))
			if err != nil || !bytes.Equal(got, s.raw[from:from+n]) {
				t.Errorf("%d+%d, unpacked %q: got %q, %v, want %q", from, n, unpacked, got, err, s.raw[from:from+n])
			}
		}
		edges := []int{0, 9, 10, 11, 30, 31, 32, 33, len(s.raw) - 1, len(s.raw)} // of frames, and beside them
		for _, a := range edges {
			for _, b := range edges {
				if a <= b {
					check(a, b-a)
				}
			}
		}
		r := rand.New(rand.NewPCG(1, 1))
		for range 200 {
			from := r.IntN(len(s.raw))
			check(from, r.IntN(len(s.raw)-from+1))
		}
		const most = int64(^uint64(0) >> 1)
		for _, bad := range [][2]int64{{-1, 1}, {0, -1}, {0, int64(len(s.raw)) + 1}, {int64(len(s.raw)), 1}, {int64(len(s.raw)) + 1, 0}, {1, most}, {most, 1}, {most, most}} {
			if got, err := v.Read(t.Context(), bad[0], bad[1]); !errors.Is(err, snapshot.ErrDamaged) {
				t.Errorf("%d+%d: got %d bytes, %v, want ErrDamaged", bad[0], bad[1], len(got), err)
			}
		}
	}
}

func TestOpenDump(t *testing.T) {
	s := store(t)
	r, table, err := s.c.OpenDump(t.Context(), s.m)
	if got, err := readAll(r, err); err != nil || !bytes.Equal(got, s.raw) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(s.raw))
	}
	if len(table.Frames) != 4 {
		t.Errorf("got %d frames, want 4", len(table.Frames))
	}
	r, _, err = s.c.OpenDump(t.Context(), s.m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, len(s.raw))); err != nil { // all bytes, but not the end
		t.Fatal(err)
	}
	if err := r.Close(); err == nil {
		t.Error("closed before its end was proven: got no error")
	}
	if err := iotest.TestReader(mustOpen(t, s), s.raw); err != nil {
		t.Error(err)
	}
}

func mustOpen(t testing.TB, s *stored) io.Reader {
	t.Helper()
	r, _, err := s.c.OpenDump(t.Context(), s.m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// Every flipped bit and every cut of a stored dump is noticed, as damage.
func TestDamagedDump(t *testing.T) {
	s := store(t)
	good := read(t, s.dump())
	check := func(what string, b []byte) {
		t.Helper()
		rewrite(t, s.dump(), b)
		r, _, err := s.c.OpenDump(t.Context(), s.m)
		if got, err := readAll(r, err); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: got %d bytes, %v, want ErrDamaged", what, len(got), err)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		check("bit flipped", b)
	}
	for n := 0; n < len(good); n++ {
		check("cut", good[:n])
	}
	check("a byte after the end", append(bytes.Clone(good), 0))
	check("another dump", packed(t, frames(6)))
	check("the same content, packed otherwise", packed(t, [][]byte{s.raw}))
	remove(t, s.dump())
	if _, _, err := s.c.OpenDump(t.Context(), s.m); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("gone: got %v, want ErrDamaged", err)
	}
}

// Ranged reads have no digest of the whole to lean on: the frames' own must do.
func TestDamagedRanges(t *testing.T) {
	s := store(t)
	good := read(t, s.dump())
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			rewrite(t, s.dump(), b)
			v, err := s.c.Values(t.Context(), s.m)
			var got []byte
			if err == nil {
				got, err = v.Read(t.Context(), 0, int64(len(s.raw)))
			}
			if err != nil && !errors.Is(err, snapshot.ErrDamaged) || err == nil && !bytes.Equal(got, s.raw) {
				t.Errorf("bit %d of byte %d: got %d bytes, %v", bit, i, len(got), err)
			}
		}
	}
}

func TestUnpackNeedsRoom(t *testing.T) {
	s := store(t)
	v := s.values(t)
	if err := v.Unpack(t.Context(), filepath.Join(t.TempDir(), "missing"), s.m.Dump.Size-1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such directory: got %v", err)
	}
	rewrite(t, s.dump(), bytes.Repeat([]byte{1}, int(s.m.Objects[0].Size)))
	for _, inMemory := range []int64{0, s.m.Dump.Size} {
		if err := v.Unpack(t.Context(), t.TempDir(), inMemory); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("damaged since: got %v, want ErrDamaged", err)
		}
	}
	if _, err := v.Read(t.Context(), 0, 1); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("after a failed Unpack: got %v, want ErrDamaged", err)
	}
}

func TestManifestThatDisagreesWithTheDump(t *testing.T) {
	s := store(t)
	m := *s.m
	m.Dump.Size++
	if _, err := s.c.Values(t.Context(), &m); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("another raw size: got %v, want ErrDamaged", err)
	}
	m = *s.m
	m.Objects = slices.Clone(m.Objects)
	for i := range m.Objects {
		m.Objects[i].Size -= 5
	}
	if _, err := s.c.Values(t.Context(), &m); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("another stored size: got %v, want ErrDamaged", err)
	}
	m.Objects = nil
	if _, err := s.c.Values(t.Context(), &m); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("no dump at all: got %v, want ErrDamaged", err)
	}
}

// bent is a store whose objects come out wrong.
type bent struct {
	snapshot.Store
	bend func(io.ReadCloser) io.ReadCloser
}

func (b bent) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := b.Store.Open(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	return b.bend(r), nil
}

type body struct {
	io.Reader
	io.Closer
}

// Nobody gets an end of an object that was not proven.
func TestCheckedReader(t *testing.T) {
	s := store(t)
	broken := errors.New("connection reset")
	for _, c := range []struct {
		name string
		bend func(io.Reader) io.Reader
		want error
	}{
		{"as it is", func(r io.Reader) io.Reader { return r }, nil},
		{"byte by byte", iotest.OneByteReader, nil},
		{"with data and end at once", iotest.DataErrReader, nil},
		{"with its end called unexpected", func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(io.ErrUnexpectedEOF)) }, nil},
		{"short", func(r io.Reader) io.Reader { return io.LimitReader(r, 3) }, snapshot.ErrDamaged},
		{"empty", func(io.Reader) io.Reader { return bytes.NewReader(nil) }, snapshot.ErrDamaged},
		{"short, with an unexpected end", func(r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, 3), iotest.ErrReader(io.ErrUnexpectedEOF))
		}, snapshot.ErrDamaged},
		{"long", func(r io.Reader) io.Reader { return io.MultiReader(r, bytes.NewReader([]byte("x"))) }, snapshot.ErrDamaged},
		{"endless", func(io.Reader) io.Reader { return zeros{} }, snapshot.ErrDamaged},
		{"wrong", func(io.Reader) io.Reader { return bytes.NewReader([]byte("jobs\x06")) }, snapshot.ErrDamaged},
		{"broken", func(r io.Reader) io.Reader { return io.MultiReader(io.LimitReader(r, 3), iotest.ErrReader(broken)) }, broken},
		{"broken at its end", func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(broken)) }, broken},
	} {
		cat := catalogOf(t, bent{s.s, func(r io.ReadCloser) io.ReadCloser { return body{c.bend(r), r} }})
		r, err := cat.Open(t.Context(), s.m, snapshot.JobsName)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if !errors.Is(err, c.want) || err == nil && string(got) != "jobs\x05" {
			t.Errorf("%s: got %q, %v, want %v", c.name, got, err, c.want)
		}
		if n, again := r.Read(make([]byte, 1)); n != 0 || again == nil || c.want != nil && !errors.Is(again, c.want) {
			t.Errorf("%s, read once more: got %d bytes, %v", c.name, n, again)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: Close gave %v", c.name, err)
		}
		f, _, err := cat.Spool(t.Context(), s.m, snapshot.JobsName, t.TempDir())
		if !errors.Is(err, c.want) || (f == nil) != (err != nil) {
			t.Errorf("%s, spooled: got %v, want %v", c.name, err, c.want)
		}
		if f != nil {
			_ = f.Close()
		}
	}
	r, err := s.c.Open(t.Context(), s.m, snapshot.JobsName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err == nil {
		t.Error("closed before its end: got no error")
	}
	closing := catalogOf(t, bent{s.s, func(r io.ReadCloser) io.ReadCloser { return body{r, badCloser{r, broken}} }})
	if r, err = closing.Open(t.Context(), s.m, snapshot.JobsName); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(r, nil); !errors.Is(err, broken) {
		t.Errorf("Close fails: got %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type badCloser struct {
	io.Closer
	err error
}

func (b badCloser) Close() error { return errors.Join(b.Closer.Close(), b.err) }

func TestMissingObjects(t *testing.T) {
	s := store(t)
	for _, name := range []string{snapshot.JobsName, snapshot.DumpName} {
		remove(t, path(s.root, s.m, name))
		if _, err := s.c.Open(t.Context(), s.m, name); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s is gone: got %v, want ErrDamaged", name, err)
		}
		if _, err := s.c.ReadRange(t.Context(), s.m, name, snapshot.Range{Length: 1}); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("a range of %s, which is gone: got %v, want ErrDamaged", name, err)
		}
	}
	if _, err := s.c.Open(t.Context(), s.m, "other"); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("an object it does not have: got %v, want ErrDamaged", err)
	}
}

func TestRanges(t *testing.T) {
	s := store(t)
	content := []byte("jobs\x05")
	for _, r := range []snapshot.Range{{0, 0}, {0, 5}, {2, 3}, {5, 0}, {4, 1}} {
		if got, err := s.c.ReadRange(t.Context(), s.m, snapshot.JobsName, r); err != nil || !bytes.Equal(got, content[r.Offset:r.Offset+r.Length]) {
			t.Errorf("%+v: got %q, %v", r, got, err)
		}
	}
	const most = int64(^uint64(0) >> 1)
	for _, r := range []snapshot.Range{{-1, 1}, {0, -1}, {0, 6}, {6, 0}, {5, 1}, {most, most}, {1, most}} {
		if got, err := s.c.ReadRange(t.Context(), s.m, snapshot.JobsName, r); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%+v: got %q, %v, want ErrDamaged", r, got, err)
		}
	}
	rewrite(t, path(s.root, s.m, snapshot.JobsName), content[:2])
	if got, err := s.c.ReadRange(t.Context(), s.m, snapshot.JobsName, snapshot.Range{Offset: 1, Length: 4}); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("of an object cut short: got %q, %v, want ErrDamaged", got, err)
	}
}

func TestCancelledReads(t *testing.T) {
	s := store(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, _, err := s.c.OpenDump(ctx, s.m)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := readAll(r, nil); !errors.Is(err, context.Canceled) || errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("cancelled: got %v, want that and no word of damage", err)
	}
	if _, err := s.c.Manifest(ctx, s.m.ID); !errors.Is(err, context.Canceled) || errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("manifest, cancelled: got %v, want that and no word of damage", err)
	}
	if _, err := s.c.Begin(ctx, taken.Add(time.Hour), &dice{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a backup, cancelled: got %v", err)
	}
}
