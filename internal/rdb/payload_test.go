package rdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// Every type makes a payload with the lowest version that knows it, and comes back.
func TestPayloadRoundTrip(t *testing.T) {
	since := map[byte]int{0: 6, 1: 6, 2: 6, 3: 6, 4: 6, 5: 8, 7: 8, 9: 6, 10: 6, 11: 6, 12: 6, 13: 6, 14: 7, 15: 9, 16: 10, 17: 10, 18: 10,
		19: 10, 20: 11, 21: 11, 22: 12, 23: 12, 24: 12, 25: 12, 26: 13, 27: 14, 28: 14, 31: 15}
	for _, c := range values() {
		want := since[c.typ]
		if c.format.Vendor == keyspace.Valkey {
			want = 80
		}
		rec := record(c.typ, c.format, c.raw)
		p := rdb.Payload([]byte("before"), rec)
		if string(p[:6]) != "before" {
			t.Errorf("%s: what stood before is gone", c.name)
		}
		p = p[6:]
		if v := int(binary.LittleEndian.Uint16(p[len(p)-10:])); v != want {
			t.Errorf("%s: version %d, want %d", c.name, v, want)
		}
		typ, version, raw, err := rdb.ParsePayload(p)
		if err != nil || typ != c.typ || version != want || !bytes.Equal(raw, c.raw) {
			t.Errorf("%s: type %d, version %d, %d bytes, %v", c.name, typ, version, len(raw), err)
		}
		if kind, ok := rdb.KindOf(typ, rdb.FormatOfPayload(version)); !ok || kind != rec.Kind {
			t.Errorf("%s: kind %v, %v", c.name, kind, ok)
		}
		for _, part := range []keyspace.Part{keyspace.First, keyspace.Middle, keyspace.Last} {
			cut := *rec
			cut.Part = part
			if rdb.Payload(nil, &cut) != nil {
				t.Errorf("%s: payload of a part", c.name)
			}
		}
		checkBrokenPayloads(t, c.name, p)
	}
	for _, typ := range []byte{30, 32, 29, 6} {
		if rdb.Payload(nil, record(typ, redis15, []byte{0})) != nil {
			t.Errorf("type %d has a payload", typ)
		}
	}
}

// seal replaces a payload's checksum by the right one.
func seal(p []byte) []byte {
	p = slices.Clone(p)
	binary.LittleEndian.PutUint64(p[len(p)-8:], jonesOf(p[:len(p)-8]))
	return p
}

func checkBrokenPayloads(t *testing.T, name string, p []byte) {
	t.Helper()
	for bit := 0; bit < len(p)*8; bit += 1 + len(p)/60 {
		b := slices.Clone(p)
		b[bit/8] ^= 1 << (bit % 8)
		if _, _, _, err := rdb.ParsePayload(b); !errors.Is(err, rdb.ErrChecksum) {
			t.Fatalf("%s, bit %d: %v, want a wrong checksum", name, bit, err)
		}
	}
	for n := 0; n < len(p); n += 1 + len(p)/60 {
		if _, _, _, err := rdb.ParsePayload(p[:n]); !errors.Is(err, rdb.ErrDamaged) {
			t.Fatalf("%s, first %d bytes: %v, want damage", name, n, err)
		}
	}
	body, foot := p[:len(p)-10], p[len(p)-10:]
	for what, b := range map[string][]byte{"byte more": slices.Concat(body, []byte{0}, foot), "byte less": slices.Concat(body[:len(body)-1], foot)} {
		if _, _, _, err := rdb.ParsePayload(seal(b)); !errors.Is(err, rdb.ErrDamaged) || errors.Is(err, rdb.ErrChecksum) {
			t.Errorf("%s, a %s: %v, want damage", name, what, err)
		}
	}
}

// Key metadata goes into the payload, but is not taken apart.
func TestPayloadWithMetadata(t *testing.T) {
	rec := record(0, keyspace.Format{Version: 13}, []byte{1, 'v'})
	rec.Meta = []byte("\xf3\x01cls\x00\x05\x04meta\x00")
	p := rdb.Payload(nil, rec)
	if want := string(rec.Meta) + "\x00\x01v\x0d\x00"; string(p[:len(p)-8]) != want {
		t.Errorf("payload %q, want %q", p[:len(p)-8], want)
	}
	if _, _, _, err := rdb.ParsePayload(p); !errors.Is(err, rdb.ErrUnsupported) {
		t.Errorf("parsed: %v, want unsupported", err)
	}
}

