package rdb_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

var (
	redis10  = keyspace.Format{Version: 10}
	redis12  = keyspace.Format{Version: 12}
	redis15  = keyspace.Format{Version: 15}
	valkey80 = keyspace.Format{Vendor: keyspace.Valkey, Version: 80}
)

// record makes a whole record of a type as a walker would.
func record(typ byte, f keyspace.Format, raw []byte) *keyspace.Record {
	kind, _ := rdb.KindOf(typ, f)
	return &keyspace.Record{Key: []byte("k"), Type: typ, Kind: kind, Format: f, Raw: raw}
}

// listpack packs entries that are given in their own encoding.
func listpack(entries ...[]byte) string {
	b := make([]byte, 6)
	for _, e := range entries {
		b = append(b, e...)
		switch n := len(e); {
		case n <= 127:
			b = append(b, byte(n))
		case n < 16383:
			b = append(b, byte(n>>7), byte(n&127|128))
		default:
			b = append(b, byte(n>>14), byte(n>>7&127|128), byte(n&127|128))
		}
	}
	b = append(b, 0xFF)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint16(b[4:], uint16(len(entries)))
	return string(b)
}

// lpText is a listpack's text entry, lpNum its 7-bit number.
func lpText(s string) []byte {
	switch n := len(s); {
	case n < 64:
		return append([]byte{0x80 | byte(n)}, s...)
	case n < 4096:
		return append([]byte{0xE0 | byte(n>>8), byte(n)}, s...)
	default:
		return append(binary.LittleEndian.AppendUint32([]byte{0xF0}, uint32(n)), s...)
	}
}

func lpNum(n byte) []byte { return []byte{n} }

// ziplist packs entries that are given in their own encoding.
func ziplist(entries ...[]byte) string {
	b := make([]byte, 10)
	last, before := 10, 0
	for _, e := range entries {
		last = len(b)
		if before < 254 {
			b = append(b, byte(before))
		} else {
			b = binary.LittleEndian.AppendUint32(append(b, 254), uint32(before))
		}
		b = append(b, e...)
		before = len(b) - last
	}
	b = append(b, 0xFF)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint32(b[4:], uint32(last))
	binary.LittleEndian.PutUint16(b[8:], uint16(len(entries)))
	return string(b)
}

func zlText(s string) []byte {
	switch n := len(s); {
	case n < 64:
		return append([]byte{byte(n)}, s...)
	case n < 1<<14:
		return append([]byte{0x40 | byte(n>>8), byte(n)}, s...)
	default:
		return append(binary.BigEndian.AppendUint32([]byte{0x80}, uint32(n)), s...)
	}
}

// long is text of a length that needs the longer encodings.
func long(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + i*i%23)
	}
	return string(b)
}

// double appends a score as sorted sets hold it.
func (b *builder) double(f float64) *builder {
	b.b = binary.LittleEndian.AppendUint64(b.b, math.Float64bits(f))
	return b
}

// elementsOf formats all elements of a record, one string each.
func elementsOf(t testing.TB, rec *keyspace.Record) []string {
	t.Helper()
	got := []string{}
	err := rdb.Elements(rec, func(e rdb.Element) error {
		got = append(got, formatElement(rec.Kind, e))
		return nil
	})
	if err != nil {
		t.Fatalf("elements of %q, type %d: %v", rec.Key, rec.Type, err)
	}
	return got
}

func formatElement(k keyspace.Kind, e rdb.Element) string {
	switch k {
	case keyspace.Hash:
		return fmt.Sprintf("%s=%s", e.Member, e.Value)
	case keyspace.ZSet:
		return fmt.Sprintf("%s:%v", e.Member, e.Score)
	}
	return string(e.Member)
}

