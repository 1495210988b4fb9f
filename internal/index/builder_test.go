package index_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

func TestPlacesOfAJob(t *testing.T) {
	recs := []*keyspace.Record{
		list(t, 0, "rq:queue:q", "a", "b", "a", "gone"),
		jobHash(t, 0, "a"), jobHash(t, 0, "b", "status", "finished"),
		zset(t, 0, "rq:finished:q", member{"b", math.Inf(1)}, member{"old", 5}),
		zset(t, 0, "rq:failed:q", member{"b", -1}),
		set(t, 0, "rq:group:g", "a"), set(t, 0, "rq:groups", "g"),
		set(t, 0, "rq:queues", "rq:queue:q", "rq:queue:empty"),
		list(t, 0, "rq:queue:q:intermediate", "b"),
		list(t, 0, "rq:queue:_compact:u", "b"),
		jobHash(t, 1, "a"), list(t, 1, "rq:queue:q", "a"),
		hash(t, 0, "rq:job:stub", "last_heartbeat", instant),
		results(t, 0, "b", 1795415550123, "1"), results(t, 0, "lone", 7, "2"),
		set(t, 0, "rq:job::b:dependencies", "a"), set(t, 0, "rq:job:a:dependents", "b"),
		hash(t, 0, "rq:worker:w", "birth", "x"), hash(t, 0, "session:1", "k", "v"), list(t, 0, "rq:what", "x"),
	}
	got := build(t, index.Options{}, recs...)
	a, b := got.row(t, "a"), got.row(t, "b")
	wantPlaces(t, a, job.Place{Kind: job.InGroup, Queue: "g"}, job.Place{Kind: job.InQueue, Queue: "q", Position: 0}, job.Place{Kind: job.InQueue, Queue: "q", Position: 2})
	wantPlaces(t, b, job.Place{Kind: job.InCompact, Queue: "_compact:u"}, job.Place{Kind: job.InFailed, Queue: "q", Score: -1},
		job.Place{Kind: job.InFinished, Queue: "q", Score: math.Inf(1)}, job.Place{Kind: job.InIntermediate, Queue: "q"},
		job.Place{Kind: job.InQueue, Queue: "q", Position: 1})
	wantPlaces(t, got.row(t, "gone"), job.Place{Kind: job.InQueue, Queue: "q", Position: 3})
	wantPlaces(t, got.row(t, "old"), job.Place{Kind: job.InFinished, Queue: "q", Score: 5})
	if !a.Exists || a.Stub || a.Func != "f.g" || a.Queue != "q" || a.Status != job.Queued {
		t.Errorf("got %+v", a)
	}
	if s := got.row(t, "stub"); s.Exists || !s.Stub {
		t.Errorf("a hash without a job: got %+v, want a stub", s)
	}
	if g := got.row(t, "gone"); g.Exists || g.Stub || g.Part(job.HashPart) != nil {
		t.Errorf("an id without a hash: got %+v", g)
	}
	if b.ResultAt != 1795415550123 || b.ResultType != 1 || got.row(t, "lone").ResultType != 2 {
		t.Errorf("results: got %d at %d and %+v", b.ResultType, b.ResultAt, got.row(t, "lone"))
	}
	if b.Part(job.DependenciesPart) == nil || a.Part(job.DependentsPart) == nil || a.Part(job.DependenciesPart) != nil {
		t.Errorf("parts: got %+v and %+v", a.Parts, b.Parts)
	}
	if h := a.Part(job.HashPart); h.Frame != 1 || h.Length != int64(len(recs[1].Raw)) || h.Type != 4 {
		t.Errorf("part: got %+v", h)
	}
	want := index.Counts{Keys: 20, Jobs: 3, Rows: 7, Unknown: 1,
		Kinds: map[string]int64{"list": 5, "hash": 6, "zset": 2, "set": 5, "stream": 2}, DBs: map[int]int64{0: 18, 1: 2},
		Status: map[string]int64{"queued": 2, "finished": 1}, Queues: map[string]map[string]int64{"q": {"queued": 2, "finished": 1}}}
	if !reflect.DeepEqual(got.counts, want) {
		t.Errorf("counts: got %+v\nwant %+v", got.counts, want)
	}
	if r := got.b.Registered(); !reflect.DeepEqual(r, map[string][]string{"0": {"rq:queue:empty", "rq:queue:q"}}) {
		t.Errorf("registered: got %v", r)
	}
}