// The writer refuses what a server of its version could not load, and parts out of
// order, and passes on the errors of what it writes to.
func TestWriterRefuses(t *testing.T) {
	write := func(f keyspace.Format, recs ...*keyspace.Record) error {
		w := rdb.NewWriter(io.Discard, f)
		for _, r := range recs {
			if err := w.Record(r); err != nil {
				return err
			}
		}
		return w.Close()
	}
	for _, c := range values() {
		rec := record(c.typ, c.format, c.raw)
		if err := write(c.format, rec); err != nil {
			t.Errorf("%s into its own format: %v", c.name, err)
		}
		for _, f := range []keyspace.Format{{Version: 6}, {Version: 11}, {Version: 15}, valkey80} {
			p := rdb.Payload(nil, rec)
			since := rdb.FormatOfPayload(int(binary.LittleEndian.Uint16(p[len(p)-10:])))
			fits := since.Version <= f.Version && (c.typ < 22 || since.Vendor == f.Vendor)
			if err := write(f, rec); fits != (err == nil) || err != nil && !errors.Is(err, rdb.ErrUnsupported) {
				t.Errorf("%s into %s: %v", c.name, f, err)
			}
		}
	}
	for _, f := range []keyspace.Format{{}, {Version: 4}, {Version: 16}, {Vendor: keyspace.Valkey, Version: 11}, {Version: 123456}} {
		if err := write(f); err == nil {
			t.Errorf("dump of %s is accepted", f)
		}
	}
	part := func(p keyspace.Part, key string) *keyspace.Record {
		return &keyspace.Record{Key: []byte(key), Type: 1, Kind: keyspace.List, Format: redis10, Part: p, Raw: []byte{0}}
	}
	for name, recs := range map[string][]*keyspace.Record{
		"no first":  {part(keyspace.Middle, "k")},
		"no last":   {part(keyspace.First, "k")},
		"two first": {part(keyspace.First, "k"), part(keyspace.First, "k")},
		"other key": {part(keyspace.First, "k"), part(keyspace.Last, "l")},
		"cut off":   {part(keyspace.First, "k"), part(keyspace.Whole, "l")},
	} {
		if err := write(redis10, recs...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	broken := errors.New("disk full")
	w := rdb.NewWriter(failing{broken}, redis10)
	if err := w.Close(); err != broken {
		t.Errorf("close on a full disk: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A written dump is what the walker reads back, in both vendors' headers.
func TestWriterRoundTrip(t *testing.T) {
	for _, f := range []keyspace.Format{redis10, redis15, valkey80} {
		var out bytes.Buffer
		w := rdb.NewWriter(&out, f)
		var want []keyspace.Record
		if err := w.Select(4); err != nil {
			t.Fatal(err)
		}
		for i, c := range values() {
			if c.format != f && c.format != redis10 {
				continue
			}
			rec := record(c.typ, f, c.raw)
			rec.Key, rec.DB, rec.ExpireAt = []byte(c.name), i/5, int64(i%3)
			if f == redis15 && i%2 == 0 {
				rec.Meta = []byte("\xf3\x00")
			}
			want = append(want, *rec)
			if err := w.Record(rec); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err == nil {
			t.Error("closed twice")
		}
		got := mustWalk(t, out.Bytes(), rdb.Options{}).records
		if len(got) != len(want) {
			t.Fatalf("%s: %d records, want %d", f, len(got), len(want))
		}
		for i, r := range got {
			if want[i].Offset = r.Offset; string(r.Key) != string(want[i].Key) || r.DB != want[i].DB || r.ExpireAt != want[i].ExpireAt ||
				!bytes.Equal(r.Raw, want[i].Raw) || r.Kind != want[i].Kind || !bytes.Equal(r.Meta, want[i].Meta) {
				t.Errorf("%s: %+v, want %+v", f, r, want[i])
			}
		}
	}
}