// values lists one value per type and encoding, with what its elements must be.
// Types without readable elements have want nil.
func values() []valueCase {
	ints := [][]byte{lpNum(127), {0xC0, 0x00}, {0xDF, 0xFF}, {0xCF, 0xFF}, {0xD0, 0x00}, {0xF1, 0x00, 0x80}, {0xF2, 0xFF, 0xFF, 0x7F},
		{0xF2, 0, 0, 0x80}, {0xF3, 0, 0, 0, 0x80}, {0xF4, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}}
	intsWant := []string{"127", "0", "-1", "4095", "-4096", "-32768", "8388607", "-8388608", "-2147483648", "9223372036854775807"}
	texts := [][]byte{lpText(""), lpText(long(63)), lpText(long(64)), lpText(long(4095)), lpText(long(4096)), lpText(long(16382 - 5)), lpText(long(16383 - 5)), lpText(long(20000))}
	textsWant := []string{"", long(63), long(64), long(4095), long(4096), long(16377), long(16378), long(20000)}
	zl := [][]byte{{0xF1}, {0xFD}, {0xFE, 0x80}, {0xC0, 0x00, 0x80}, {0xF0, 0x00, 0x00, 0x80}, {0xD0, 0, 0, 0, 0x80},
		{0xE0, 0, 0, 0, 0, 0, 0, 0, 0x80}, zlText(""), zlText(long(64)), zlText(long(300)), zlText(long(16384)), zlText("end")}
	zlWant := []string{"0", "12", "-128", "-32768", "-8388608", "-2147483648", "-9223372036854775808", "", long(64), long(300), long(16384), "end"}
	zip := "\x02\x03foo\x03\x00bar\x05hello\x05\x02worldxx\xff"
	bigZip := "\x01\xfe\x2c\x01\x00\x00" + long(300) + "\xfe\x00\x01\x00\x00\x00" + long(256) + "\xff"
	intset := func(width int, ns ...int64) string {
		b := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(width)), uint32(len(ns)))
		for _, n := range ns {
			b = append(b, binary.LittleEndian.AppendUint64(nil, uint64(n))[:width]...)
		}
		return string(b)
	}
	v := func() *builder { return dump("") }
	min := uint64(1_700_000_000_000)
	return []valueCase{
		{"plain list", 1, redis10, v().num(5).str("a").raw(0xC0, 0xFF).raw(0xC1, 0, 0x80).raw(0xC2, 0, 0, 0, 0x80).lzf(long(70)).b,
			[]string{"a", "-1", "-32768", "-2147483648", long(70)}},
		{"empty list", 1, redis10, v().num(0).b, []string{}},
		{"plain set", 2, redis10, v().num(2).strs("x", "").b, []string{"x", ""}},
		{"text zset", 3, redis10, v().num(4).str("a").str("1.5").str("i").raw(254).str("j").raw(255).str("e").str("-3e-5").b,
			[]string{"a:1.5", "i:+Inf", "j:-Inf", "e:-3e-05"}},
		{"nan zset", 3, redis10, v().num(1).str("n").raw(253).b, []string{"n:NaN"}},
		{"plain hash", 4, redis10, v().num(2).str("f").lzf(long(99)).raw(0xC0, 7).str("").b, []string{"f=" + long(99), "7="}},
		{"zset", 5, redis10, v().num(2).str("m").double(2.25).lzf(long(40)).double(math.Inf(-1)).b, []string{"m:2.25", long(40) + ":-Inf"}},
		{"zipmap", 9, redis10, v().str(zip).b, []string{"foo=bar", "hello=world"}},
		{"zipmap, long", 9, redis10, v().lzf(bigZip).b, []string{long(300) + "=" + long(256)}},
		{"ziplist", 10, redis10, v().str(ziplist(zl...)).b, zlWant},
		{"intset 16", 11, redis10, v().str(intset(2, -32768, 5)).b, []string{"-32768", "5"}},
		{"intset 32", 11, redis10, v().str(intset(4, -70000, 70000)).b, []string{"-70000", "70000"}},
		{"intset 64", 11, redis10, v().lzf(intset(8, math.MinInt64, math.MaxInt64)).b, []string{"-9223372036854775808", "9223372036854775807"}},
		{"ziplist zset", 12, redis10, v().str(ziplist(zlText("a"), []byte{0xF2}, zlText("b"), zlText("-2.5"), zlText("c"), zlText("inf"))).b,
			[]string{"a:1", "b:-2.5", "c:+Inf"}},
		{"ziplist hash", 13, redis10, v().lzf(ziplist(zlText("f"), zlText("v"), []byte{0xF3}, []byte{0xF4})).b, []string{"f=v", "2=3"}},
		{"quicklist", 14, redis10, v().num(2).str(ziplist(zl...)).lzf(ziplist(zlText("z"))).b, append(slices.Clone(zlWant), "z")},
		{"listpack hash", 16, redis10, v().str(listpack(lpText("f"), lpText("v"), lpNum(1), []byte{0xDF, 0xFE})).b, []string{"f=v", "1=-2"}},
		{"listpack zset", 17, redis10, v().str(listpack(lpText("m"), lpNum(3), lpText("n"), lpText("0.5"))).b, []string{"m:3", "n:0.5"}},
		{"quicklist 2", 18, redis10, v().num(4).num(2).str(listpack(ints...)).num(1).str("plain").num(1).raw(0xC0, 9).num(2).lzf(listpack(texts...)).b,
			slices.Concat(intsWant, []string{"plain", "9"}, textsWant)},
		{"listpack set", 20, keyspace.Format{Version: 11}, v().str(listpack(texts...)).b, textsWant},
		{"hash ttl rc", 22, redis12, v().num(2).num(0).strs("a", "b").num(min).strs("c", "d").b, []string{"a=b", "c=d"}},
		{"hash listpack ttl rc", 23, redis12, v().str(listpack(lpText("f"), lpText("v"), lpNum(0))).b, []string{"f=v"}},
		{"hash ttl", 24, redis12, v().raw(binary.LittleEndian.AppendUint64(nil, min)...).num(2).num(1).strs("a", "b").num(0).strs("c", "d").b, []string{"a=b", "c=d"}},
		{"hash listpack ttl", 25, redis12, v().raw(binary.LittleEndian.AppendUint64(nil, min)...).
			str(listpack(lpText("f"), lpText("v"), append([]byte{0xF4}, binary.LittleEndian.AppendUint64(nil, min)...), lpText("g"), lpNum(4), lpNum(0))).b, []string{"f=v", "g=4"}},
		{"valkey hash ttl", 22, valkey80, v().num(2).strs("a", "b").raw(binary.LittleEndian.AppendUint64(nil, min)...).strs("c", "d").
			raw(0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF).b, []string{"a=b", "c=d"}},
		{"template hash", 31, redis15, v().num(1).strs("a", "b").b, []string{"a=b"}},
		{"string", 0, redis10, v().lzf(long(50)).b, nil},
		{"module", 7, redis10, v().num(1<<60).nums(1, 5, 2, 1<<40).raw(3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 5).str("blob").raw(0).b, nil},
		{"stream 1", 15, redis10, streamValue(1), nil},
		{"stream 2", 19, redis10, streamValue(2), nil},
		{"stream 3", 21, keyspace.Format{Version: 11}, streamValue(3), nil},
		{"stream 4", 26, keyspace.Format{Version: 13}, streamValue(4), nil},
		{"stream 5", 27, keyspace.Format{Version: 14}, streamValue(5), nil},
		{"array", 28, keyspace.Format{Version: 14}, v().nums(3, 1, 77).nums(0, 0).str("a").nums(1, 2).double(1).nums(9, 3).str("b").b, nil},
		{"array without cursor", 28, keyspace.Format{Version: 14}, v().nums(0, 0).b, nil},
	}
}

