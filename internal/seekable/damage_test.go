package seekable_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"rqvault/internal/seekable"
)

// Every byte of an object matters: a changed bit gives an error, or, in the few bits that
// zstd leaves unused, the same content. Never other content, never a panic.
func TestEveryBitFlip(t *testing.T) {
	frames := [][]byte{text(400, 1), text(90, 2), bytes.Repeat([]byte("ab"), 300)}
	want := bytes.Join(frames, nil)
	b := pack(t, seekable.Options{}, frames...)
	table := len(b) - len(tail(t, b))
	harmless := 0
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			got, err := unpack(b)
			b[i] ^= 1 << bit
			switch {
			case err == nil && i >= table:
				t.Errorf("bit %d of byte %d, in the seek table, was flipped: got no error", bit, i)
			case err == nil && !bytes.Equal(got, want):
				t.Errorf("bit %d of byte %d was flipped: got other bytes and no error", bit, i)
			case err == nil:
				harmless++
			case !errors.Is(err, seekable.ErrDamaged):
				t.Errorf("bit %d of byte %d was flipped: got %v, want ErrDamaged", bit, i, err)
			}
		}
	}
	if limit := len(b) / 16; harmless > limit {
		t.Errorf("%d flips of %d bits went unnoticed, want at most %d", harmless, len(b)*8, limit)
	}
}