func TestKeyRows(t *testing.T) {
	recs := []*keyspace.Record{jobHash(t, 3, "a"), list(t, 0, "rq:queue:q"), set(t, 0, "\xff\x00", "x"), list(t, 0, "rq:queue:q:intermediate", "x"),
		set(t, 0, "rq:queues"), set(t, 0, "rq:groups"), set(t, 0, "rq:rl-keys"), hash(t, 0, "rq:worker:w"), hash(t, 0, "rq:x"), set(t, 0, "rq:job:a:dependents")}
	for i, r := range recs {
		r.Offset, r.ExpireAt = int64(100*i), int64(i)
	}
	got := build(t, index.Options{}, recs...)
	roles := []string{"hash", "queue", "", "intermediate", "queues", "groups", "plain", "volatile", "unknown", "dependents"}
	for i, k := range got.keys {
		r := recs[i]
		if string(k.Name()) != string(r.Key) || int(k.DB) != r.DB || k.Kind != r.Kind.String() || k.Type != int32(r.Type) || k.Role != roles[i] ||
			k.ExpireAt != r.ExpireAt || k.Offset != r.Offset || k.Length != int64(len(r.Raw)) || int(k.Frame) != i || k.Digest == 0 {
			t.Errorf("key %q: got %+v", r.Key, k)
		}
	}
	if got.keys[0].Digest == got.keys[1].Digest {
		t.Errorf("two values have one digest")
	}
	broken := errors.New("disk full")
	b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir(), Keys: func(*index.KeyRow) error { return broken }})
	defer b.Close()
	if err := b.Add(recs[0], 0); !errors.Is(err, broken) {
		t.Errorf("got %v, want the callback's error", err)
	}
}

// Since RQ 2.0 a running job stands as "job:execution"; but a job's own id may look so.
func TestWipAmbiguity(t *testing.T) {
	full := "a:" + execution
	place := job.Place{Kind: job.InWip, Queue: "q", Score: 9}
	withMember := place
	withMember.Member = full
	for _, c := range []struct {
		name    string
		jobs    []string
		rows    []string
		holder  string
		want    job.Place
		reverse bool
	}{
		{"only the job", []string{"a"}, []string{"a"}, "a", withMember, false},
		{"no job at all", nil, []string{"a"}, "a", withMember, false},
		{"only a job of the whole name", []string{full}, []string{full}, full, place, false},
		{"both", []string{"a", full}, []string{"a", full}, full, place, false},
		{"both, registry first", []string{"a", full}, []string{"a", full}, full, place, true},
		{"only the job, registry first", []string{"a"}, []string{"a"}, "a", withMember, true},
	} {
		var recs []*keyspace.Record
		for _, id := range c.jobs {
			recs = append(recs, jobHash(t, 0, id, "status", "started"))
		}
		recs = append(recs, zset(t, 0, "rq:wip:q", member{full, 9}))
		// The same names in another database must not matter.
		recs = append(recs, jobHash(t, 1, "b:"+execution))
		if c.reverse {
			slices.Reverse(recs)
		}
		got := build(t, index.Options{}, recs...)
		var rows []string
		for _, r := range got.rows {
			if r.DB == 0 {
				rows = append(rows, r.ID)
			}
		}
		if !slices.Equal(rows, c.rows) {
			t.Errorf("%s: got rows %q, want %q", c.name, rows, c.rows)
			continue
		}
		for _, id := range rows {
			if id == c.holder {
				wantPlaces(t, got.row(t, id), c.want)
			} else {
				wantPlaces(t, got.row(t, id))
			}
		}
	}
}

func TestTwoExecutionsOfOneJob(t *testing.T) {
	one, two := "a:"+execution, "a:"+strings.Repeat("f", 32)
	for _, members := range [][]member{{{one, 1}, {two, 2}}, {{two, 2}, {one, 1}}} {
		got := build(t, index.Options{}, jobHash(t, 0, "a"), zset(t, 0, "rq:wip:q", members...))
		wantPlaces(t, got.row(t, "a"), job.Place{Kind: job.InWip, Queue: "q", Score: 1, Member: one}, job.Place{Kind: job.InWip, Queue: "q", Score: 2, Member: two})
	}
}

func TestListsWithTwoReadings(t *testing.T) {
	for _, registered := range []bool{false, true} {
		names := []string{"rq:queue:x"}
		if registered {
			names = append(names, "rq:queue:x:intermediate", "rq:queue:_compact:u")
		}
		for _, first := range []bool{false, true} { // the set of queues may come before or after
			lists := []*keyspace.Record{list(t, 0, "rq:queue:x:intermediate", "a"), list(t, 0, "rq:queue:_compact:u", "b"), list(t, 1, "rq:queue:x:intermediate", "c")}
			queues := set(t, 0, "rq:queues", names...)
			recs := append(slices.Clone(lists), queues)
			if first {
				recs = append([]*keyspace.Record{queues}, lists...)
			}
			got := build(t, index.Options{}, recs...)
			a, b := job.Place{Kind: job.InIntermediate, Queue: "x"}, job.Place{Kind: job.InCompact, Queue: "_compact:u"}
			if registered {
				a, b = job.Place{Kind: job.InQueue, Queue: "x:intermediate"}, job.Place{Kind: job.InQueue, Queue: "_compact:u"}
			}
			wantPlaces(t, got.row(t, "a"), a)
			wantPlaces(t, got.row(t, "b"), b)
			if r := got.rows[len(got.rows)-1]; r.DB != 1 || r.Places[0].Kind != job.InIntermediate {
				t.Errorf("another database's set of queues counted: got %+v", r)
			}
		}
	}
}