type valueCase struct {
	name   string
	typ    byte
	format keyspace.Format
	raw    []byte
	want   []string
}

// streamValue builds a stream of two nodes, one entry deleted, and two groups, in
// one of the five layouts.
func streamValue(version int) []byte {
	id := func(ms, seq uint64) string {
		return string(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, ms), seq))
	}
	b := dump("").num(2)
	b.str(id(5, 1)).str(listpack(lpNum(2), lpNum(1), lpNum(2), lpText("a"), lpText("b"), lpNum(0),
		lpNum(2), lpNum(0), lpNum(0), lpText("1"), lpText("2"), lpNum(5),
		lpNum(3), lpNum(1), lpNum(0), lpText("x"), lpText("y"), lpNum(5),
		lpNum(0), lpNum(2), []byte{0xDF, 0xFF}, lpNum(2), lpText("c"), lpText("d"), lpText("c"), lpNum(7), lpNum(8)))
	b.str(id(9, 0)).lzf(listpack(lpNum(1), lpNum(0), lpNum(1), lpText("f"), lpNum(0), lpNum(2), lpNum(0), lpNum(0), lpText("v"), lpNum(4)))
	b.nums(3, 12, 4)
	if version >= 2 {
		b.nums(5, 1, 6, 1, 5)
	}
	b.num(2)
	for _, name := range []string{"g1", "g2"} {
		b.str(name).nums(7, 0)
		if version >= 2 {
			b.num(math.MaxUint64)
		}
		b.num(1).raw([]byte(id(5, 1))...).raw(1, 0, 0, 0, 0, 0, 0, 0).num(3)
		b.num(2).str("alice").raw(2, 0, 0, 0, 0, 0, 0, 0)
		if version >= 3 {
			b.raw(3, 0, 0, 0, 0, 0, 0, 0)
		}
		b.num(1).raw([]byte(id(5, 1))...).str("idle").raw(4, 0, 0, 0, 0, 0, 0, 0)
		if version >= 3 {
			b.raw(5, 0, 0, 0, 0, 0, 0, 0)
		}
		b.num(0)
		if version >= 5 {
			b.num(1).raw([]byte(id(9, 0))...)
		}
	}
	if version >= 4 {
		b.nums(1000, 10, 1).str("producer").num(2).str("i1").nums(5, 1).str("i2").nums(9, 0).nums(4, 1)
	}
	return b.b
}

