package rdb_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"runtime"
	"testing"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// fails walks a damaged dump, looks into what it gives (small values only), and demands one of this
// package's errors at the end.
func fails(t *testing.T, r io.Reader, o rdb.Options, what string, at int) {
	t.Helper()
	w := rdb.NewWalker(r, o)
	for {
		c, err := w.Next()
		if err == io.EOF {
			t.Fatalf("%s at %d: accepted", what, at)
		}
		if err != nil {
			if !errors.Is(err, rdb.ErrDamaged) && !errors.Is(err, rdb.ErrUnsupported) && !errors.Is(err, rdb.ErrNotRDB) {
				t.Fatalf("%s at %d: %v", what, at, err)
			}
			return
		}
		for i := 0; i < len(c.Records) && o.MaxValue < 4<<10; i++ {
			_ = rdb.Elements(&c.Records[i], func(rdb.Element) error { return nil })
			_, _ = rdb.StreamTail(&c.Records[i])
		}
		c.Release()
	}
}

// Every bit flipped and every cut is noticed: all of them in the small dumps and at
// the start of the larger one, and a good part of the rest.
func TestEveryBitAndEveryCut(t *testing.T) {
	dumps := realDumps(t)
	for _, name := range []string{"rq.rdb", "lfu.rdb", "lru.rdb", "empty.rdb"} {
		d := dumps[name]
		o := rdb.Options{ChunkSize: 64, MaxValue: 1 << 10} // values are looked into as well
		ways := arrivals
		if len(d) > 1000 {
			o = rdb.Options{ChunkSize: 16 << 10, MaxValue: 64 << 10}
			ways = map[string]func(io.Reader) io.Reader{"whole": arrivals["whole"]}
		}
		for way, wrap := range ways {
			for n := 0; n < len(d); n += 1 + n/1500 {
				fails(t, wrap(bytes.NewReader(d[:n])), o, name+" cut, "+way, n)
			}
			b := bytes.Clone(d)
			for bit := range len(b) * 8 {
				if byteAt := bit / 8; byteAt > 1500 && bit%8 != byteAt%8 {
					continue // of the larger dump, one bit per byte from here
				}
				b[bit/8] ^= 1 << (bit % 8)
				fails(t, wrap(bytes.NewReader(b)), o, name+" bit, "+way, bit)
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
	}
}

// A cut is told apart from other damage.
func TestCutIsTruncated(t *testing.T) {
	d := everything(redis10)
	for n := range len(d) {
		_, err := walk(bytes.NewReader(d[:n]), rdb.Options{})
		if !errors.Is(err, rdb.ErrTruncated) || !errors.Is(err, rdb.ErrDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		var e *rdb.Error
		if !errors.As(err, &e) || e.Offset != int64(n) {
			t.Fatalf("cut at %d: %v at %d", n, err, e.Offset)
		}
	}
}

// hostile holds lengths that only an attacker or a broken disk writes.
func hostile() map[string][]byte {
	v := func() *builder { return dump("REDIS0010") }
	huge, far := uint64(1)<<60, uint64(1)<<39
	return map[string][]byte{
		"string":           v().raw(0).str("k").num(huge).raw(1, 2, 3).b,
		"string, far":      v().raw(0).str("k").num(far).raw(1, 2, 3).b,
		"string, max":      v().raw(0).str("k").num(math.MaxUint64).b,
		"key":              v().raw(0).num(huge).b,
		"key, far":         v().raw(0).num(far).raw(1).b,
		"key, lzf":         v().raw(0, 0xC3).nums(5, huge).raw(0, 0, 0, 0, 0).str("v").b,
		"list":             v().raw(1).str("k").num(huge).b,
		"list, far":        v().raw(1).str("k").num(far).str("e").b,
		"hash":             v().raw(4).str("k").num(math.MaxUint64).strs("a", "b").b,
		"hash, far":        v().raw(4).str("k").num(far).strs("a", "b").b,
		"quicklist node":   v().raw(18).str("k").nums(1, 2, huge).b,
		"quicklist":        v().raw(18).str("k").nums(far, 1).str("e").b,
		"container":        v().raw(18).str("k").nums(1, 3).str("e").b,
		"zset":             v().raw(5).str("k").num(far).str("e").b,
		"lzf ratio":        v().raw(0).str("k").raw(0xC3).nums(1000, 1000*88+1).b,
		"lzf compressed":   v().raw(0).str("k").raw(0xC3).nums(huge, 1000).b,
		"stream":           v().raw(19).str("k").num(huge).b,
		"stream groups":    v().raw(19).str("k").nums(0, 0, 0, 0, 0, 0, 0, 0, 0, far).b,
		"stream pending":   v().raw(19).str("k").nums(0, 0, 0, 0, 0, 0, 0, 0, 0, 1).str("g").nums(0, 0, 0, far).b,
		"module":           v().raw(7).str("k").nums(1, 5, huge).b,
		"module mark":      v().raw(7).str("k").nums(1, 6).b,
		"aux":              v().raw(250).str("k").num(huge).b,
		"aux, far":         v().raw(250).str("k").num(far).b,
		"function":         v().raw(245).num(far).b,
		"database":         v().raw(254).num(1 << 31).b,
		"length form":      v().raw(1).str("k").raw(0x82, 0, 0, 0, 0).b,
		"coded length":     v().raw(1).str("k").raw(0xC0, 1).b,
		"string form":      v().raw(0).str("k").raw(0xC4, 1).b,
		"lzf of nothing":   v().raw(0).str("k").raw(0xC3, 0, 0).b,
		"module aux":       v().raw(247).nums(1, 3, 1, 0).b,
		"expiry, no key":   v().raw(252, 1, 0, 0, 0, 0, 0, 0, 0).end(),
		"bad lzf key":      v().raw(0, 0xC3, 2, 20, 0xFF, 0xFF).str("v").end(),
		"templates undone": dump("REDIS0015").raw(32).str("k").num(7).str("v").end(),
		"template, far":    dump("REDIS0015").raw(242).nums(1, far).str("v").b,
		"array":            dump("REDIS0014").raw(28).str("k").nums(far, 0, 0, 0).str("v").b,
	}
}

// allocated returns how many bytes f allocated, kept or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// No length makes the walker take memory for what is not there.
func TestHostileLengths(t *testing.T) {
	for name, d := range hostile() {
		for _, o := range []rdb.Options{{}, {Size: int64(len(d))}, {ChunkSize: 64, MaxValue: 64}} {
			var err error
			got := allocated(func() { _, err = walk(bytes.NewReader(d), o) })
			if !errors.Is(err, rdb.ErrDamaged) {
				t.Errorf("%s: %v, want damage", name, err)
			}
			if got > 4<<20 {
				t.Errorf("%s: %d bytes allocated for a dump of %d", name, got, len(d))
			}
		}
	}
}

// With the dump's size known, a length beyond it is found before it is read to.
func TestSizeBoundsLengths(t *testing.T) {
	b := dump("REDIS0010").raw(0).str("k").num(1 << 30)
	b.b = append(b.b, make([]byte, 1<<20)...)
	src := &counter{r: bytes.NewReader(b.b)}
	_, err := walk(src, rdb.Options{ChunkSize: 64 << 10, Size: int64(len(b.b))})
	if !errors.Is(err, rdb.ErrDamaged) || errors.Is(err, rdb.ErrTruncated) || src.n > 128<<10 {
		t.Errorf("%v after %d bytes", err, src.n)
	}
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// Values with lies inside their blobs are damage, and take no memory either.
func TestHostileValues(t *testing.T) {
	v := func() *builder { return dump("") }
	node := func(entries ...[]byte) []byte {
		return v().num(1).str(string(make([]byte, 16))).str(listpack(entries...)).nums(1, 0, 0, 0, 0, 0, 0, 0, 0).b
	}
	big := []byte{0xF4, 0, 0, 0, 0, 0, 0, 0, 0x10}
	cases := []struct {
		name string
		typ  byte
		raw  []byte
	}{
		{"listpack text", 16, v().str(listpack([]byte{0xF0, 0xFF, 0xFF, 0xFF, 0x7F})).b},
		{"listpack odd", 16, v().str(listpack(lpNum(1))).b},
		{"listpack entry form", 16, v().str(listpack([]byte{0xF5, 1, 2, 3}, lpNum(1))).b},
		{"listpack count", 16, v().str("\x0a\x00\x00\x00\x09\x00\x01\x01\x02\x01\xff"[:10] + "\xff").b},
		{"ziplist text", 13, v().str(ziplist([]byte{0x80, 0x7F, 0xFF, 0xFF, 0xFF})).b},
		{"ziplist odd", 12, v().str(ziplist(zlText("a"))).b},
		{"ziplist score", 12, v().str(ziplist(zlText("a"), zlText("x"))).b},
		{"ziplist empty blob", 13, v().str("").b},
		{"intset count", 11, v().str("\x02\x00\x00\x00\xff\xff\xff\xff\x00\x00").b},
		{"intset width", 11, v().str("\x03\x00\x00\x00\x00\x00\x00\x00").b},
		{"zipmap length", 9, v().str("\x01\xfe\xff\xff\xff\x7fabc\xff").b},
		{"zipmap end", 9, v().str("\x01\x01a\x00\x00").b},
		{"text score", 3, v().num(1).str("m").str("1.2.3").b},
		{"hash trailing", 4, v().num(1).strs("a", "b", "c").b},
		{"lzf bomb", 4, v().num(1).str("f").raw(0xC3).nums(3, 264).raw(0xE0, 0xFF, 0).b},
		{"stream fields", 19, node(lpNum(1), lpNum(0), big)},
		{"stream entries", 19, node(big, lpNum(0), lpNum(0), lpNum(0))},
		{"stream entry fields", 19, node(lpNum(1), lpNum(0), lpNum(0), lpNum(0), lpNum(0), lpNum(0), lpNum(0), big)},
		{"stream pieces", 19, node(lpNum(1), lpNum(0), lpNum(0), lpNum(0), lpNum(2), lpNum(0), lpNum(0), lpNum(4))},
		{"stream nodes", 19, v().num(1 << 39).str("x").b},
		{"stream node id", 19, v().num(1).strs("short", "lp").nums(0, 0, 0, 0, 0, 0, 0, 0, 0).b},
	}
	for _, c := range cases {
		rec := record(c.typ, redis10, c.raw)
		var err, err2 error
		got := allocated(func() {
			if rec.Kind == keyspace.Stream {
				_, err = rdb.StreamTail(rec)
			} else {
				err = rdb.Elements(rec, func(rdb.Element) error { return nil })
			}
			_, err2 = rdb.Decode(rec)
		})
		if !errors.Is(err, rdb.ErrDamaged) || !errors.Is(err2, rdb.ErrDamaged) {
			t.Errorf("%s: %v and %v, want damage", c.name, err, err2)
		}
		if got > 1<<20 {
			t.Errorf("%s: %d bytes allocated for a value of %d", c.name, got, len(c.raw))
		}
	}
}

// In steady state the walker allocates per dump, not per key, and reading a job's
// fields allocates nothing.
func TestAllocations(t *testing.T) {
	count := func(d []byte) float64 {
		return testing.AllocsPerRun(5, func() {
			w := rdb.NewWalker(bytes.NewReader(d), rdb.Options{ChunkSize: 64 << 10, MaxValue: 128 << 10})
			for {
				c, err := w.Next()
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				c.Release()
			}
		})
	}
	coded := func(n int) []byte {
		b := dump("REDIS0010")
		for range n {
			b.raw(252, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0xC2, 0, 0, 1, 0).str("int key").raw(0).lzf(long(90)).str("lzf key")
		}
		return b.end()
	}
	for name, make := range map[string]func(int) []byte{"rq": rqDump, "coded keys": coded} {
		few, many := count(make(2000)), count(make(20_000))
		if many > few+40 {
			t.Errorf("%s: %v allocations for 2,000 keys, %v for 20,000", name, few, many)
		}
	}
	rec := mustWalk(t, rqDump(1), rdb.Options{}).records[0]
	wanted := func(f []byte) bool { return string(f) == "status" || string(f) == "data" }
	seen := 0
	got := testing.AllocsPerRun(1000, func() {
		if err := rdb.HashFields(&rec, wanted, func(f, v []byte) error { seen++; return nil }); err != nil {
			t.Fatal(err)
		}
	})
	if got > 3 || seen == 0 {
		t.Errorf("%v allocations to read a job's fields", got)
	}
}
