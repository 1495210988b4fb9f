package rdb_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// tiny is small enough to bring almost every value of a test dump in parts.
var tiny = []rdb.Options{{ChunkSize: 64, MaxValue: 64}, {ChunkSize: 64, MaxValue: 256}, {ChunkSize: 100, MaxValue: 1000}, {ChunkSize: 500, MaxValue: 5000}}

// join puts the parts of values together and checks their order. The elements of
// parts that can be read are collected in the order they come.
type joined struct {
	rec      keyspace.Record
	elements []string
	opaque   bool // some part could not be looked into
	parts    int
}

func join(t testing.TB, records []keyspace.Record) []joined {
	t.Helper()
	var all []joined
	open := false
	for i := range records {
		r := &records[i]
		if open == r.Part.Starts() {
			t.Fatalf("%q: part %d out of order", r.Key, r.Part)
		}
		if r.Part.Starts() {
			all = append(all, joined{rec: *r})
			all[len(all)-1].rec.Raw = nil
		}
		open = !r.Part.Ends()
		j := &all[len(all)-1]
		j.parts++
		if string(r.Key) != string(j.rec.Key) || r.Type != j.rec.Type || r.DB != j.rec.DB || r.ExpireAt != j.rec.ExpireAt || r.Kind != j.rec.Kind {
			t.Fatalf("part %+v does not belong to %+v", r, j.rec)
		}
		if r.Offset != j.rec.Offset+int64(len(j.rec.Raw)) {
			t.Fatalf("%q: part at %d, want %d", r.Key, r.Offset, j.rec.Offset+int64(len(j.rec.Raw)))
		}
		j.rec.Raw = append(j.rec.Raw, r.Raw...)
		switch r.Kind {
		case keyspace.List, keyspace.Set, keyspace.ZSet, keyspace.Hash:
			if r.Opaque {
				j.opaque = true
			} else {
				j.elements = append(j.elements, elementsOf(t, r)...)
			}
		}
		if len(r.Raw) == 0 {
			t.Errorf("%q: empty part", r.Key)
		}
	}
	if open {
		t.Error("last part is missing")
	}
	return all
}

// A value delivered in parts is the value delivered whole: same bytes, same
// elements, same key in every part.
func TestParts(t *testing.T) {
	dumps := realDumps(t)
	big := dump("REDIS0010")
	for _, c := range values() {
		if c.format == redis10 {
			big.raw(c.typ).str(c.name).bytes(c.raw)
		}
	}
	dumps["built"] = big.end()
	dumps["rq"] = rqDump(300)
	for name, d := range dumps {
		whole := mustWalk(t, d, rdb.Options{})
		for _, o := range tiny {
			got, err := walk(bytes.NewReader(d), o)
			if err != nil || !bytes.Equal(got.data, d) {
				t.Fatalf("%s %+v: %v, %d of %d bytes", name, o, err, len(got.data), len(d))
			}
			all := join(t, got.records)
			if len(all) != len(whole.records) || got.sum.Keys != whole.sum.Keys {
				t.Fatalf("%s %+v: %d values, want %d", name, o, len(all), len(whole.records))
			}
			for i, j := range all {
				compareParts(t, o, &j, &whole.records[i])
			}
		}
	}
}

func compareParts(t *testing.T, o rdb.Options, j *joined, w *keyspace.Record) {
	t.Helper()
	if string(j.rec.Key) != string(w.Key) || !bytes.Equal(j.rec.Raw, w.Raw) || j.rec.Offset != w.Offset {
		t.Errorf("%+v: %q differs from the whole", o, w.Key)
	}
	if (len(w.Raw) <= o.MaxValue) != (j.parts == 1) {
		t.Errorf("%+v: %q of %d bytes comes in %d parts", o, w.Key, len(w.Raw), j.parts)
	}
	switch w.Kind {
	case keyspace.List, keyspace.Set, keyspace.ZSet, keyspace.Hash:
		want := elementsOf(t, w)
		if !j.opaque && !slices.Equal(j.elements, want) {
			t.Errorf("%+v: %q: elements of parts %.200q, of whole %.200q", o, w.Key, j.elements, want)
		}
		if j.opaque && len(j.elements) >= len(want) && len(want) > 0 {
			t.Errorf("%+v: %q: %d elements around an opaque one, %d in all", o, w.Key, len(j.elements), len(want))
		}
	}
}

