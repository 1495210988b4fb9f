package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"sync/atomic"
	"testing"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// crowd is a dump in which what belongs to one job lies far apart, with values longer than
// its chunks, jobs that stand in too many places, keys that come twice, as a scan may write
// them, and workers.
func crowd(t testing.TB) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	var recs []*keyspace.Record
	id := func() string { return fmt.Sprintf("%04x", r.IntN(2000)) }
	ids := func(n int) (all []string) {
		for range n {
			all = append(all, id())
		}
		return all
	}
	for i := range 6000 {
		switch r.IntN(12) {
		case 0:
			recs = append(recs, set(t, i%3, "rq:job:"+id()+":dependents", ids(3)...))
		case 1:
			recs = append(recs, set(t, i%3, "rq:job::"+id()+":dependencies", ids(2)...))
		case 2:
			recs = append(recs, hash(t, i%3, fmt.Sprint("session:", i), "k", "v"))
		case 3:
			recs = append(recs, hash(t, 0, fmt.Sprint("rq:worker:", i), "birth", instant, "last_heartbeat", instant))
		case 4:
			recs = append(recs, zset(t, i%3, fmt.Sprint("rq:wip:", i), member{id(), 1}, member{id() + ":0123456789abcdef0123456789abcdef", 2}))
		case 5:
			recs = append(recs, list(t, i%3, fmt.Sprint("rq:queue:", i, ":intermediate"), ids(2)...))
		case 6:
			recs = append(recs, list(t, i%3, fmt.Sprint("rq:queue:", i%7), append(ids(300), "often", "often")...))
		default:
			recs = append(recs, jobHash(t, i%3, id(), "status", "queued", "origin", fmt.Sprint("q", i%5), "enqueued_at", instant, "meta", fmt.Sprint(i)))
		}
	}
	recs = append(recs, set(t, 0, "rq:queues", "rq:queue:1", "rq:queue:77:intermediate"), jobHash(t, 0, "often"))
	var out bytes.Buffer
	w := rdb.NewWriter(&out, format)
	for _, rec := range recs {
		if err := w.Record(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// eachChunk walks a dump in small chunks.
func eachChunk(t testing.TB, dump []byte, do func(*rdb.Chunk)) {
	t.Helper()
	w := rdb.NewWalker(bytes.NewReader(dump), rdb.Options{ChunkSize: 512, MaxValue: 512})
	for {
		c, err := w.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		do(c)
	}
}

// indexedBy is all that an index says of a dump.
type indexedBy struct {
	keys, jobs []byte
	counts     index.Counts
	registered map[string][]string
	workers    []job.Worker
	watermark  int64
}

// indexDump indexes with that many members; with 0 one Builder takes the records itself.
func indexDump(t testing.TB, dump []byte, members int) indexedBy {
	t.Helper()
	var keys, jobs bytes.Buffer
	kw := index.NewKeysWriter(&keys)
	defer kw.Stop()
	b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir(), Memory: 1 << 18, Keys: kw.Write, Before: 1 << 60})
	defer b.Close()
	if members == 0 {
		eachChunk(t, dump, func(c *rdb.Chunk) {
			for i := range c.Records {
				if err := b.Add(&c.Records[i], c.Index); err != nil {
					t.Fatal(err)
				}
			}
			c.Release()
		})
	} else {
		crew := index.NewCrew(b, members)
		eachChunk(t, dump, func(c *rdb.Chunk) {
			if err := crew.Add(c, c.Release); err != nil {
				t.Fatal(err)
			}
		})
		if err := crew.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := kw.Close(); err != nil {
		t.Fatal(err)
	}
	jw := index.NewJobsWriter(&jobs)
	defer jw.Stop()
	if err := b.WriteJobs(jw); err != nil {
		t.Fatal(err)
	}
	if err := jw.Close(); err != nil {
		t.Fatal(err)
	}
	return indexedBy{keys.Bytes(), jobs.Bytes(), b.Counts(), b.Registered(), b.Workers(), b.Watermark()}
}

// Whoever takes which chunk, the files are the same to the byte, and so is all the rest.
func TestCrewFindsWhatOneBuilderFinds(t *testing.T) {
	dump := crowd(t)
	want := indexDump(t, dump, 0)
	if want.counts.Jobs < 1000 || len(want.workers) < 100 || want.watermark == 0 || len(want.jobs) < 10_000 {
		t.Fatalf("the dump is too plain: %+v", want.counts)
	}
	for members := 1; members <= 5; members++ {
		got := indexDump(t, dump, members)
		if !bytes.Equal(got.keys, want.keys) || !bytes.Equal(got.jobs, want.jobs) {
			t.Errorf("%d members write other files", members)
		}
		got.keys, got.jobs = want.keys, want.jobs
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d members: got %+v, %d workers, want %+v, %d workers", members, got.counts, len(got.workers), want.counts, len(want.workers))
		}
	}
}

func TestCrewThatFails(t *testing.T) {
	dump, broken := crowd(t), errors.New("disk full")
	for name, fail := range map[string]struct {
		after  int // rows of keys
		damage bool
	}{"at the first row": {}, "at a later row": {after: 3000}, "at a value": {after: 1 << 30, damage: true}} {
		var done atomic.Int64
		rows, given := 0, 0
		b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir(), Keys: func(*index.KeyRow) error {
			if rows++; rows > fail.after {
				return broken
			}
			return nil
		}})
		crew := index.NewCrew(b, 3)
		var err error
		eachChunk(t, dump, func(c *rdb.Chunk) {
			given++
			if fail.damage && given == 100 {
				c.Records = []keyspace.Record{*list(t, 0, "rq:queue:q", "x")}
				c.Records[0].Raw = c.Records[0].Raw[:3]
			}
			err = crew.Add(c, func() { done.Add(1); c.Release() })
		})
		closed := crew.Close()
		if closed == nil || fail.damage == errors.Is(closed, broken) || err != nil && !errors.Is(err, closed) {
			t.Errorf("%s: Add gives %v, Close %v", name, err, closed)
		}
		if n := int(done.Load()); n != given {
			t.Errorf("%s: %d of %d chunks were given back", name, n, given)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