func TestEveryCut(t *testing.T) {
	b := pack(t, seekable.Options{}, text(400, 1), text(90, 2))
	for n := range b {
		if _, err := unpack(b[:n]); err == nil {
			t.Errorf("cut at %d of %d: got no error", n, len(b))
		}
		if _, err := unpack(b[n+1:]); err == nil {
			t.Errorf("begun at %d of %d: got no error", n+1, len(b))
		}
	}
	// The table as it was, the body cut: the stream ends inside, which is no clean end.
	table, err := seekable.ParseTable(tail(t, b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(b) - len(tail(t, b)) {
		r, err := seekable.NewReader(bytes.NewReader(b[:n]), table)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("body cut at %d: got %d bytes, %v, want ErrUnexpectedEOF", n, len(got), err)
		}
	}
}

func TestReaderKeepsItsError(t *testing.T) {
	b := pack(t, seekable.Options{}, text(400, 1), text(90, 2))
	table, err := seekable.ParseTable(tail(t, b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the line is dead")
	r, err := seekable.NewReader(io.MultiReader(bytes.NewReader(b[:50]), iotest.ErrReader(broken)), table)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := io.ReadAll(r); len(n) != 0 || !errors.Is(err, broken) {
			t.Errorf("got %d bytes, %v, want the source's error", len(n), err)
		}
	}
}

var errDisk = errors.New("disk full")

// failing fails its write number n and all after it.
type failing struct {
	n, calls int
	bytes.Buffer
}

func (f *failing) Write(p []byte) (int, error) {
	f.calls++
	if f.calls > f.n {
		return 0, errDisk
	}
	return f.Buffer.Write(p)
}

func TestWriterFailsAtEachWrite(t *testing.T) {
	const frames = 12
	for n := 0; n <= frames; n++ {
		out := &failing{n: n}
		w, err := seekable.NewWriter(out, seekable.Options{Workers: 3})
		if err != nil {
			t.Fatal(err)
		}
		var done [frames]atomic.Int32
		for i := range frames {
			err := w.WriteFrame(text(50_000, uint64(i)), func() { done[i].Add(1) })
			if err != nil && !errors.Is(err, errDisk) {
				t.Errorf("write %d fails, frame %d: got %v, want the writer's error", n, i, err)
			}
		}
		for range 2 { // the error stays
			if err := w.Close(); !errors.Is(err, errDisk) {
				t.Errorf("write %d fails: Close gave %v, want the writer's error", n, err)
			}
		}
		for i := range done {
			if got := done[i].Load(); got != 1 {
				t.Errorf("write %d fails: done of frame %d was called %d times, want once", n, i, got)
			}
		}
		called := 0
		if err := w.WriteFrame(text(10, 1), func() { called++ }); err == nil || called != 1 {
			t.Errorf("frame after Close: got %v, done called %d times, want an error and one", err, called)
		}
		if out.calls > n+1 {
			t.Errorf("write %d failed and %d more came after it", n, out.calls-n-1)
		}
	}
}

func TestFrameTooLargeToReadIsNotWritten(t *testing.T) {
	w, err := seekable.NewWriter(io.Discard, seekable.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	called := 0
	if err := w.WriteFrame(make([]byte, 256<<20+1), func() { called++ }); err == nil || called != 1 {
		t.Errorf("a frame that no Decoder unpacks: got %v, done called %d times, want an error and one", err, called)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// grown returns how many bytes f allocates.
func grown(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func footer(n uint32) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, n), 0, 0xB1, 0xEA, 0x92, 0x8F)
}

func TestHostileTablesAllocateLittle(t *testing.T) {
	const limit = 4 << 20
	for _, n := range []uint32{1, 100, 0x7ffffff, 0x8000000, 0x8000001, math.MaxUint32} {
		b := append(make([]byte, 64), footer(n)...)
		if got := grown(func() {
			if _, err := unpack(b); !errors.Is(err, seekable.ErrDamaged) {
				t.Errorf("a table of %d frames in %d bytes: got %v, want ErrDamaged", n, len(b), err)
			}
		}); got > limit {
			t.Errorf("a table of %d frames in %d bytes took %d bytes of memory", n, len(b), got)
		}
	}
	// A frame that claims to unpack to 256 MiB, and a table that agrees with it.
	le := binary.LittleEndian
	head := le.AppendUint64([]byte{0x28, 0xB5, 0x2F, 0xFD, 0xC4, 0x50}, 256<<20) // 8-byte size, checksum
	frame := append(head, 1, 0, 0, 0, 0, 0, 0)                                   // a last, empty raw block, checksum
	b := le.AppendUint32(le.AppendUint32(bytes.Clone(frame), 0x184D2A5E), 8+9)
	b = append(le.AppendUint32(le.AppendUint32(b, uint32(len(frame))), 256<<20), footer(1)...)
	if got := grown(func() {
		if out, err := unpack(b); !errors.Is(err, seekable.ErrDamaged) {
			t.Errorf("a frame of %d bytes that claims 256 MiB: got %d bytes, %v, want ErrDamaged", len(frame), len(out), err)
		}
	}); got > 32<<20 {
		t.Errorf("a frame of %d bytes that claims 256 MiB took %d bytes of memory", len(frame), got)
	}
}

func TestTableErrors(t *testing.T) {
	b := pack(t, seekable.Options{}, text(400, 1), text(90, 2))
	good := tail(t, b)
	if _, err := seekable.ParseTable(good, int64(len(b))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		table []byte
		size  int64
	}{
		"nothing":                 {nil, 100},
		"an object one shorter":   {good, int64(len(b)) - 1},
		"an object one longer":    {good, int64(len(b)) + 1},
		"an object of no bytes":   {good, 0},
		"a negative object":       {good, -1},
		"a byte before the table": {append([]byte{0}, good...), int64(len(b))},
	} {
		if _, err := seekable.ParseTable(c.table, c.size); !errors.Is(err, seekable.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", name, err)
		}
	}
	broken := errors.New("no route")
	if _, err := seekable.ReadTable(func(int64, int64) ([]byte, error) { return nil, broken }, int64(len(b))); !errors.Is(err, broken) {
		t.Errorf("got %v, want the read's own error", err)
	}
}

// More frames than the first ranged read of the end covers.
func TestLongTable(t *testing.T) {
	frames := make([][]byte, 5000)
	for i := range frames {
		frames[i] = []byte{byte(i), byte(i >> 8)}
	}
	b := pack(t, seekable.Options{Fast: true}, frames...)
	got, err := unpack(b)
	if err != nil || !bytes.Equal(got, bytes.Join(frames, nil)) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, 2*len(frames))
	}
}

func FuzzParseTable(f *testing.F) {
	b := pack(f, seekable.Options{Fast: true}, text(400, 1), text(90, 2))
	f.Add(tail(f, b), int64(len(b)))
	f.Add(footer(3), int64(9))
	f.Add(pack(f, seekable.Options{}), int64(17))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		table, err := seekable.ParseTable(b, size)
		if err != nil {
			if !errors.Is(err, seekable.ErrDamaged) {
				t.Errorf("got %v, want ErrDamaged", err)
			}
			return
		}
		var stored, raw int64
		for i, fr := range table.Frames {
			off, n := table.StoredRange(i)
			if off != stored || n != int64(fr.Stored) || table.RawOffset(i) != raw {
				t.Errorf("frame %d lies at %d+%d and unpacks to %d, want %d+%d and %d", i, off, n, table.RawOffset(i), stored, fr.Stored, raw)
			}
			if fr.Raw > 0 {
				if at, err := table.Find(raw); err != nil || at != i {
					t.Errorf("byte %d: got frame %d, %v, want %d", raw, at, err, i)
				}
			}
			stored, raw = stored+int64(fr.Stored), raw+int64(fr.Raw)
		}
		if table.RawSize() != raw || stored+int64(len(b)) != size {
			t.Errorf("table of %d raw and %d stored bytes, want %d and %d", table.RawSize(), stored, raw, size-int64(len(b)))
		}
	})
}

func FuzzFrame(f *testing.F) {
	b := pack(f, seekable.Options{Fast: true}, text(400, 1), text(90, 2))
	table, err := seekable.ParseTable(tail(f, b), int64(len(b)))
	if err != nil {
		f.Fatal(err)
	}
	for i, fr := range table.Frames {
		off, n := table.StoredRange(i)
		f.Add(b[off:off+n], fr.Raw)
	}
	f.Fuzz(func(t *testing.T, stored []byte, raw uint32) {
		dec, err := seekable.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		out, err := dec.Frame(nil, stored, raw)
		if err == nil && len(out) != int(raw) {
			t.Errorf("got %d bytes, want %d", len(out), raw)
		}
		if err != nil && !errors.Is(err, seekable.ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
	})
}
