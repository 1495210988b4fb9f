package index

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/parquet-go/parquet-go"

	"rqvault/internal/job"
)

// What is read column by column is what the library makes of the same file row by row.
func TestColumnsSayWhatRowsSay(t *testing.T) {
	var out bytes.Buffer
	w := NewJobsWriter(&out)
	const n = 2*groupRows + 7
	for i := range n {
		r := &job.Row{DB: int32(i % 3), ID: fmt.Sprint("id", i), Exists: i%2 == 0, Status: job.Failed, Queue: fmt.Sprint("q", i%5), CreatedAt: int64(i),
			ResultTTL: int64(i%3 - 1), HasResultTTL: i%3 != 1, FailureTTL: int64(i % 2), HasFailureTTL: i%2 == 1, AtFront: i%7 == 0, ResultType: int32(i % 6),
			Parents: []string{"a", "b"}[:i%3], ParentSet: []string{"c", "d", "e"}[:i%4], ListedBy: []string{"f"}[:i%2],
			Places: []job.Place{{Kind: job.InQueue, Queue: "q", Position: int64(i)}, {Kind: job.InWip, Score: 1.5, Member: "m"}}[:i%3],
			Parts:  []job.Part{{Name: job.HashPart, Type: 4, ExpireAt: int64(i), Offset: 1, Length: 2, Frame: 3, Digest: -4}, {Name: job.ResultsPart, Digest: 5}}[:i%3]}
		if i%100 == 1 {
			r.ID = fmt.Sprint("\xff", i)
		}
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if !ourColumns(f) {
		t.Fatal("our own file was not recognized")
	}
	var rows []job.Row
	if err := eachRow(f, func(r *jobRow) bool {
		if len(r.RawID) > 0 {
			r.ID = string(r.RawID)
		}
		rows = append(rows, r.Row)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	i := 0
	if err := jobGroups(f, func(r *job.Row) bool {
		want := rows[i]
		for _, list := range []*[]string{&want.Parents, &want.ParentSet, &want.ListedBy} {
			if len(*list) == 0 {
				*list = nil
			}
		}
		if len(want.Places) == 0 {
			want.Places = nil
		}
		if len(want.Parts) == 0 {
			want.Parts = nil
		}
		if !reflect.DeepEqual(*r, want) {
			t.Fatalf("row %d: got %+v, want %+v", i, *r, want)
		}
		i++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if i != n || len(rows) != n {
		t.Errorf("got %d and %d rows, want %d", i, len(rows), n)
	}
}
