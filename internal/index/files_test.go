package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"rqvault/internal/index"
	"rqvault/internal/job"
)

func jobsFile(t testing.TB, rows ...*job.Row) []byte {
	t.Helper()
	var out bytes.Buffer
	w := index.NewJobsWriter(&out)
	for _, r := range rows {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func readJobs(b []byte) (rows []*job.Row, err error) {
	for row, err := range index.ReadJobs(bytes.NewReader(b), int64(len(b))) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// fullRow has another value in each column.
func fullRow(i int) *job.Row {
	n := int64(i + 1)
	return &job.Row{DB: int32(i % 3), ID: fmt.Sprintf("id-%06d", i), Exists: true, Stub: i%2 == 0, Status: job.Queued, Queue: "q", Func: "f.g",
		CreatedAt: n, EnqueuedAt: -n, StartedAt: 3 * n, EndedAt: 4 * n, HeartbeatAt: 5 * n, ExpireAt: math.MaxInt64 - n, Timeout: -1, TTL: 7 * n,
		ResultTTL: n - 3, HasResultTTL: i%2 == 1, RetriesLeft: 8 * n, RepeatsLeft: 9 * n, AtFront: i%3 == 0, AllowParentFailed: i%5 == 0,
		Parents: []string{"p", fmt.Sprint(i)}[:i%3%2+1], Group: "g", Worker: "w", ResultAt: 10 * n, ResultType: int32(i % 6), Problem: "p",
		Places: []job.Place{{Kind: job.InFinished, Queue: "q", Score: math.Inf(1)}, {Kind: job.InQueue, Queue: "ü", Position: n},
			{Kind: job.InWip, Queue: "q", Score: -0.5, Member: "m:" + execution}}[:i%4%4],
		Parts: []job.Part{{Name: job.HashPart, Type: 4, ExpireAt: n, Offset: 2 * n, Length: 3 * n, Frame: int32(n), Digest: -n},
			{Name: job.ResultsPart, Type: 21, Offset: -1}}[:i%3]}
}

func TestJobsFileRoundTrip(t *testing.T) {
	odd := []string{"", "\xff\xfe", "\x00", "a:b.c d", "ü", `\xff`, "\"", "\u2028", "a\xffb", strings.Repeat("\xfe", 4096)}
	var want []*job.Row
	for i, id := range odd {
		r := fullRow(i)
		r.ID = id
		want = append(want, r)
	}
	want = append(want, &job.Row{}, &job.Row{HasResultTTL: true}, &job.Row{ResultTTL: -1, HasResultTTL: true, Parents: []string{""}})
	for i := range 500 {
		want = append(want, fullRow(i))
	}
	got, err := readJobs(jobsFile(t, want...))
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %d rows, %v, want %d", len(got), err, len(want))
	}
	for i := range want {
		if !same(got[i], want[i]) {
			t.Errorf("row %d: got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

// Rows stay valid after later ones were read, across pages and row groups.
func TestRowsOutliveTheReader(t *testing.T) {
	const n = 45_000 // more than two row groups
	var out bytes.Buffer
	w := index.NewJobsWriter(&out)
	for i := range n {
		r := fullRow(i)
		if i%1000 == 0 {
			r.ID = fmt.Sprintf("\xff%06d", i)
		}
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := readJobs(out.Bytes())
	if err != nil || len(got) != n {
		t.Fatalf("got %d rows, %v, want %d", len(got), err, n)
	}
	for i, r := range got {
		want := fullRow(i)
		if i%1000 == 0 {
			want.ID = fmt.Sprintf("\xff%06d", i)
		}
		if !same(r, want) {
			t.Fatalf("row %d: got %+v\nwant %+v", i, r, want)
		}
	}
}

func TestBuiltRowsSurviveTheFile(t *testing.T) {
	b := build(t, index.Options{}, many(t, 1000)...)
	got, err := readJobs(jobsFile(t, b.rows...))
	if err != nil || len(got) != len(b.rows) {
		t.Fatalf("got %d rows, %v, want %d", len(got), err, len(b.rows))
	}
	for i := range got {
		if !same(got[i], b.rows[i]) {
			t.Fatalf("row %d: got %+v\nwant %+v", i, got[i], b.rows[i])
		}
	}
}

func TestKeysFileRoundTrip(t *testing.T) {
	var want []index.KeyRow
	for i, name := range []string{"", "a", "\xff\xfe", `\xff`, "ü", "rq:job:a", strings.Repeat("\x80", 1000)} {
		n := int64(i + 1)
		want = append(want, index.KeyRow{DB: int32(i), Key: name, Kind: "hash", Type: 4, Role: "hash", ExpireAt: n, Offset: 2 * n, Length: 3 * n, Frame: int32(4 * n), Digest: -5 * n})
	}
	for i := range 1000 {
		want = append(want, index.KeyRow{Key: fmt.Sprint(i), Kind: "string", Digest: int64(i)})
	}
	var out bytes.Buffer
	w := index.NewKeysWriter(&out)
	for i := range want {
		if err := w.Write(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	i := 0
	for k, err := range index.ReadKeys(bytes.NewReader(out.Bytes()), int64(out.Len())) {
		if err != nil {
			t.Fatal(err)
		}
		if string(k.Name()) != want[i].Key {
			t.Errorf("key %d: got %q, want %q", i, k.Name(), want[i].Key)
		}
		got := *k
		got.Key, got.Raw = want[i].Key, nil
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("key %d: got %+v, want %+v", i, got, want[i])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("got %d keys, want %d", i, len(want))
	}
}

func TestEmptyFiles(t *testing.T) {
	if got, err := readJobs(jobsFile(t)); err != nil || len(got) != 0 {
		t.Errorf("got %d rows, %v, want none", len(got), err)
	}
	for _, b := range [][]byte{nil, {}, []byte("PAR1"), []byte("PAR1PAR1"), []byte("not a parquet file at all"), make([]byte, 1000)} {
		if _, err := readJobs(b); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%.10q: got %v, want ErrDamaged", b, err)
		}
	}
}

// Others read these files too: the columns are part of the format.
func TestColumnsOfTheJobsFile(t *testing.T) {
	b := jobsFile(t, fullRow(1))
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range f.Schema().Columns() {
		got = append(got, strings.Join(c, "."))
	}
	for _, want := range []string{"db", "job_id", "job_id_raw", "exists", "status", "queue", "func", "created_at", "expire_at", "problem",
		"places.list.element.kind", "places.list.element.score", "parts.list.element.digest", "parents.list.element"} {
		if !slices.Contains(got, want) {
			t.Errorf("no column %s among %v", want, got)
		}
	}
}

// grown returns how many bytes f allocates.
func grown(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Index files are proven by their SHA-256 before they are read; beneath that, whatever
// a damaged one does, it must not end the process nor eat its memory.
func TestDamagedJobsFile(t *testing.T) {
	var rows []*job.Row
	for i := range 2 {
		rows = append(rows, fullRow(i))
	}
	b := jobsFile(t, rows...)
	const limit = 4 << 30 // the format's sizes of pages are 32 bits wide, and believed
	check := func(what string, b []byte) {
		t.Helper()
		var err error
		var got []*job.Row
		if n := grown(func() { got, err = readJobs(b) }); n > limit {
			t.Errorf("%s: reading took %d MiB", what, n>>20)
		}
		if len(got) > 10*len(rows) {
			t.Errorf("%s: got %d rows of %d, %v", what, len(got), len(rows), err)
		}
	}
	// Each read takes two milliseconds; one byte in five, and every bit in its turn.
	for i := 0; i < len(b); i += 5 {
		bit := i % 8
		b[i] ^= 1 << bit
		check(fmt.Sprintf("bit %d of byte %d of %d flipped", bit, i, len(b)), b)
		b[i] ^= 1 << bit
	}
	for n := 0; n < len(b); n += 23 {
		check(fmt.Sprintf("cut at %d of %d", n, len(b)), b[:n])
		if _, err := readJobs(b[:n]); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("cut at %d of %d: got %v, want ErrDamaged", n, len(b), err)
		}
	}
}

func TestCallersPanicIsTheirs(t *testing.T) {
	b := jobsFile(t, fullRow(1))
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("got %v, want the caller's own panic", p)
		}
	}()
	for range index.ReadJobs(bytes.NewReader(b), int64(len(b))) {
		panic("mine")
	}
}

var errDisk = errors.New("disk full")

// failing fails its write number n and all after it.
type failing struct{ n int }

func (f *failing) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestFullDisk(t *testing.T) {
	for n := range 1000 {
		f := &failing{n: n}
		w := index.NewJobsWriter(f)
		var err error
		for i := range 10 {
			err = errors.Join(err, w.Write(fullRow(i)))
		}
		err = errors.Join(err, w.Close())
		if f.n >= 0 {
			if err != nil || n == 0 {
				t.Errorf("%d writes were enough: got %v", n, err)
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Errorf("write %d fails: got %v, want the disk's error", n, err)
		}
	}
	t.Error("1000 writes were not enough")
}

type brokenReader struct{ io.ReaderAt }

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, os.ErrClosed }

func TestUnreadableFile(t *testing.T) {
	for _, err := range index.ReadJobs(brokenReader{}, 1000) {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v, want the file's error in it", err)
		}
	}
}

func FuzzReadJobs(f *testing.F) {
	f.Add(jobsFile(f))
	f.Add(jobsFile(f, &job.Row{}))
	f.Add(jobsFile(f, fullRow(1), fullRow(2), fullRow(3)))
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows := 0
		if n := grown(func() {
			for row, err := range index.ReadJobs(bytes.NewReader(b), int64(len(b))) {
				if err == nil && row == nil {
					t.Error("got neither a row nor an error")
				}
				if rows++; rows > 1<<16 {
					break // a count that says so; the caller may stop at any time
				}
			}
		}); n > 256<<20 {
			t.Errorf("%d bytes took %d MiB", len(b), n>>20)
		}
	})
}