// Around an element too large to hold, the others stay readable.
func TestPartsAroundGiant(t *testing.T) {
	giant := strings.Repeat("g", 3000)
	pairs := func(n int) (s []string) {
		for range n {
			s = append(s, "field", "value")
		}
		return s
	}
	layouts := map[string][]string{
		"first":  append([]string{"big", giant}, pairs(40)...),
		"middle": slices.Concat(pairs(40), []string{"big", giant}, pairs(40)),
		"last":   append(pairs(40), "big", giant),
		"only":   {"big", giant},
		"two":    slices.Concat(pairs(3), []string{"big", giant, giant, "big"}, pairs(3)),
		"field":  slices.Concat(pairs(1), []string{giant, giant}, pairs(1)),
	}
	for name, s := range layouts {
		d := dump("REDIS0010").raw(4).str("h").num(uint64(len(s)/2)).strs(s...).raw(1).str("l").num(uint64(len(s))).strs(s...).raw(0).strs("str", giant).end()
		got := mustWalk(t, d, rdb.Options{ChunkSize: 128, MaxValue: 512})
		if got.largest > 512+128 {
			t.Errorf("%s: chunk of %d bytes", name, got.largest)
		}
		var hash, list []string
		for i := 0; i < len(s); i += 2 {
			if s[i] != giant && s[i+1] != giant {
				hash = append(hash, s[i]+"="+s[i+1])
			}
		}
		for _, e := range s {
			if e != giant {
				list = append(list, e)
			}
		}
		all := join(t, got.records)
		if len(all) != 3 || !slices.Equal(all[0].elements, hash) || !slices.Equal(all[1].elements, list) {
			t.Errorf("%s: readable elements %q and %q, want %q and %q", name, all[0].elements, all[1].elements, hash, list)
		}
		for _, r := range got.records {
			if !r.Opaque {
				continue
			}
			if err := rdb.Elements(&r, nil); !errors.Is(err, rdb.ErrUnsupported) && r.Kind != keyspace.String {
				t.Errorf("%s: elements of an opaque part: %v", name, err)
			}
			if rdb.Payload(nil, &r) != nil {
				t.Errorf("%s: payload of a part", name)
			}
		}
	}
}

// An opcode's payload of any size passes through; key metadata and keys have a limit.
func TestOversizedPayloads(t *testing.T) {
	big := long(5000)
	d := dump("REDIS0013").raw(245).str(big).raw(250).strs("k", big).raw(247).nums(5, 2, 0, 5).str(big).raw(0).raw(254, 1, 0).strs("k", "v").end()
	got := mustWalk(t, d, rdb.Options{ChunkSize: 64, MaxValue: 512})
	if len(got.records) != 1 || got.records[0].DB != 1 || got.sum.Functions != 1 || got.largest > 1024 {
		t.Errorf("%d records, %+v, largest chunk %d", len(got.records), got.sum, got.largest)
	}
	for _, d := range [][]byte{dump("REDIS0010").raw(0).strs(long(70_000), "v").end(), dump("REDIS0013").raw(243).num(1).raw(1, 2, 3, 4, 5).str(long(70_000)).raw(0, 0).strs("k", "v").end()} {
		if _, err := walk(bytes.NewReader(d), rdb.Options{ChunkSize: 64, MaxValue: 512}); !errors.Is(err, rdb.ErrUnsupported) {
			t.Errorf("oversized: %v, want unsupported", err)
		}
	}
}

// Chunks stay as they were while the walker goes on, until they are released.
func TestChunksAreIndependent(t *testing.T) {
	d := rqDump(2000)
	w := rdb.NewWalker(bytes.NewReader(d), rdb.Options{ChunkSize: 8 << 10, MaxValue: 16 << 10})
	var held []*rdb.Chunk
	for {
		c, err := w.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		if len(held) == 7 {
			held[3].Release()
			held[3].Release() // twice is harmless
			held = slices.Delete(held, 3, 4)
		}
	}
	for _, c := range held {
		if !bytes.Equal(c.Data, d[c.Offset:c.Offset+int64(len(c.Data))]) {
			t.Fatalf("chunk %d has changed", c.Index)
		}
		for _, r := range c.Records {
			if !bytes.Equal(r.Raw, d[r.Offset:r.Offset+int64(len(r.Raw))]) || !strings.HasPrefix(string(r.Key), "rq:") {
				t.Fatalf("record %q has changed", r.Key)
			}
		}
	}
}

// Chunks may be read and released by other goroutines while the walker goes on.
func TestChunksAcrossGoroutines(t *testing.T) {
	d := rqDump(3000)
	w := rdb.NewWalker(bytes.NewReader(d), rdb.Options{ChunkSize: 16 << 10, MaxValue: 1 << 20})
	chunks, sums := make(chan *rdb.Chunk, 4), make(chan int)
	for range 3 {
		go func() {
			keys := 0
			for c := range chunks {
				for i := range c.Records {
					if c.Records[i].Kind == keyspace.Hash && rdb.Elements(&c.Records[i], func(rdb.Element) error { return nil }) == nil {
						keys++
					}
				}
				if !bytes.Equal(c.Data, d[c.Offset:c.Offset+int64(len(c.Data))]) {
					keys = -1 << 20
				}
				c.Release()
			}
			sums <- keys
		}()
	}
	var err error
	for err == nil {
		var c *rdb.Chunk
		if c, err = w.Next(); err == nil {
			chunks <- c
		}
	}
	close(chunks)
	if keys := <-sums + <-sums + <-sums; keys != 3000 || err != io.EOF {
		t.Errorf("%d hashes read, %v; want 3000", keys, err)
	}
}
