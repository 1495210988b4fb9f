package index_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
	"rqvault/internal/rq"
)

var (
	schema rq.Schema
	format = keyspace.Format{Version: 10}
)

const (
	execution = "0123456789abcdef0123456789abcdef"
	instant   = "2026-11-23T06:32:30.111182Z"
)

func length(b []byte, n int) []byte {
	if n < 64 {
		return append(b, byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0x80), uint32(n))
}

func str(b []byte, s string) []byte { return append(length(b, len(s)), s...) }

// member is one element of a sorted set.
type member struct {
	id    string
	score float64
}

func record(t testing.TB, db int, key string, typ byte, raw []byte) *keyspace.Record {
	t.Helper()
	kind, ok := rdb.KindOf(typ, format)
	if !ok {
		t.Fatalf("type %d is not known", typ)
	}
	return &keyspace.Record{DB: db, Key: []byte(key), Type: typ, Kind: kind, Format: format, Raw: raw}
}

func strs(values ...string) []byte {
	raw := length(nil, len(values))
	for _, v := range values {
		raw = str(raw, v)
	}
	return raw
}

func list(t testing.TB, db int, key string, ids ...string) *keyspace.Record {
	t.Helper()
	return record(t, db, key, 1, strs(ids...))
}

func set(t testing.TB, db int, key string, ids ...string) *keyspace.Record {
	t.Helper()
	return record(t, db, key, 2, strs(ids...))
}

func zset(t testing.TB, db int, key string, members ...member) *keyspace.Record {
	t.Helper()
	raw := length(nil, len(members))
	for _, m := range members {
		raw = binary.LittleEndian.AppendUint64(str(raw, m.id), math.Float64bits(m.score))
	}
	return record(t, db, key, 5, raw)
}

func hash(t testing.TB, db int, key string, fields ...string) *keyspace.Record {
	t.Helper()
	raw := length(nil, len(fields)/2)
	for _, f := range fields {
		raw = str(raw, f)
	}
	return record(t, db, key, 4, raw)
}

// jobHash is the hash of a job as RQ writes it, with more fields or other ones.
func jobHash(t testing.TB, db int, id string, more ...string) *keyspace.Record {
	t.Helper()
	fields := map[string]string{"data": `["f.g", null, [], {}]`, "created_at": instant, "status": "queued", "origin": "q"}
	names := []string{"created_at", "data", "status", "origin"}
	for i := 0; i < len(more); i += 2 {
		if _, known := fields[more[i]]; !known {
			names = append(names, more[i])
		}
		fields[more[i]] = more[i+1]
	}
	var all []string
	for _, n := range names {
		all = append(all, n, fields[n])
	}
	return hash(t, db, "rq:job:"+id, all...)
}

// results is a stream of one entry that says how a run ended.
func results(t testing.TB, db int, id string, ms uint64, how string) *keyspace.Record {
	t.Helper()
	var lp []byte
	n := 0
	num := func(v byte) { lp = append(lp, v, 1); n++ }
	text := func(s string) { lp = append(append(append(lp, 0x80|byte(len(s))), s...), byte(1+len(s))); n++ }
	num(1) // entries
	num(0) // deleted
	num(1) // fields of the master entry
	text("type")
	num(0)
	num(2) // same fields as the master
	num(0) // ms and sequence, from the master's
	num(0)
	text(how)
	num(4)
	head := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint32(nil, uint32(len(lp)+7)), uint16(n))
	lp = append(append(head, lp...), 0xff)
	nodeKey := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, ms), 0)
	raw := str(str([]byte{1}, string(nodeKey)), string(lp))
	raw = append(raw, 1)
	raw = binary.BigEndian.AppendUint64(append(raw, 0x81), ms)
	raw = append(raw, 0, 0) // sequence, groups
	return record(t, db, "rq:results:"+id, 15, raw)
}

type built struct {
	rows   []*job.Row
	byID   map[string]*job.Row // of database 0
	keys   []index.KeyRow
	counts index.Counts
	b      *index.Builder
}

// build runs records through a builder, each in the frame of its number.
func build(t testing.TB, o index.Options, recs ...*keyspace.Record) *built {
	t.Helper()
	out := &built{byID: map[string]*job.Row{}}
	o.Keys = func(k *index.KeyRow) error {
		out.keys = append(out.keys, *k)
		return nil
	}
	if o.TempDir == "" {
		o.TempDir = t.TempDir()
	}
	b := index.NewBuilder(schema, o)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for i, r := range recs {
		if err := b.Add(r, i); err != nil {
			t.Fatalf("add %q: %v", r.Key, err)
		}
	}
	for row, err := range b.Jobs() {
		if err != nil {
			t.Fatal(err)
		}
		if n := len(out.rows); n > 0 && job.Compare(out.rows[n-1], row) >= 0 {
			t.Errorf("row %d/%q comes after %d/%q", row.DB, row.ID, out.rows[n-1].DB, out.rows[n-1].ID)
		}
		out.rows = append(out.rows, row)
		if row.DB == 0 {
			out.byID[row.ID] = row
		}
	}
	out.counts, out.b = b.Counts(), b
	return out
}

func (b *built) row(t testing.TB, id string) *job.Row {
	t.Helper()
	if b.byID[id] == nil {
		t.Fatalf("no row for %q; there are %v", id, b.ids())
	}
	return b.byID[id]
}

func (b *built) ids() []string {
	var ids []string
	for _, r := range b.rows {
		ids = append(ids, fmt.Sprintf("%d/%q", r.DB, r.ID))
	}
	return ids
}

// same compares rows as a file gives them back: nil and empty are one.
func same(a, b *job.Row) bool {
	x, y := *a, *b
	for _, r := range []*job.Row{&x, &y} {
		r.Parents, r.Places, r.Parts = slices.Clip(append([]string{}, r.Parents...)), append([]job.Place{}, r.Places...), append([]job.Part{}, r.Parts...)
	}
	return reflect.DeepEqual(x, y)
}

func wantPlaces(t testing.TB, r *job.Row, want ...job.Place) {
	t.Helper()
	if !reflect.DeepEqual(r.Places, want) && len(r.Places)+len(want) > 0 {
		t.Errorf("places of %q: got %+v, want %+v", r.ID, r.Places, want)
	}
}
