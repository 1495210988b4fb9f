package rdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"testing/iotest"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// known reports whether an error is one this package may give for bad input.
func known(err error) bool {
	return err == nil || errors.Is(err, rdb.ErrDamaged) || errors.Is(err, rdb.ErrUnsupported) || errors.Is(err, rdb.ErrNotRDB)
}

// FuzzWalker: whatever the bytes, the walker ends in a known error, or its chunks are
// the dump, and small chunks and odd reads give the same values.
func FuzzWalker(f *testing.F) {
	for _, d := range hostile() {
		f.Add(d, uint16(0))
	}
	for _, c := range values() {
		f.Add(dump(header(c.format)).raw(254, 1, c.typ).str("k").bytes(c.raw).endUnchecked(), uint16(64))
	}
	for _, v := range []keyspace.Format{redis10, redis12, {Version: 13}, redis15, valkey80} {
		f.Add(append(everything(v), 0), uint16(100))
		d := everything(v)
		f.Add(append(d[:len(d)-8], 0, 0, 0, 0, 0, 0, 0, 0), uint16(300))
	}
	f.Fuzz(func(t *testing.T, d []byte, size uint16) {
		whole, err := walk(bytes.NewReader(d), rdb.Options{ChunkSize: 4 << 10, MaxValue: 1 << 20})
		if !known(err) {
			t.Fatal(err)
		}
		parts, err2 := walk(iotest.HalfReader(bytes.NewReader(d)), rdb.Options{ChunkSize: int(size), MaxValue: int(size) * 2})
		// Limits on keys depend on the options; nothing else may.
		if !known(err2) || (err == nil) != (err2 == nil) && !errors.Is(err2, rdb.ErrUnsupported) {
			t.Fatalf("whole: %v; in parts: %v", err, err2)
		}
		for i := range whole.records {
			look(t, &whole.records[i])
		}
		for i := range parts.records {
			look(t, &parts.records[i])
		}
		if err != nil || err2 != nil {
			return
		}
		if !bytes.Equal(whole.data, d) || !bytes.Equal(parts.data, d) {
			t.Fatal("chunks do not add up to the dump")
		}
		i := -1
		var raw []byte
		for _, r := range parts.records {
			if r.Part.Starts() {
				i, raw = i+1, nil
			}
			raw = append(raw, r.Raw...)
			if w := &whole.records[i]; r.Part.Ends() && (!bytes.Equal(raw, w.Raw) || !bytes.Equal(r.Key, w.Key) || r.ExpireAt != w.ExpireAt) {
				t.Fatalf("record %d differs in parts", i)
			}
		}
		if i+1 != len(whole.records) {
			t.Fatalf("%d values in parts, %d whole", i+1, len(whole.records))
		}
	})
}

// look reads a record in every way there is; only known errors may come.
func look(t *testing.T, r *keyspace.Record) {
	n, m := 0, 0
	err := rdb.Elements(r, func(rdb.Element) error { n++; return nil })
	if !known(err) {
		t.Fatal(err)
	}
	if r.Kind == keyspace.Hash {
		err2 := rdb.HashFields(r, nil, func(_, _ []byte) error { m++; return nil })
		if n != m || (err == nil) != (err2 == nil) {
			t.Fatalf("%d elements, %v; %d fields, %v", n, err, m, err2)
		}
		if err := rdb.HashFields(r, func([]byte) bool { return false }, nil); !known(err) {
			t.Fatal(err)
		}
	}
	if _, err := rdb.StreamTail(r); !known(err) {
		t.Fatal(err)
	}
	if _, err := rdb.Decode(r); !known(err) {
		t.Fatal(err)
	}
}

// FuzzElements: a value of any type, whole or a part, gives elements or a known error.
func FuzzElements(f *testing.F) {
	for _, c := range values() {
		if len(c.raw) > 4<<10 {
			continue
		}
		f.Add(c.typ, uint8(c.format.Version), uint8(0), c.raw)
		f.Add(c.typ, uint8(c.format.Version), uint8(2), c.raw)
	}
	f.Fuzz(func(t *testing.T, typ byte, version, part uint8, raw []byte) {
		rec := record(typ, rdb.FormatOfPayload(int(version)), raw)
		rec.Part = keyspace.Part(part % 4)
		rec.Opaque = part&16 != 0
		look(t, rec)
	})
}

// FuzzParsePayload: a sealed payload parses or fails in a known way, and what parses
// makes a payload that parses to the same.
func FuzzParsePayload(f *testing.F) {
	for _, c := range values() {
		if len(c.raw) <= 4<<10 {
			f.Add(c.typ, uint16(c.format.Version), c.raw)
		}
	}
	f.Fuzz(func(t *testing.T, typ byte, version uint16, raw []byte) {
		p := append(append([]byte{typ}, raw...), 0, 0)
		binary.LittleEndian.PutUint16(p[len(p)-2:], version)
		if _, _, _, err := rdb.ParsePayload(p); !known(err) {
			t.Fatal(err)
		}
		p = seal(append(p, make([]byte, 8)...))
		got, v, value, err := rdb.ParsePayload(p)
		if !known(err) {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		if got != typ || v != int(version) || !bytes.Equal(value, raw) {
			t.Fatalf("parsed as type %d, version %d, %d bytes", got, v, len(value))
		}
		rec := record(typ, rdb.FormatOfPayload(v), raw)
		look(t, rec)
		again := rdb.Payload(nil, rec)
		if got, _, value, err := rdb.ParsePayload(again); err != nil || got != typ || !bytes.Equal(value, raw) {
			t.Fatalf("own payload: type %d, %v", got, err)
		}
	})
}
