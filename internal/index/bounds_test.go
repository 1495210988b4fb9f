package index_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/index"
	"rqvault/internal/keyspace"
)

func TestMoreThanAllPlaces(t *testing.T) {
	var ids []string
	for i := range 3000 {
		ids = append(ids, "a", fmt.Sprintf("%08x", uint32(i)*2654435761))
	}
	for _, memory := range []int{0, 1} { // in memory, and through the sort's files
		for _, reverse := range []bool{false, true} {
			recs := []*keyspace.Record{list(t, 0, "rq:queue:q", ids...), jobHash(t, 0, "a")}
			if reverse {
				slices.Reverse(recs)
			}
			got := build(t, index.Options{Memory: memory}, recs...).row(t, "a")
			if len(got.Places) != 1024 || got.Problem == "" {
				t.Errorf("memory %d, hash first %v: got %d places and problem %q, want 1024 and a problem", memory, reverse, len(got.Places), got.Problem)
			}
			// Which are kept must not depend on how the sort went about it: verify compares
			// the rows with those stored.
			if p := got.Places[len(got.Places)-1]; p.Position != 2046 {
				t.Errorf("memory %d, hash first %v: the last place kept is %d, want the 1024 nearest the head", memory, reverse, p.Position)
			}
		}
	}
}

func TestOversizedIDs(t *testing.T) {
	huge, edge := strings.Repeat("x", 4097), strings.Repeat("y", 4096)
	got := build(t, index.Options{}, list(t, 0, "rq:queue:q", "a", huge, edge, "b"), jobHash(t, 0, huge), jobHash(t, 0, edge))
	if got.counts.Oversized != 2 || len(got.rows) != 3 {
		t.Errorf("got %d oversized and rows %d, want 2 and 3", got.counts.Oversized, len(got.rows))
	}
	if p := got.row(t, "b").Places[0].Position; p != 3 {
		t.Errorf("position after an id left out: got %d, want 3", p)
	}
}

func TestOddIDs(t *testing.T) {
	ids := []string{"", "\xff\xfe", "\x00", "a:b.c d", "ü", "a:dependents", "\"\\", "100%", "\u2028"}
	var recs []*keyspace.Record
	for _, id := range ids[1:] {
		recs = append(recs, jobHash(t, 0, id))
	}
	got := build(t, index.Options{}, append(recs, list(t, 0, "rq:queue:q", ids...))...)
	for i, id := range ids {
		if row := got.row(t, id); len(row.Places) != 1 || row.Places[0].Position != int64(i) || row.Exists != (i > 0) {
			t.Errorf("%q: got %+v", id, row)
		}
	}
}

func TestDamagedValuesAreErrors(t *testing.T) {
	for _, r := range []*keyspace.Record{jobHash(t, 0, "a"), list(t, 0, "rq:queue:q", "a", "b"), zset(t, 0, "rq:wip:q", member{"a", 1}),
		set(t, 0, "rq:queues", "x")} {
		for n := range r.Raw {
			cut := *r
			cut.Raw = r.Raw[:n]
			b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir()})
			if err := b.Add(&cut, 0); err == nil {
				t.Errorf("%s cut at %d of %d: got no error", r.Key, n, len(r.Raw))
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	// What is not looked into is nobody's error.
	foreign := set(t, 0, "session:1", "x")
	foreign.Raw = foreign.Raw[:1]
	if got := build(t, index.Options{}, foreign); got.counts.Keys != 1 {
		t.Errorf("got %d keys, want 1", got.counts.Keys)
	}
}

// many makes records whose fragments do not fit into the smallest sort.
func many(t testing.TB, jobs int) []*keyspace.Record {
	var recs []*keyspace.Record
	var ids []string
	for i := range jobs {
		id := fmt.Sprintf("%08x-job", uint32(i)*2654435761)
		ids = append(ids, id)
		recs = append(recs, jobHash(t, i%2, id, "description", "m.f(1)", "dependency_ids", `["p1","p2"]`), set(t, i%2, "rq:job:"+id+":dependents", "x"))
	}
	recs = append(recs, set(t, 0, "rq:queues", "rq:queue:q"))
	for i := 0; i < jobs; i += 100 {
		recs = append(recs, list(t, 0, fmt.Sprintf("rq:queue:q%d", i/1000), ids[i:i+100]...))
	}
	return recs
}

func TestSpilledEqualsInMemory(t *testing.T) {
	recs := many(t, 3000)
	dir := t.TempDir()
	inMemory, spilled := build(t, index.Options{}, recs...), build(t, index.Options{Memory: 1, TempDir: dir}, recs...)
	if len(inMemory.rows) != len(spilled.rows) || len(spilled.rows) < 3000 {
		t.Fatalf("got %d rows in memory and %d spilled", len(inMemory.rows), len(spilled.rows))
	}
	for i := range spilled.rows {
		if !reflect.DeepEqual(inMemory.rows[i], spilled.rows[i]) {
			t.Fatalf("row %d: in memory %+v, spilled %+v", i, inMemory.rows[i], spilled.rows[i])
		}
	}
	if !reflect.DeepEqual(inMemory.counts, spilled.counts) {
		t.Errorf("counts: in memory %+v, spilled %+v", inMemory.counts, spilled.counts)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("the sort left %v in its directory (%v)", left, err)
	}
}

func TestNowhereToSpill(t *testing.T) {
	b := index.NewBuilder(schema, index.Options{Memory: 1, TempDir: t.TempDir() + "/missing"})
	defer b.Close()
	var err error
	for _, r := range many(t, 3000) {
		if err = b.Add(r, 0); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want the directory's error", err)
	}
}

func TestStoppedReading(t *testing.T) {
	b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir(), Memory: 1})
	for _, r := range many(t, 3000) {
		if err := b.Add(r, 0); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, err := range b.Jobs() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 10 {
			break
		}
	}
	if err := b.Close(); err != nil || n != 10 {
		t.Errorf("got %d rows and %v", n, err)
	}
}

