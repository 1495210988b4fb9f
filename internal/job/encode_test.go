package job_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/job"
)

func all(*job.Place, bool) bool { return true }

// hashRow has every field that AppendHash carries, each with another value, so that two
// that were swapped show.
func hashRow() job.Row {
	return job.Row{Exists: true, Status: job.Queued, Queue: "q", Func: "f.g", CreatedAt: 1, EnqueuedAt: -2, StartedAt: 3, EndedAt: 4,
		HeartbeatAt: 5, ExpireAt: math.MaxInt64, Timeout: -1, TTL: 7, ResultTTL: math.MinInt64, HasResultTTL: true, RetriesLeft: 9,
		RepeatsLeft: 10, AtFront: true, AllowParentFailed: true, Parents: []string{"a", "", "\xff:c"}, Group: "g", Worker: "w\x00", Problem: "p"}
}

func TestFragmentsRoundTrip(t *testing.T) {
	want := hashRow()
	want.ResultAt, want.ResultType = 1795415550111, 5
	want.Places = []job.Place{
		{Kind: job.InQueue, Queue: "q", Position: math.MaxInt64},
		{Kind: job.InFinished, Queue: "ü", Score: math.Inf(1)},
		{Kind: job.InFailed, Queue: "", Score: -1},
		{Kind: job.InWip, Queue: "q", Score: math.SmallestNonzeroFloat64, Member: "j:\xff"},
	}
	want.Parts = []job.Part{{Name: job.HashPart, Type: 255, ExpireAt: -1, Offset: -1, Length: 1 << 40, Frame: math.MaxInt32, Digest: math.MinInt64},
		{Name: job.ResultsPart, Type: 21}}
	var got job.Row
	merge := func(b []byte) {
		t.Helper()
		if err := got.Merge(b, nil, all); err != nil {
			t.Fatal(err)
		}
	}
	h := hashRow()
	merge(job.AppendHash(nil, &h))
	merge(job.AppendResult(nil, &want))
	for _, p := range want.Places {
		merge(job.AppendPlace(nil, p, false))
	}
	for _, p := range want.Parts {
		merge(job.AppendPart(nil, p))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestEachFlagTravelsAlone(t *testing.T) {
	for _, want := range []job.Row{{Exists: true}, {HasResultTTL: true}, {AtFront: true}, {AllowParentFailed: true}, {HasFailureTTL: true}, {}} {
		var got job.Row
		if err := got.Merge(job.AppendHash(nil, &want), nil, all); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for _, alt := range []bool{false, true} {
		var got job.Row
		p := job.Place{Kind: job.InWip, Queue: "q"}
		err := got.Merge(job.AppendPlace(nil, p, alt), nil, func(seen *job.Place, a bool) bool {
			if *seen != p || a != alt {
				t.Errorf("asked about %+v, alt %v, want %+v, %v", *seen, a, p, alt)
			}
			return false
		})
		if err != nil || len(got.Places) != 0 {
			t.Errorf("a place that was refused: got %+v, %v", got.Places, err)
		}
	}
}

// Fragments of one job come in no particular order, and a scan may meet its hash twice.
func TestOrderOfFragmentsDoesNotMatter(t *testing.T) {
	h := hashRow()
	fragments := [][]byte{
		job.AppendHash(nil, &h), job.AppendHash(nil, &h), job.AppendResult(nil, &job.Row{ResultAt: 5, ResultType: 1}),
		job.AppendPlace(nil, job.Place{Kind: job.InQueue, Queue: "q"}, false), job.AppendLink(nil, []byte("p"), false),
		job.AppendLink(nil, []byte("r"), true), job.AppendPart(nil, job.Part{Name: job.HashPart}),
	}
	var want job.Row
	for _, f := range fragments[1:] {
		if err := want.Merge(f, nil, all); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		r.Shuffle(len(fragments), func(i, j int) { fragments[i], fragments[j] = fragments[j], fragments[i] })
		var got job.Row
		for _, f := range fragments {
			if err := got.Merge(f, nil, all); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	}
}

// What the builder notes about a job's places must not be lost to the job's hash.
func TestProblemOutlivesTheHash(t *testing.T) {
	row := job.Row{Problem: "stands in more than 1024 places"}
	if err := row.Merge(job.AppendHash(nil, &job.Row{Exists: true}), nil, all); err != nil {
		t.Fatal(err)
	}
	if row.Problem == "" {
		t.Errorf("the problem noted before the hash is gone")
	}
}

func TestDamagedFragments(t *testing.T) {
	h := hashRow()
	for name, whole := range map[string][]byte{
		"hash": job.AppendHash(nil, &h), "result": job.AppendResult(nil, &job.Row{ResultAt: 1 << 40, ResultType: 2}),
		"parents": job.AppendHash(nil, &job.Row{Parents: []string{"", "", ""}}),
		"place":   job.AppendPlace(nil, job.Place{Kind: job.InQueue, Queue: "q", Score: 1, Position: 300, Member: "m"}, true),
		"link":    job.AppendLink(nil, []byte("parent"), true),
		"part":    job.AppendPart(nil, job.Part{Name: job.HashPart, Offset: 1 << 50, Digest: -1}),
	} {
		for n := range whole {
			var row job.Row
			if err := row.Merge(whole[:n], nil, all); err == nil {
				t.Errorf("%s cut at %d of %d: got no error", name, n, len(whole))
			}
		}
		var row job.Row
		if err := row.Merge(append(slices.Clone(whole), 0), nil, all); err == nil {
			t.Errorf("%s with a byte after it: got no error", name)
		}
	}
	huge := append([]byte{3}, binary.AppendUvarint(nil, math.MaxUint64)...)
	for _, b := range [][]byte{nil, {}, {0}, {6}, {255}, {1}, huge} {
		var row job.Row
		if err := row.Merge(b, nil, all); err == nil {
			t.Errorf("fragment %x: got no error", b)
		}
	}
}

func FuzzMerge(f *testing.F) {
	h := hashRow()
	f.Add(job.AppendHash(nil, &h))
	f.Add(job.AppendResult(nil, &job.Row{ResultAt: 1, ResultType: 2}))
	f.Add(job.AppendPlace(nil, job.Place{Kind: job.InWip, Queue: "q", Score: 1, Member: "m"}, true))
	f.Add(job.AppendPart(nil, job.Part{Name: job.HashPart, Offset: 1}))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var row job.Row
		if err := row.Merge(b, nil, all); err != nil {
			return
		}
		if len(row.Parents) > len(b) || len(row.Places) > 1 || len(row.Parts) > 1 {
			t.Errorf("%d bytes became %d parents, %d places, %d parts", len(b), len(row.Parents), len(row.Places), len(row.Parts))
		}
		// What was read is what would be written.
		var again job.Row
		var encoded []byte
		switch b[0] {
		case 1:
			encoded = job.AppendHash(nil, &row)
		case 2:
			encoded = job.AppendPlace(nil, row.Places[0], false)
		case 3:
			encoded = job.AppendPart(nil, row.Parts[0])
		case 4:
			encoded = job.AppendResult(nil, &row)
		}
		if err := again.Merge(encoded, nil, all); err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", row) {
			t.Errorf("%x: read as %+v, written and read as %+v, %v", b, row, again, err)
		}
	})
}

func TestVersionIsTheNewestInstant(t *testing.T) {
	for name, row := range map[string]job.Row{
		"created":                   {CreatedAt: 7000, EnqueuedAt: 1},
		"enqueued":                  {CreatedAt: 1, EnqueuedAt: 7000, StartedAt: 5},
		"started":                   {StartedAt: 7000, EndedAt: 6999},
		"ended":                     {EndedAt: 7000, HeartbeatAt: 6999},
		"heartbeat":                 {HeartbeatAt: 7000, ResultAt: 6},
		"result":                    {ResultAt: 7, EndedAt: 6999},
		"canceled":                  {CreatedAt: 1, Places: []job.Place{{Kind: job.InQueue, Score: 99}, {Kind: job.InCanceled, Score: 0.007}}},
		"never ending cancel":       {CreatedAt: 7000, Places: []job.Place{{Kind: job.InCanceled, Score: math.Inf(-1)}}},
		"other scores do not count": {CreatedAt: 7000, Places: []job.Place{{Kind: job.InFinished, Score: 99}, {Kind: job.InScheduled, Score: 99}, {Kind: job.InFailed, Score: 99}}},
	} {
		if got := row.Version(); got != 7000 {
			t.Errorf("%s: got version %d, want 7000", name, got)
		}
	}
	if got := (&job.Row{}).Version(); got != 0 {
		t.Errorf("of nothing: got %d, want 0", got)
	}
	// No clock says so: such a score must not make a job newer than everything.
	for _, score := range []float64{math.Inf(1), math.NaN(), 1e300, -1e300} {
		row := job.Row{CreatedAt: 7000, Places: []job.Place{{Kind: job.InCanceled, Score: score}}}
		if got := row.Version(); got != 7000 {
			t.Errorf("canceled at %v: got version %d, want 7000", score, got)
		}
	}
}

func TestCompareIsTheOrderOfTheIndex(t *testing.T) {
	ids := []string{"", "\x00", "\x00\x00", "A", "a", "a:b", "a:", "ab", "b", "z", "é", "\x7f", "\x80", "\xff", "\xff\xff", strings.Repeat("a", 20)}
	dbs := []int32{0, 1, 2, 15, 255, 256, 65536, math.MaxInt32}
	var rows []job.Row
	for _, db := range dbs {
		for _, id := range ids {
			rows = append(rows, job.Row{DB: db, ID: id})
		}
	}
	key := func(r *job.Row) string { return string(binary.BigEndian.AppendUint32(nil, uint32(r.DB))) + r.ID }
	for i := range rows {
		for j := range rows {
			a, b := &rows[i], &rows[j]
			got, want := job.Compare(a, b), cmp.Compare(key(a), key(b))
			if cmp.Compare(got, 0) != want {
				t.Errorf("Compare(%d/%q, %d/%q): got %d, want %d", a.DB, a.ID, b.DB, b.ID, got, want)
			}
		}
	}
}

func TestStatuses(t *testing.T) {
	known := []job.Status{"created", "queued", "started", "deferred", "finished", "failed", "stopped", "scheduled", "canceled", "rate_limited", "ready_to_enqueue"}
	for _, s := range known {
		ended := s == job.Finished || s == job.Failed || s == job.Stopped || s == job.Canceled
		if !s.Known() || s.Ended() != ended {
			t.Errorf("%s: got known %v, ended %v, want true, %v", s, s.Known(), s.Ended(), ended)
		}
	}
	for _, s := range []job.Status{"", "unknown", "Queued", "queued ", "exploded"} {
		if s.Known() || s.Ended() {
			t.Errorf("%q: got known %v, ended %v, want neither", s, s.Known(), s.Ended())
		}
	}
	for k, want := range map[job.PlaceKind]bool{job.InQueue: true, job.InIntermediate: true, job.InCompact: true, job.InWip: false, job.InGroup: false, job.InFinished: false} {
		if k.Ordered() != want {
			t.Errorf("%s: got ordered %v, want %v", k, k.Ordered(), want)
		}
	}
}

func TestPartAndPlace(t *testing.T) {
	row := job.Row{Parts: []job.Part{{Name: job.HashPart, Type: 4}}, Places: []job.Place{{Kind: job.InQueue, Queue: "a"}, {Kind: job.InQueue, Queue: "b"}}}
	if p := row.Part(job.HashPart); p != &row.Parts[0] {
		t.Errorf("got part %v, want the row's own", p)
	}
	if p := row.Place(job.InQueue); p != &row.Places[0] {
		t.Errorf("got place %v, want the first", p)
	}
	if row.Part(job.ResultsPart) != nil || row.Place(job.InWip) != nil {
		t.Errorf("got a part or place that is not there")
	}
}
