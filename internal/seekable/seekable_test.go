package seekable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"rqvault/internal/seekable"
)

// text returns n bytes that compress about as well as a dump does.
func text(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+40)
	for len(b) < n {
		b = fmt.Appendf(b, "rq:job:%08x status queued %d;", r.Uint32(), r.IntN(1000))
	}
	return b[:n]
}

func pack(t testing.TB, o seekable.Options, frames ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := seekable.NewWriter(&out, o)
	if err != nil {
		t.Fatal(err)
	}
	done := make([]atomic.Int32, len(frames))
	for i, f := range frames {
		if err := w.WriteFrame(f, func() { done[i].Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		if n := done[i].Load(); n != 1 {
			t.Errorf("frame %d: done was called %d times, want once", i, n)
		}
	}
	if len(w.Frames()) != len(frames) {
		t.Errorf("got %d frames, want %d", len(w.Frames()), len(frames))
	}
	var stored int64
	for _, f := range w.Frames() {
		stored += int64(f.Stored)
	}
	if w.Stored() != stored {
		t.Errorf("got %d stored bytes, want %d", w.Stored(), stored)
	}
	return out.Bytes()
}

func ranged(b []byte) func(offset, length int64) ([]byte, error) {
	return func(offset, length int64) ([]byte, error) {
		if offset < 0 || length < 0 || offset+length > int64(len(b)) {
			return nil, fmt.Errorf("read of %d+%d in %d bytes", offset, length, len(b))
		}
		return bytes.Clone(b[offset : offset+length]), nil
	}
}

// unpack reads an object as a stream; every way of reading it must agree.
func unpack(b []byte) ([]byte, error) {
	table, err := seekable.ReadTable(ranged(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	r, err := seekable.NewReader(bytes.NewReader(b), table)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func sampleFrames() [][]byte {
	return [][]byte{text(100_000, 1), {0}, text(1<<20, 2), bytes.Repeat([]byte{7}, 300_000), text(1, 3), make([]byte, 3<<20), text(70_000, 4)}
}

func TestRoundTrip(t *testing.T) {
	frames := sampleFrames()
	want := bytes.Join(frames, nil)
	for _, o := range []seekable.Options{{}, {Fast: true}, {Workers: 1}, {Workers: 7}} {
		b := pack(t, o, frames...)
		got, err := unpack(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%+v: got %d bytes, %v, want the %d written", o, len(got), err, len(want))
		}
		table, err := seekable.ReadTable(ranged(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if table.RawSize() != int64(len(want)) {
			t.Errorf("raw size: got %d, want %d", table.RawSize(), len(want))
		}
		dec, err := seekable.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		var raw []byte
		for _, i := range []int{6, 0, 3, 3, 1, 5, 2, 4} { // any order, one buffer
			off, n := table.StoredRange(i)
			if raw, err = dec.Frame(raw, b[off:off+n], table.Frames[i].Raw); err != nil || !bytes.Equal(raw, frames[i]) {
				t.Errorf("frame %d alone: got %d bytes, %v, want %d", i, len(raw), err, len(frames[i]))
			}
		}
	}
}

func TestReaderInSmallSteps(t *testing.T) {
	frames := [][]byte{text(1000, 1), text(3, 2), text(4096, 3)}
	b := pack(t, seekable.Options{}, frames...)
	table, err := seekable.ReadTable(ranged(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := seekable.NewReader(iotest.OneByteReader(bytes.NewReader(b)), table)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(r, bytes.Join(frames, nil)); err != nil {
		t.Error(err)
	}
}

func TestNoFrames(t *testing.T) {
	b := pack(t, seekable.Options{})
	if got, err := unpack(b); err != nil || len(got) != 0 {
		t.Errorf("got %d bytes, %v, want none", len(got), err)
	}
	stock(t, b, nil)
}

func TestEmptyFrame(t *testing.T) {
	frames := [][]byte{text(10, 1), {}, text(20, 2), nil}
	b := pack(t, seekable.Options{}, frames...)
	got, err := unpack(b)
	if want := bytes.Join(frames, nil); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
	stock(t, b, bytes.Join(frames, nil))
}

func TestFind(t *testing.T) {
	b := pack(t, seekable.Options{}, text(10, 1), text(1, 2), text(20, 3))
	table, err := seekable.ParseTable(tail(t, b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[int64]int{0: 0, 9: 0, 10: 1, 11: 2, 30: 2} {
		got, err := table.Find(offset)
		if err != nil || got != want {
			t.Errorf("Find(%d): got %d, %v, want %d", offset, got, err, want)
		}
		if from := table.RawOffset(got); offset < from || offset >= from+int64(table.Frames[got].Raw) {
			t.Errorf("Find(%d): frame %d begins at %d with %d bytes", offset, got, from, table.Frames[got].Raw)
		}
	}
	for _, offset := range []int64{-1, 31, math.MaxInt64, math.MinInt64} {
		if got, err := table.Find(offset); !errors.Is(err, seekable.ErrDamaged) {
			t.Errorf("Find(%d): got %d, %v, want ErrDamaged", offset, got, err)
		}
	}
}

// tail returns the seek table's frame at an object's end.
func tail(t testing.TB, b []byte) []byte {
	t.Helper()
	size, err := seekable.TableSize(b[len(b)-seekable.FooterSize:], int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return b[int64(len(b))-size:]
}

// stock checks that the zstd everybody has opens an object.
func stock(t testing.TB, b, want []byte) {
	t.Helper()
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		t.Fatal("the zstd program is needed: apt install zstd")
	}
	name := filepath.Join(t.TempDir(), "o.zst")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(zstd, "-d", "-c", name)
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("zstd -d: got %d bytes, %v, want %d: %s", len(got), err, len(want), &stderr)
	}
}

func TestStockZstdOpensIt(t *testing.T) {
	frames := sampleFrames()
	b := pack(t, seekable.Options{}, frames...)
	stock(t, b, bytes.Join(frames, nil))
	name := filepath.Join(t.TempDir(), "o.zst")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("zstd", "-l", "-v", name).CombinedOutput()
	if err != nil {
		t.Fatalf("zstd -l: %v: %s", err, out)
	}
	for _, want := range []string{fmt.Sprintf("# Zstandard Frames: %d", len(frames)), "# Skippable Frames: 1", "XXH64"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("zstd -l says\n%s\nwant %q in it", out, want)
		}
	}
	if out, err := exec.Command("zstd", "-t", name).CombinedOutput(); err != nil {
		t.Errorf("zstd -t: %v: %s", err, out)
	}
}