// inParts cuts a record's raw value; the key of each part lies in its own memory, and
// what an earlier part gave is overwritten, as a chunk's buffers are once released.
func addInParts(t testing.TB, b *index.Builder, r *keyspace.Record, cuts ...int) {
	t.Helper()
	cuts = append(append([]int{0}, cuts...), len(r.Raw))
	for i := 1; i < len(cuts); i++ {
		p := *r
		p.Key, p.Raw = slices.Clone(r.Key), slices.Clone(r.Raw[cuts[i-1]:cuts[i]])
		p.Part = keyspace.Middle
		if i == 1 {
			p.Part = keyspace.First
		} else if i == len(cuts)-1 {
			p.Part = keyspace.Last
		}
		if err := b.Add(&p, i); err != nil {
			t.Fatalf("part %d of %q: %v", i, r.Key, err)
		}
		for j := range p.Key {
			p.Key[j] = '#'
		}
		for j := range p.Raw {
			p.Raw[j] = 0xEE
		}
	}
}

func TestValuesInParts(t *testing.T) {
	var ids []string
	var members []member
	for i := range 50 {
		ids = append(ids, fmt.Sprintf("id%02d", i))
		members = append(members, member{ids[i], float64(i)})
	}
	q, z, h := list(t, 0, "rq:queue:some-queue", ids...), zset(t, 0, "rq:finished:some-queue", members...), jobHash(t, 0, "id07", "description", "m.f(1)", "enqueued_at", instant)
	whole := build(t, index.Options{}, q, z, h)

	b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir()})
	defer b.Close()
	addInParts(t, b, q, 1+5*10, 1+5*20, 1+5*20)
	addInParts(t, b, z, 1+13*25)
	addInParts(t, b, h, 1+1+10+1+len(instant))
	n := 0
	for row, err := range b.Jobs() {
		if err != nil {
			t.Fatal(err)
		}
		want := *whole.row(t, row.ID)
		for i := range row.Parts { // frames differ by construction
			row.Parts[i].Frame = want.Parts[i].Frame
		}
		if !same(row, &want) {
			t.Errorf("in parts: got %+v\nwhole: %+v", row, &want)
		}
		n++
	}
	if n != 50 {
		t.Errorf("got %d rows, want 50", n)
	}
}

// The same through the real walker, with chunks given back as soon as they were read.
func TestLargeValuesFromAWalker(t *testing.T) {
	dump := []byte("REDIS0010\xfe\x00")
	var ids []string
	for i := range 20_000 {
		ids = append(ids, fmt.Sprintf("job-%06d", i))
	}
	for _, q := range []string{"first", "second"} {
		dump = append(str(append(dump, 1), "rq:queue:"+q), strs(ids...)...)
		dump = append(append(str(append(dump, 0), "pad-"+q), 0x80, 0, 0, 8, 0), make([]byte, 2048)...)
	}
	dump = append(append(dump, 0xff), make([]byte, 8)...)
	b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir()})
	defer b.Close()
	w := rdb.NewWalker(strings.NewReader(string(dump)), rdb.Options{ChunkSize: 4096, MaxValue: 8192})
	for {
		c, err := w.Next()
		if err != nil {
			if err.Error() != "EOF" {
				t.Fatal(err)
			}
			break
		}
		for i := range c.Records {
			if err := b.Add(&c.Records[i], c.Index); err != nil {
				t.Fatal(err)
			}
		}
		c.Release()
	}
	n := 0
	for row, err := range b.Jobs() {
		if err != nil {
			t.Fatal(err)
		}
		if len(row.Places) != 2 || row.Places[0].Queue != "first" || row.Places[1].Queue != "second" || row.ID != ids[row.Places[0].Position] {
			t.Fatalf("got %+v", row)
		}
		n++
	}
	if n != len(ids) {
		t.Errorf("got %d rows, want %d", n, len(ids))
	}
}

func TestPartsOutOfOrder(t *testing.T) {
	b := index.NewBuilder(schema, index.Options{TempDir: t.TempDir()})
	defer b.Close()
	r := list(t, 0, "rq:queue:q", "a", "b")
	r.Part = keyspace.Middle
	if err := b.Add(r, 0); err == nil {
		t.Error("a part without its beginning: got no error")
	}
	r.Part = keyspace.First
	r.Raw = r.Raw[:3]
	if err := b.Add(r, 0); err != nil {
		t.Fatal(err)
	}
	var got error
	for _, err := range b.Jobs() {
		got = errors.Join(got, err)
	}
	if got == nil {
		t.Error("a value without its end: got no error")
	}
}
