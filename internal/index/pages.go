package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
)

// pages are the columns of one row group, each of a single page, as they are unpacked. The
// first error stays.
type pages struct {
	schema *parquet.Schema
	chunks []parquet.ColumnChunk
	rows   int
	all    []finisher
	err    error
}

type finisher interface{ finished() bool }

func (p *pages) fail(path string, err error) {
	if p.err == nil && err != nil {
		p.err = fmt.Errorf("%w: column %s: %w", ErrDamaged, path, err)
	}
}

var (
	errNoColumn = errors.New("there is none")
	errPages    = errors.New("its values and its rows are not as many")
)

// open unpacks a column's page.
func (p *pages) open(path string) (c cells, page parquet.Page) {
	leaf, ok := p.schema.Lookup(strings.Split(path, ".")...)
	if !ok || leaf.ColumnIndex >= len(p.chunks) {
		p.fail(path, errNoColumn)
	}
	if p.err != nil {
		return c, nil
	}
	reader := p.chunks[leaf.ColumnIndex].Pages()
	defer func() { _ = reader.Close() }()
	page, err := reader.ReadPage()
	if err == nil && page.NumRows() != int64(p.rows) {
		err = errPages
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		p.fail(path, err)
		return c, nil
	}
	if leaf.MaxDefinitionLevel > 0 {
		c.defs, c.full = page.DefinitionLevels(), byte(leaf.MaxDefinitionLevel)
	}
	if leaf.MaxRepetitionLevel > 0 {
		c.reps = page.RepetitionLevels()
	}
	return c, page
}

// done reports whether every column came to its end with the last row.
func (p *pages) done() error {
	for _, c := range p.all {
		if !c.finished() {
			return fmt.Errorf("%w: %w", ErrDamaged, errPages)
		}
	}
	return nil
}

// cells say which rows of a column have a value, and how many.
type cells struct {
	defs, reps []byte
	full       byte // the definition level of a value
	level, at  int
}

// has steps to the next row and reports whether it has a value.
func (c *cells) has() bool {
	if c.full == 0 {
		return true
	}
	c.level++
	return c.defs[c.level-1] == c.full
}

// count steps to the next row and returns how long its list is.
func (c *cells) count() (n int) {
	if c.defs[c.level] == c.full {
		n = 1
	}
	for c.level++; c.level < len(c.reps) && c.reps[c.level] != 0; c.level++ {
		n++
	}
	return n
}

// alike checks that the columns of one list have the same rows and elements, so that the
// first one speaks for all.
func (p *pages) alike(first *cells, others ...*cells) {
	for _, o := range others {
		if !bytes.Equal(first.defs, o.defs) || !bytes.Equal(first.reps, o.reps) {
			p.fail("of a list", errPages)
		}
	}
}

// numbers is a column of numbers.
type numbers[T any] struct {
	cells
	values []T
}

func openNumbers[T any](p *pages, path string, of func(*encoding.Values) []T) *numbers[T] {
	n := &numbers[T]{}
	var page parquet.Page
	if n.cells, page = p.open(path); page != nil {
		values := page.Data()
		n.values = of(&values)
	}
	p.all = append(p.all, n)
	return n
}

func (p *pages) int64(path string) *numbers[int64] {
	return openNumbers(p, path, (*encoding.Values).Int64)
}

func (p *pages) int32(path string) *numbers[int32] {
	return openNumbers(p, path, (*encoding.Values).Int32)
}

func (p *pages) double(path string) *numbers[float64] {
	return openNumbers(p, path, (*encoding.Values).Double)
}

// take returns the next value.
func (n *numbers[T]) take() T {
	n.at++
	return n.values[n.at-1]
}

// next returns the value of the next row.
func (n *numbers[T]) next() (v T) {
	if n.has() {
		v = n.take()
	}
	return v
}

func (n *numbers[T]) finished() bool { return n.at == len(n.values) }

// bits is a column of yes and no.
type bits struct {
	cells
	packed []byte
}

func (p *pages) bits(path string) *bits {
	b := &bits{}
	var page parquet.Page
	if b.cells, page = p.open(path); page != nil {
		values := page.Data()
		b.packed = values.Boolean()
	}
	return b
}

func (b *bits) next() bool {
	if !b.has() {
		return false
	}
	b.at++
	return b.packed[(b.at-1)/8]>>((b.at-1)%8)&1 != 0
}

// words is a column of texts that repeat.
type words struct {
	numbers[int32]
	all []string
}

func (p *pages) words(path string) *words {
	w := &words{}
	var page parquet.Page
	if w.cells, page = p.open(path); page != nil {
		if page.Dictionary() == nil {
			p.fail(path, errors.New("it has no dictionary"))
			return w
		}
		indexes, list := page.Data(), page.Dictionary().Page().Data()
		w.values = indexes.Int32()
		data, ends := list.ByteArray()
		for i := range max(len(ends), 1) - 1 {
			w.all = append(w.all, string(data[ends[i]:ends[i+1]]))
		}
	}
	p.all = append(p.all, w)
	return w
}

func (w *words) next() string { return w.all[w.numbers.next()] }
func (w *words) take() string { return w.all[w.numbers.take()] }

// textPage is a column of texts that do not repeat.
type textPage struct {
	cells
	data []byte
	ends []uint32
}

func (p *pages) texts(path string) *textPage {
	t := &textPage{}
	var page parquet.Page
	if t.cells, page = p.open(path); page != nil {
		values := page.Data()
		t.data, t.ends = values.ByteArray()
	}
	p.all = append(p.all, t)
	return t
}

func (t *textPage) take() string {
	t.at++
	return string(t.data[t.ends[t.at-1]:t.ends[t.at]])
}

func (t *textPage) next() string {
	if !t.has() {
		return ""
	}
	return t.take()
}

// list returns the texts of the next row.
func (t *textPage) list() (all []string) {
	if n := t.count(); n > 0 {
		all = make([]string, n)
		for i := range all {
			all[i] = t.take()
		}
	}
	return all
}

func (t *textPage) finished() bool { return t.at == max(len(t.ends), 1)-1 }