// Every encoding, also those that no server here writes, gives its elements.
func TestElements(t *testing.T) {
	for _, c := range values() {
		t.Run(c.name, func(t *testing.T) {
			rec := record(c.typ, c.format, c.raw)
			if c.want == nil {
				if err := rdb.Elements(rec, nil); !errors.Is(err, rdb.ErrUnsupported) {
					t.Fatalf("elements of a %s: error %v, want unsupported", c.name, err)
				}
				return
			}
			if got := elementsOf(t, rec); !slices.Equal(got, c.want) {
				t.Errorf("elements\n got %.300q\nwant %.300q", got, c.want)
			}
			for n := range len(c.raw) {
				cut := *rec
				cut.Raw = c.raw[:n]
				if err := rdb.Elements(&cut, func(rdb.Element) error { return nil }); !errors.Is(err, rdb.ErrDamaged) {
					t.Fatalf("first %d of %d bytes: error %v, want damage", n, len(c.raw), err)
				}
			}
		})
	}
}

// HashFields yields the wanted fields only, and skips compressed values unread.
func TestHashFields(t *testing.T) {
	bad := dump("").num(3).str("a").str("1").str("broken").raw(0xC3, 2, 10, 0xFF, 0xFF).str("b").str("2").b
	for _, c := range values() {
		if kind, _ := rdb.KindOf(c.typ, c.format); kind != keyspace.Hash {
			continue
		}
		var got []string
		err := rdb.HashFields(record(c.typ, c.format, c.raw), func(f []byte) bool { return len(got) < 1 },
			func(f, v []byte) error { got = append(got, string(f)+"="+string(v)); return nil })
		if err != nil || len(got) != 1 || got[0] != c.want[0] {
			t.Errorf("%s: got %.80q, %v; want the first of %.80q", c.name, got, err, c.want)
		}
	}
	var got []string
	err := rdb.HashFields(record(4, redis10, bad), func(f []byte) bool { return string(f) != "broken" },
		func(f, v []byte) error { got = append(got, string(f)+"="+string(v)); return nil })
	if want := []string{"a=1", "b=2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("around a broken field: %q, %v; want %q", got, err, want)
	}
	if err := rdb.HashFields(record(4, redis10, bad), nil, func(f, v []byte) error { return nil }); !errors.Is(err, rdb.ErrDamaged) {
		t.Errorf("through a broken field: %v, want damage", err)
	}
	if err := rdb.HashFields(record(1, redis10, []byte{0}), nil, nil); !errors.Is(err, rdb.ErrUnsupported) {
		t.Errorf("of a list: %v, want unsupported", err)
	}
}

// The callback's error stops the walk and comes back unchanged, even if it is of
// this package.
func TestElementsStops(t *testing.T) {
	for _, stop := range []error{errors.New("enough"), &rdb.Error{Offset: 7, Err: rdb.ErrDamaged}} {
		for _, c := range values() {
			if len(c.want) == 0 {
				continue
			}
			calls := 0
			err := rdb.Elements(record(c.typ, c.format, c.raw), func(rdb.Element) error { calls++; return stop })
			if err != stop || calls != 1 {
				t.Errorf("%s: error %v after %d calls, want %v after 1", c.name, err, calls, stop)
			}
			if e, ok := err.(*rdb.Error); ok && (e.Offset != 7 || e.What != "") {
				t.Errorf("%s: the callback's error was changed to %v", c.name, e)
			}
		}
	}
}
