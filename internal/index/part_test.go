package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/index"
	"rqvault/internal/job"
)

// parts is a file of several row groups, and what was fetched of it.
type parts struct {
	b     []byte
	tail  index.Tail
	rows  []*job.Row
	calls int
	bytes int64
}

// newParts makes a file of 120,000 rows in two databases. The last group has an id that is
// too long for a bound.
func newParts(t *testing.T) *parts {
	t.Helper()
	p := &parts{}
	for i := range 120_000 {
		r := fullRow(i)
		r.DB, r.ID = int32(i/60_000), fmt.Sprintf("id-%06d", i%60_000)
		if i == 15_000 {
			r.ID += "\xff"
		}
		p.rows = append(p.rows, r)
	}
	p.rows = append(p.rows, &job.Row{DB: 1, ID: strings.Repeat("z", 300), Exists: true})
	var out bytes.Buffer
	w := index.NewJobsWriter(&out)
	for _, r := range p.rows {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p.b, p.tail = out.Bytes(), w.Tail()
	return p
}

func (p *parts) fetch(offset, length int64) ([]byte, error) {
	p.calls++
	p.bytes += length
	return p.b[offset : offset+length], nil
}

// get reads the rows of some ids.
func (p *parts) get(tail *index.Tail, ids ...string) ([]*job.Row, error) {
	p.calls, p.bytes = 0, 0
	part, err := index.OpenPart(p.fetch, int64(len(p.b)), tail)
	if err != nil {
		return nil, err
	}
	return part.Jobs(ids)
}

func TestRowsOfSomeJobsCostTheirRowGroups(t *testing.T) {
	p := newParts(t)
	for _, tail := range []*index.Tail{&p.tail, nil} {
		for _, c := range []struct {
			ids  []string
			want []int
		}{
			{[]string{"id-000000"}, []int{0, 60_000}},
			{[]string{"id-010000", "id-010001"}, []int{10_000, 10_001, 70_000, 70_001}},
			{[]string{"id-015000\xff"}, []int{15_000}},
			{[]string{strings.Repeat("z", 300)}, []int{120_000}},
			{[]string{"id-0100005", "nobody", ""}, nil},
			{nil, nil},
		} {
			got, err := p.get(tail, c.ids...)
			if err != nil || len(got) != len(c.want) {
				t.Fatalf("%.40q: got %d rows, %v, want %d", c.ids, len(got), err, len(c.want))
			}
			for i, at := range c.want {
				if !same(got[i], p.rows[at]) {
					t.Errorf("%.40q: got %+v\nwant %+v", c.ids, got[i], p.rows[at])
				}
			}
			if p.bytes > int64(len(p.b))*2/3 || p.calls > 7 {
				t.Errorf("%.40q: %d of %d bytes in %d reads", c.ids, p.bytes, len(p.b), p.calls)
			}
		}
	}
	every := make([]string, 0, 60)
	for i := 0; i < 60_000; i += 1000 {
		every = append(every, fmt.Sprintf("id-%06d", i))
	}
	if _, err := p.get(&p.tail, every...); !errors.Is(err, index.ErrWhole) {
		t.Errorf("ids from all over the file: %v", err)
	}
}

// Whatever byte is damaged of what is read, it is noticed.
func TestDamagedPartsAreNoticed(t *testing.T) {
	p := newParts(t)
	whole := slices.Clone(p.b)
	random := rand.New(rand.NewSource(1))
	tailAt := len(p.b) - int(p.tail.Size)
	for range 300 {
		at := tailAt + random.Intn(int(p.tail.Size))
		p.b[at] ^= 1 << random.Intn(8)
		if _, err := p.get(&p.tail, "id-000000"); !errors.Is(err, index.ErrDamaged) {
			t.Fatalf("byte %d of the end: %v", at-tailAt, err)
		}
		copy(p.b, whole)
	}
	// The first id of both databases stands in the first group of each.
	first, hits := 4+len(p.b)/8, 0
	for range 100 {
		at := 4 + random.Intn(first)
		p.b[at] ^= 1 << random.Intn(8)
		rows, err := p.get(&p.tail, "id-000000")
		switch {
		case errors.Is(err, index.ErrDamaged):
			hits++
		case err != nil || len(rows) != 2 || !same(rows[0], p.rows[0]) || !same(rows[1], p.rows[60_000]):
			t.Fatalf("byte %d: %v", at, err)
		}
		copy(p.b, whole)
	}
	if hits < 90 {
		t.Errorf("%d of 100 damaged bytes in the first row group were noticed", hits)
	}
	if _, err := p.get(&index.Tail{Size: p.tail.Size - 1, SHA256: p.tail.SHA256}, "id-000000"); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("a tail of another size: %v", err)
	}
	part, err := index.OpenPart(func(offset, length int64) ([]byte, error) {
		if offset < int64(tailAt) {
			return nil, errors.New("the store is gone")
		}
		return p.fetch(offset, length)
	}, int64(len(p.b)), &p.tail)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Jobs([]string{"id-000000"}); err == nil || errors.Is(err, index.ErrDamaged) {
		t.Errorf("a store that is gone: %v", err)
	}
}