func TestWatermark(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixMicro()
	}
	before := at("2026-11-23T07:00:00Z")
	for _, c := range []struct {
		name string
		recs []*keyspace.Record
		want int64
	}{
		{"nothing", nil, 0},
		{"created", []*keyspace.Record{jobHash(t, 0, "a", "created_at", "2026-11-23T06:00:00.000000Z")}, at("2026-11-23T06:00:00Z")},
		{"the newest of one job", []*keyspace.Record{jobHash(t, 0, "a", "created_at", "2026-11-23T05:00:00.000000Z", "last_heartbeat", "2026-11-23T06:00:00.000000Z")}, at("2026-11-23T06:00:00Z")},
		{"of all jobs", []*keyspace.Record{jobHash(t, 0, "a", "created_at", "2026-11-23T06:00:00.000000Z"), jobHash(t, 1, "b", "created_at", "2026-11-23T05:00:00.000000Z")}, at("2026-11-23T06:00:00Z")},
		{"not at or after the start", []*keyspace.Record{jobHash(t, 0, "a", "created_at", "2026-11-23T05:00:00.000000Z", "enqueued_at", "2026-11-23T07:00:00.000000Z", "ended_at", "2026-11-23T08:00:00.000000Z")}, at("2026-11-23T05:00:00Z")},
		{"not of a job that a worker carried over the restart", []*keyspace.Record{jobHash(t, 0, "a", "created_at", "2026-11-23T06:00:00.000000Z",
			"started_at", "2026-11-23T06:30:00.000000Z", "ended_at", "2026-11-23T07:30:00.000000Z")}, 0},
		{"of a job that ran after the restart", []*keyspace.Record{jobHash(t, 0, "a", "created_at", "2026-11-23T06:00:00.000000Z",
			"started_at", "2026-11-23T07:20:00.000000Z", "ended_at", "2026-11-23T07:30:00.000000Z")}, at("2026-11-23T06:00:00Z")},
		{"a result", []*keyspace.Record{results(t, 0, "a", uint64(at("2026-11-23T06:30:00Z")/1000), "1")}, at("2026-11-23T06:30:00Z")},
		{"unreadable", []*keyspace.Record{jobHash(t, 0, "a", "created_at", "junk")}, 0},
	} {
		got := build(t, index.Options{Before: before}, c.recs...)
		if got.b.Watermark() != c.want {
			t.Errorf("%s: got %s, want %s", c.name, time.UnixMicro(got.b.Watermark()).UTC(), time.UnixMicro(c.want).UTC())
		}
		if none := build(t, index.Options{}, c.recs...); none.b.Watermark() != 0 {
			t.Errorf("%s, without a limit: got %d, want none", c.name, none.b.Watermark())
		}
	}
}
