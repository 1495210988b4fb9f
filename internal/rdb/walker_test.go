package rdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// header writes a format the way dumps begin.
func header(f keyspace.Format) string {
	if f.Vendor == keyspace.Valkey {
		return fmt.Sprintf("VALKEY%03d", f.Version)
	}
	return fmt.Sprintf("REDIS%04d", f.Version)
}

// Every type of the table is framed: what the walker calls the value is the value.
func TestWalkTypes(t *testing.T) {
	for _, c := range values() {
		d := dump(header(c.format)).raw(254, 2, c.typ).str("key").bytes(c.raw).raw(0).strs("next", "v").end()
		got := mustWalk(t, d, rdb.Options{})
		if len(got.records) != 2 {
			t.Fatalf("%s: %d records, want 2", c.name, len(got.records))
		}
		r := got.records[0]
		kind, known := rdb.KindOf(c.typ, c.format)
		if !known || r.Kind != kind || r.DB != 2 || r.Type != c.typ || r.Format != c.format || string(r.Key) != "key" || !bytes.Equal(r.Raw, c.raw) {
			t.Errorf("%s: %+v", c.name, r)
		}
		if string(got.records[1].Key) != "next" || got.sum.Checksum != rdb.Verified {
			t.Errorf("%s: next %+v, summary %+v", c.name, got.records[1], got.sum)
		}
	}
}

