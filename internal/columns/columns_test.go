package columns_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"rqvault/internal/columns"
)

type item struct {
	Name  string  `parquet:"name,dict"`
	Score float64 `parquet:"score"`
}

type row struct {
	ID     string   `parquet:"id"`
	N      int64    `parquet:"n"`
	Small  int32    `parquet:"small"`
	Yes    bool     `parquet:"yes"`
	Maybe  int64    `parquet:"maybe,optional"`
	Digest int64    `parquet:"digest"`
	Words  []string `parquet:"words,list,optional"`
	Items  []item   `parquet:"items,list"`
}

type group struct {
	*columns.Group
	id, words                 *columns.Text
	n, maybe, digest          *columns.Int64
	small                     *columns.Int32
	yes                       *columns.Bool
	maybeAt, wordsAt, itemsAt *columns.Levels
	name                      *columns.Name
	score                     *columns.Double
}

func newGroup() *group {
	g := &group{Group: columns.NewGroup(10)}
	g.id, g.n, g.small, g.yes = g.Text("id", nil), g.Int64("n", nil), g.Int32("small", nil), g.Bool("yes", nil)
	g.maybeAt, g.wordsAt, g.itemsAt = g.Levels(1, 0), g.Levels(2, 1), g.Levels(1, 1)
	g.maybe, g.digest = g.Int64("maybe", g.maybeAt), g.Random64("digest", nil)
	g.words = g.Text("words.list.element", g.wordsAt)
	g.name, g.score = g.Name("items.list.element.name", g.itemsAt), g.Double("items.list.element.score", g.itemsAt)
	return g
}

func (g *group) add(r *row) {
	g.id.AddString(r.ID)
	g.n.Add(r.N)
	g.small.Add(r.Small)
	g.yes.Add(r.Yes)
	g.digest.Add(r.Digest)
	if r.Maybe == 0 {
		g.maybeAt.Add(0, 0)
	} else {
		g.maybeAt.Add(1, 0)
		g.maybe.Add(r.Maybe)
	}
	g.wordsAt.List(len(r.Words))
	for _, w := range r.Words {
		g.words.Add([]byte(w))
	}
	g.itemsAt.List(len(r.Items))
	for _, i := range r.Items {
		g.name.Add(i.Name)
		g.score.Add(i.Score)
	}
	g.EndRow()
}

func sample(i int) *row {
	r := &row{ID: fmt.Sprintf("id-%d", i), N: int64(i) * math.MaxInt32, Small: int32(-i), Yes: i%3 == 0, Maybe: int64(i % 4), Digest: int64(i) * -7919 << 40}
	for w := range i % 3 {
		r.Words = append(r.Words, strings.Repeat("w", w*i%300))
	}
	for k := range i % 5 {
		r.Items = append(r.Items, item{fmt.Sprintf("name-%d", i*k%400), math.Sqrt(float64(i)) / float64(k)})
	}
	return r
}

// The Parquet library, which knows nothing of this package, reads the rows back, and finds
// the bounds that the footer tells.
func TestTheLibraryReadsWhatIsWritten(t *testing.T) {
	const groups, rows = 5, 700
	var out bytes.Buffer
	w, err := columns.NewWriter[row](&out, "test")
	if err != nil {
		t.Fatal(err)
	}
	cur, other := newGroup(), newGroup()
	var want []row
	for g := range groups {
		for i := range rows {
			r := sample(g * i)
			want = append(want, *r)
			cur.add(r)
		}
		if err := w.Write(cur.Group); err != nil {
			t.Fatal(err)
		}
		cur, other = other, cur
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := parquet.Read[row](bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %d rows, %v, want the %d written", len(got), err, len(want))
	}
	for i := range want {
		if g, w := fmt.Sprintf("%+v", got[i]), fmt.Sprintf("%+v", want[i]); g != w { // an empty list may be nil
			t.Fatalf("row %d: got %s\nwant %s", i, g, w)
		}
	}
	f, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	all := f.Metadata().RowGroups
	if len(all) != groups {
		t.Fatalf("got %d row groups, want %d", len(all), groups)
	}
	id := all[1].Columns[0].MetaData.Statistics
	if string(id.MinValue) != "id-0" || string(id.MaxValue) != "id-99" {
		t.Errorf("bounds: got %q and %q", id.MinValue, id.MaxValue)
	}
}

// A group that is not as the schema says is refused, and so is everything after it.
func TestWrongColumns(t *testing.T) {
	for name, wrong := range map[string]func(g *columns.Group){
		"too few":      func(g *columns.Group) { g.Text("id", nil) },
		"another type": func(g *columns.Group) { g.Int32("id", nil) },
		"another name": func(g *columns.Group) { g.Text("key", nil) },
		"optional":     func(g *columns.Group) { g.Text("id", g.Levels(1, 0)) },
		"too many":     func(g *columns.Group) { newGroup(); g.Text("id", nil); g.Int64("x", nil) },
		"no column":    func(*columns.Group) {},
	} {
		w, err := columns.NewWriter[row](io.Discard, "test")
		if err != nil {
			t.Fatal(err)
		}
		g := columns.NewGroup(1)
		wrong(g)
		g.EndRow()
		if err := w.Write(g); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

type full struct{ after int }

var errFull = errors.New("disk full")

func (f *full) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// An error of the file stays, whenever it comes.
func TestFileFails(t *testing.T) {
	for after := range 4 {
		w, err := columns.NewWriter[row](&full{after}, "test")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			g := newGroup()
			g.add(sample(4))
			_ = w.Write(g.Group)
		}
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("after %d writes: got %v, want %v", after, err, errFull)
		}
	}
	w, err := columns.NewWriter[row](&full{9}, "test")
	if err != nil {
		t.Fatal(err)
	}
	w.Stop()
	if err := w.Close(); err == nil {
		t.Error("closed after it was given up: got no error")
	}
}

func TestNothingIsAllocatedPerRow(t *testing.T) {
	g := newGroup()
	r := sample(4)
	if n := testing.AllocsPerRun(20_000, func() { g.add(r) }); n != 0 {
		t.Errorf("got %v allocations per row, want none", n)
	}
}
