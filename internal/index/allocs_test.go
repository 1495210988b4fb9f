package index_test

import (
	"io"
	"testing"

	"rqvault/internal/index"
	"rqvault/internal/keyspace"
)

// keys that a dump is full of: a job's hash, an entry of a list and one of a registry, and a
// key of somebody else's.
func commonKeys(t testing.TB) []*keyspace.Record {
	return []*keyspace.Record{
		jobHash(t, 0, "9b2f7a1c", "description", "app.tasks.run(1)", "enqueued_at", instant, "timeout", "180", "worker_name", "w", "ended_at", ""),
		list(t, 0, "rq:queue:q", "9b2f7a1c"), zset(t, 0, "rq:finished:q", member{"9b2f7a1c", 5}), hash(t, 0, "session:1", "k", "v"),
	}
}

func TestNothingIsAllocatedPerKey(t *testing.T) {
	w := index.NewKeysWriter(io.Discard)
	b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir(), Keys: w.Write})
	for _, r := range commonKeys(t) {
		n := testing.AllocsPerRun(5000, func() {
			if err := b.Add(r, 0); err != nil {
				t.Fatal(err)
			}
		})
		if limit := map[bool]float64{true: 1}[r.Kind == keyspace.List || r.Kind == keyspace.ZSet]; n > limit { // the name of its queue
			t.Errorf("%s: got %v allocations, want %v", r.Key, n, limit)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkAdd indexes the job of commonKeys, its place, and another key.
func BenchmarkAdd(b *testing.B) {
	keys := commonKeys(b)
	w := index.NewKeysWriter(io.Discard)
	builder := index.NewBuilder(schema, index.Options{TempDir: b.TempDir(), Keys: w.Write})
	defer builder.Close()
	b.ReportAllocs()
	for b.Loop() {
		for _, k := range keys {
			if err := builder.Add(k, 0); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkWriteRow writes rows of jobs with all their columns.
func BenchmarkWriteRow(b *testing.B) {
	w := index.NewJobsWriter(io.Discard)
	defer w.Stop()
	r := fullRow(11)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Write(r); err != nil {
			b.Fatal(err)
		}
	}
}