// everything builds a dump with every opcode that a format has.
func everything(f keyspace.Format) []byte {
	b := dump(header(f))
	b.raw(250).strs("redis-ver", "9.9").raw(250).str("ctime").raw(0xC2, 1, 2, 3, 4).raw(250).lzf("lzf").lzf(long(100))
	b.raw(247).nums(1<<60, 2, 1).nums(1, 7, 2, 1<<33, 5).str("aux").raw(3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b.raw(245).str("#!lua name=x").raw(254, 0, 251).nums(9, 2).raw(244).nums(1, 2, 3)
	b.raw(252, 1, 0, 0, 0, 0, 0, 0, 0x80, 248).num(1000).raw(0).strs("negative", "v")
	b.raw(253, 0, 0, 0, 0, 249, 200, 0).strs("zero", "v")
	b.raw(253, 1, 0, 0, 0x80, 0).strs("negative seconds", "v")
	b.raw(253, 0, 0, 0, 0x60, 0).strs("seconds", "v")
	b.raw(0).strs("none", "v")
	b.raw(0, 0xC2, 0, 0, 1, 0).str("int key").raw(0).lzf(long(300)).str("lzf key")
	switch {
	case f.Vendor == keyspace.Valkey:
		b.raw(243).str("job").num(2).nums(0, 5, 9, 16383)
	case f.Version >= 13:
		b.raw(252, 9, 0, 0, 0, 0, 0, 0, 0, 243).num(1).raw('c', 'l', 's', 0, 5).str("meta").raw(0)
	}
	b.raw(0).strs("meta key", "v")
	if f.Version == 15 {
		b.raw(242).nums(7, 2).strs("f1", "f2").raw(32).str("templated").num(7).strs("v1", "v2").raw(30).str("packed").str("lp")
	}
	b.raw(254).num(70000).raw(0).strs("last", "v")
	return b.end()
}

// Every opcode is passed, whatever the buffer and however the bytes arrive.
func TestWalkOpcodes(t *testing.T) {
	formats := []keyspace.Format{valkey80, {Vendor: keyspace.Valkey, Version: 81}}
	for v := 5; v <= 15; v++ {
		formats = append(formats, keyspace.Format{Version: v})
	}
	for _, f := range formats {
		d := everything(f)
		for name, wrap := range arrivals {
			for _, o := range []rdb.Options{{}, {ChunkSize: 64, MaxValue: 512}} {
				got, err := walk(wrap(bytes.NewReader(d)), o)
				if err != nil {
					t.Fatalf("%s %s %+v: %v", f, name, o, err)
				}
				checkEverything(t, f, got, d)
			}
		}
	}
}

// arrivals are ways in which bytes reach a reader.
var arrivals = map[string]func(io.Reader) io.Reader{
	"whole":         func(r io.Reader) io.Reader { return r },
	"byte":          iotest.OneByteReader,
	"half":          iotest.HalfReader,
	"data with EOF": iotest.DataErrReader,
}

func checkEverything(t *testing.T, f keyspace.Format, got walked, d []byte) {
	t.Helper()
	if !bytes.Equal(got.data, d) {
		t.Errorf("%s: chunks do not add up to the dump", f)
	}
	expires := map[string]int64{"negative": 1, "zero": 1, "negative seconds": 1, "seconds": 0x60000000 * 1000}
	if f.Vendor == keyspace.Redis && f.Version >= 13 {
		expires["meta key"] = 9
	}
	var keys []string
	for _, r := range got.records {
		keys = append(keys, string(r.Key))
		if r.ExpireAt != expires[string(r.Key)] {
			t.Errorf("%s: %q expires at %d, want %d", f, r.Key, r.ExpireAt, expires[string(r.Key)])
		}
		if hasMeta := string(r.Key) == "meta key" && f.Vendor == keyspace.Redis && f.Version >= 13; (len(r.Meta) > 0) != hasMeta {
			t.Errorf("%s: %q has metadata %q", f, r.Key, r.Meta)
		} else if hasMeta && string(r.Meta) != "\xf3\x01cls\x00\x05\x04meta\x00" {
			t.Errorf("%s: metadata %q", f, r.Meta)
		}
	}
	want := []string{"negative", "zero", "negative seconds", "seconds", "none", "65536", long(300), "meta key", "last"}
	if f.Version == 15 {
		want = slices.Insert(want, 8, "templated", "packed")
	}
	if !slices.Equal(keys, want) || got.records[len(keys)-1].DB != 70000 {
		t.Errorf("%s: keys %.400q, want %.400q", f, keys, want)
	}
	aux := map[string]string{"redis-ver": "9.9", "ctime": "67305985", "lzf": long(100)}
	for k, v := range aux {
		if got.sum.Aux[k] != v {
			t.Errorf("%s: aux %q is %q, want %q", f, k, got.sum.Aux[k], v)
		}
	}
	if got.sum.Functions != 1 || len(got.sum.DBs) != 2 || got.sum.Keys != int64(len(want)) {
		t.Errorf("%s: summary %+v", f, got.sum)
	}
}

// What is not known for certain is refused with its place, never guessed.
func TestWalkUnsupported(t *testing.T) {
	v81 := keyspace.Format{Vendor: keyspace.Valkey, Version: 81}
	cases := []struct {
		f    keyspace.Format
		code byte
	}{
		{redis10, 6}, {redis10, 8}, {redis10, 22}, {redis10, 24}, {redis12, 26}, {keyspace.Format{Version: 13}, 27}, {redis15, 29}, {redis15, 33},
		{redis15, 34}, {redis10, 200}, {redis10, 246}, {redis12, 243}, {redis12, 242}, {valkey80, 23}, {valkey80, 24}, {v81, 23}, {v81, 242}, {v81, 29},
	}
	for _, c := range cases {
		d := dump(header(c.f)).raw(c.code).strs("k", "v").end()
		_, err := walk(bytes.NewReader(d), rdb.Options{})
		var e *rdb.Error
		if !errors.Is(err, rdb.ErrUnsupported) || errors.Is(err, rdb.ErrDamaged) || !errors.As(err, &e) || e.Offset != 9 || e.Format != c.f ||
			!strings.Contains(err.Error(), fmt.Sprint(c.code)) {
			t.Errorf("%s, %d: %v", c.f, c.code, err)
		}
	}
	for _, h := range []string{"REDIS0004", "REDIS0016", "REDIS0080", "VALKEY079", "VALKEY082", "REDIS9999"} {
		if _, err := walk(bytes.NewReader(dump(h).end()), rdb.Options{}); !errors.Is(err, rdb.ErrUnsupported) {
			t.Errorf("header %s: %v, want unsupported", h, err)
		}
	}
	for _, h := range []string{"", "x", "redis0010", "RIDIS0010", "PK\x03\x04aaaaaaaaa", "VALKEX080", "\x28\xb5\x2f\xfd\x00\x00\x00\x00\x00\x00"} {
		want := rdb.ErrNotRDB
		if h == "" {
			want = rdb.ErrTruncated
		}
		if _, err := walk(strings.NewReader(h), rdb.Options{}); !errors.Is(err, want) {
			t.Errorf("header %q: %v, want %v", h, err, want)
		}
	}
	if _, err := walk(bytes.NewReader(dump("REDIS00x0").end()), rdb.Options{}); !errors.Is(err, rdb.ErrDamaged) {
		t.Errorf("bad digit: %v", err)
	}
}

// Without a checksum a dump is good but unproven; a wrong one is damage; bytes after
// it are damage, unless the caller says that the source goes on.
func TestWalkEnd(t *testing.T) {
	good := dump("REDIS0010").raw(0).strs("k", "v").end()
	if got := mustWalk(t, dump("REDIS0010").raw(0).strs("k", "v").endUnchecked(), rdb.Options{}); got.sum.Checksum != rdb.Absent {
		t.Errorf("checksum %v, want absent", got.sum.Checksum)
	}
	wrong := slices.Clone(good)
	wrong[len(wrong)-1]++
	if _, err := walk(bytes.NewReader(wrong), rdb.Options{}); !errors.Is(err, rdb.ErrChecksum) || !errors.Is(err, rdb.ErrDamaged) {
		t.Errorf("wrong checksum: %v", err)
	}
	more := append(slices.Clone(good), "mark and stream"...)
	for _, r := range []io.Reader{bytes.NewReader(more), iotest.OneByteReader(bytes.NewReader(more))} {
		if _, err := walk(r, rdb.Options{}); !errors.Is(err, rdb.ErrDamaged) {
			t.Errorf("bytes after the end: %v", err)
		}
	}
	for _, o := range []rdb.Options{{Trailing: true}, {Trailing: true, ChunkSize: 64}} {
		src := bytes.NewReader(more)
		got, err := walk(src, o)
		left, _ := io.ReadAll(src)
		if err != nil || !bytes.Equal(got.data, good) || string(got.rest)+string(left) != "mark and stream" {
			t.Errorf("trailing: %v, rest %q and %q", err, got.rest, left)
		}
	}
	one := iotest.OneByteReader(bytes.NewReader(more))
	if got, err := walk(one, rdb.Options{Trailing: true}); err != nil || len(got.rest) != 0 {
		t.Errorf("trailing, byte by byte: %v, rest %q", err, got.rest)
	}
}

// Errors of the source are not damage; a source that gives nothing is not waited for.
func TestWalkSourceErrors(t *testing.T) {
	d := rqDump(50)
	broken := errors.New("connection reset")
	for n := 0; n < len(d); n += 97 {
		for _, o := range []rdb.Options{{}, {ChunkSize: 64, MaxValue: 256}} {
			src := io.MultiReader(bytes.NewReader(d[:n]), iotest.ErrReader(broken))
			if _, err := walk(src, o); err != broken {
				t.Fatalf("source that fails after %d bytes: %v, want its own error", n, err)
			}
		}
	}
	w := rdb.NewWalker(iotest.ErrReader(io.ErrUnexpectedEOF), rdb.Options{})
	for range 2 {
		if _, err := w.Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("source that was cut: %v, want it unchanged, each time", err)
		}
	}
	if _, err := walk(silent{}, rdb.Options{}); err != io.ErrNoProgress {
		t.Errorf("silent source: %v", err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// Records sit in chunks of about ChunkSize, whole.
func TestWalkChunks(t *testing.T) {
	d := rqDump(5000)
	got := mustWalk(t, d, rdb.Options{ChunkSize: 64 << 10, MaxValue: 1 << 20})
	if got.largest > len(d)/4 || got.chunks < len(d)/(64<<10) || len(got.records) != 5002 {
		t.Errorf("%d chunks, largest %d, %d records of a dump of %d", got.chunks, got.largest, len(got.records), len(d))
	}
	for _, r := range got.records {
		if r.Part != keyspace.Whole {
			t.Fatalf("%s comes in parts", r.Key)
		}
	}
	tiny := dump("REDIS0010")
	for i := range 50_000 {
		tiny.raw(0).strs(fmt.Sprint(i), "")
	}
	if got := mustWalk(t, tiny.end(), rdb.Options{}); got.chunks < 3 || len(got.records) != 50_000 {
		t.Errorf("tiny keys: %d chunks, %d records", got.chunks, len(got.records))
	}
}

// Random mixes of values, chunk sizes and ways to arrive always add up.
func TestWalkRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	cases := values()[:8]
	for range 300 {
		b := dump("REDIS0010")
		var want []string
		for range r.IntN(30) {
			c := cases[r.IntN(len(cases))]
			key := long(1 + r.IntN(90))
			want = append(want, key+string(c.raw))
			b.raw(c.typ).str(key).bytes(c.raw)
			if r.IntN(4) == 0 {
				b.raw(250).strs("a", long(r.IntN(300)))
			}
		}
		d := b.end()
		o := rdb.Options{ChunkSize: 64 + r.IntN(400), MaxValue: 1 << 16, Size: int64(len(d))}
		got, err := walk(iotest.HalfReader(bytes.NewReader(d)), o)
		if err != nil || !bytes.Equal(got.data, d) || len(got.records) != len(want) {
			t.Fatalf("%+v: %v, %d records, want %d", o, err, len(got.records), len(want))
		}
		for i, rec := range got.records {
			if string(rec.Key)+string(rec.Raw) != want[i] {
				t.Fatalf("%+v: record %d differs", o, i)
			}
		}
	}
}
