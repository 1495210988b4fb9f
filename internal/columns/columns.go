// Package columns writes Parquet files column by column. Whoever makes rows appends each
// value to the typed buffer of its column; a row group is then encoded, compressed and
// written while the next one is filled. Nothing is looked up by name or type per row, and
// nothing is allocated per row.
//
// A file is, in short:
//
//	"PAR1" | row group 0 | … | row group n-1 | footer, uint32 size of it | "PAR1"
//	row group:  for each column, in the order of the schema: [dictionary page] data page
//	page:       header | repetition levels | definition levels | values, as zstd
//
// Numbers are packed by their differences, texts stand behind their lengths, and names
// that repeat stand once in a dictionary. All of it is in Parquet's own definition, and
// any reader reads it.
package columns

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// Group holds the rows of one row group, taken apart into columns.
type Group struct {
	columns []column
	levels  []*Levels
	room    int
	rows    int
	bytes   int
}

// NewGroup returns a group without columns: add them in the order of the schema. Each gets
// room for so many rows.
func NewGroup(rows int) *Group { return &Group{room: rows} }

// EndRow is called when all columns have got the values of one more row.
func (g *Group) EndRow() { g.rows++ }

// Rows is the number of rows in the group.
func (g *Group) Rows() int { return g.rows }

// Bytes is about what the parts of unlimited size take: texts, and elements of lists.
func (g *Group) Bytes() int { return g.bytes }

func (g *Group) reset() {
	for _, c := range g.columns {
		c.reset()
	}
	for _, l := range g.levels {
		l.defs, l.reps = l.defs[:0], l.reps[:0]
	}
	g.rows, g.bytes = 0, 0
}

// Levels say where values of optional and repeated columns are missing and where lists
// begin. Columns of one list share them.
type Levels struct {
	group          *Group
	maxDef, maxRep uint8
	defs, reps     []uint8
}

// Levels adds levels up to those two. Repetition is 1 for a list, 0 for none.
func (g *Group) Levels(maxDef, maxRep uint8) *Levels {
	l := &Levels{group: g, maxDef: maxDef, maxRep: maxRep, defs: make([]uint8, 0, g.room)}
	g.levels = append(g.levels, l)
	return l
}

// elementBytes is counted for one element of a list beside its texts.
const elementBytes = 64

// Add says of the next value how much of its path is there, and whether it begins its
// row's list (0) or goes on with it (1). Where def is below the greatest there is no value.
func (l *Levels) Add(def, rep uint8) {
	l.defs = append(l.defs, def)
	if l.maxRep > 0 {
		l.reps = append(l.reps, rep)
		l.group.bytes += elementBytes
	}
}

// List says of the next row how many elements its list has.
func (l *Levels) List(elements int) {
	if elements == 0 {
		l.Add(0, 0)
	}
	for i := range elements {
		l.Add(l.maxDef, uint8(min(i, 1)))
	}
}

// column is one leaf of the schema, with the values of the group it is in.
type column interface {
	about() *leaf
	// encode appends the values and says how.
	encode(dst []byte) ([]byte, format.Encoding, error)
	// bounds are the least and the greatest value in plain encoding, nil if not known.
	bounds() (least, greatest []byte)
	reset()
}

type leaf struct {
	path   string // names from the root, with points between
	typ    format.Type
	levels *Levels // nil if there is one value in each row
}

func (l *leaf) about() *leaf { return l }

func add[C column](g *Group, c C) C {
	g.columns = append(g.columns, c)
	return c
}

// Int64 is a column of numbers of 64 bits.
type Int64 struct {
	leaf
	values []int64
	random bool
}

// Int64 adds a column; l is nil where every row has a value.
func (g *Group) Int64(path string, l *Levels) *Int64 {
	return add(g, &Int64{leaf: leaf{path, format.Int64, l}, values: make([]int64, 0, g.room)})
}

// Random64 adds a column of numbers that have no likeness, such as digests.
func (g *Group) Random64(path string, l *Levels) *Int64 {
	c := g.Int64(path, l)
	c.random = true
	return c
}

// Add appends a value.
func (c *Int64) Add(v int64) { c.values = append(c.values, v) }

func (c *Int64) reset() { c.values = c.values[:0] }

func (c *Int64) encode(dst []byte) ([]byte, format.Encoding, error) {
	if c.random {
		for _, v := range c.values {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		}
		return dst, format.Plain, nil
	}
	dst, err := new(delta.BinaryPackedEncoding).EncodeInt64(dst, c.values)
	return dst, format.DeltaBinaryPacked, err
}

func (c *Int64) bounds() (least, greatest []byte) {
	if len(c.values) == 0 || c.random {
		return nil, nil
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(slices.Min(c.values))), binary.LittleEndian.AppendUint64(nil, uint64(slices.Max(c.values)))
}

// Int32 is a column of numbers of 32 bits.
type Int32 struct {
	leaf
	values []int32
}

// Int32 adds a column; l is nil where every row has a value.
func (g *Group) Int32(path string, l *Levels) *Int32 {
	return add(g, &Int32{leaf: leaf{path, format.Int32, l}, values: make([]int32, 0, g.room)})
}

// Add appends a value.
func (c *Int32) Add(v int32) { c.values = append(c.values, v) }

func (c *Int32) reset() { c.values = c.values[:0] }

func (c *Int32) encode(dst []byte) ([]byte, format.Encoding, error) {
	dst, err := new(delta.BinaryPackedEncoding).EncodeInt32(dst, c.values)
	return dst, format.DeltaBinaryPacked, err
}

func (c *Int32) bounds() (least, greatest []byte) {
	if len(c.values) == 0 {
		return nil, nil
	}
	return binary.LittleEndian.AppendUint32(nil, uint32(slices.Min(c.values))), binary.LittleEndian.AppendUint32(nil, uint32(slices.Max(c.values)))
}

// Double is a column of floating point numbers.
type Double struct {
	leaf
	values []float64
}

// Double adds a column; l is nil where every row has a value.
func (g *Group) Double(path string, l *Levels) *Double {
	return add(g, &Double{leaf: leaf{path, format.Double, l}})
}

// Add appends a value.
func (c *Double) Add(v float64) { c.values = append(c.values, v) }

func (c *Double) reset() { c.values = c.values[:0] }

func (c *Double) encode(dst []byte) ([]byte, format.Encoding, error) {
	for _, v := range c.values {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst, format.Plain, nil
}

func (c *Double) bounds() (least, greatest []byte) { return nil, nil } // NaN has no place among them

// Bool is a column of truth values.
type Bool struct {
	leaf
	bits []byte
	n    int
}

// Bool adds a column; l is nil where every row has a value.
func (g *Group) Bool(path string, l *Levels) *Bool {
	return add(g, &Bool{leaf: leaf{path, format.Boolean, l}})
}

// Add appends a value.
func (c *Bool) Add(v bool) {
	if c.n%8 == 0 {
		c.bits = append(c.bits, 0)
	}
	if v {
		c.bits[c.n/8] |= 1 << (c.n % 8)
	}
	c.n++
}

func (c *Bool) reset() { c.bits, c.n = c.bits[:0], 0 }

func (c *Bool) encode(dst []byte) ([]byte, format.Encoding, error) {
	return append(dst, c.bits...), format.Plain, nil
}

func (c *Bool) bounds() (least, greatest []byte) { return nil, nil }

// Text is a column of texts or bytes that rarely repeat.
type Text struct {
	leaf
	group *Group
	bytes []byte
	ends  []uint32 // of each text in bytes, after a first 0
}

// Text adds a column; l is nil where every row has a value.
func (g *Group) Text(path string, l *Levels) *Text {
	return add(g, &Text{leaf: leaf{path, format.ByteArray, l}, group: g, ends: []uint32{0}})
}

// Add appends a value.
func (c *Text) Add(b []byte) {
	c.bytes = append(c.bytes, b...)
	c.end(len(b))
}

// AddString appends a value.
func (c *Text) AddString(s string) {
	c.bytes = append(c.bytes, s...)
	c.end(len(s))
}

func (c *Text) end(n int) {
	c.ends = append(c.ends, uint32(len(c.bytes)))
	c.group.bytes += n
}

func (c *Text) reset() { c.bytes, c.ends = c.bytes[:0], c.ends[:1] }

func (c *Text) encode(dst []byte) ([]byte, format.Encoding, error) {
	dst, err := new(delta.LengthByteArrayEncoding).EncodeByteArray(dst, c.bytes, c.ends)
	return dst, format.DeltaLengthByteArray, err
}

// maxBound is the longest text given as a bound, in bytes.
const maxBound = 256

func (c *Text) bounds() (least, greatest []byte) {
	for i := 1; i < len(c.ends); i++ {
		v := c.bytes[c.ends[i-1]:c.ends[i]]
		if i == 1 || bytes.Compare(v, least) < 0 {
			least = v
		}
		if i == 1 || bytes.Compare(v, greatest) > 0 {
			greatest = v
		}
	}
	if len(least) > maxBound || len(greatest) > maxBound {
		return nil, nil
	}
	return bytes.Clone(least), bytes.Clone(greatest)
}

// Name is a column of texts that repeat: each stands once in the group's dictionary.
type Name struct {
	leaf
	group  *Group
	texts  []string
	find   map[string]int32
	recent [64]int32 // place in texts plus one, by slot
	values []int32
}

// Name adds a column; l is nil where every row has a value.
func (g *Group) Name(path string, l *Levels) *Name {
	return add(g, &Name{leaf: leaf{path, format.ByteArray, l}, group: g, find: map[string]int32{}, values: make([]int32, 0, g.room)})
}

// Add appends a value, which must not change any more.
func (c *Name) Add(s string) {
	recent := &c.recent[slot(s)]
	if *recent == 0 || c.texts[*recent-1] != s {
		*recent = c.place(s) + 1
	}
	c.values = append(c.values, *recent-1)
}

// slot is where a name is looked for first: different ones rarely share it.
func slot(s string) uint {
	if s == "" {
		return 0
	}
	return (uint(len(s)) + 5*uint(s[0]) + 11*uint(s[len(s)/2]) + 23*uint(s[len(s)-1])) % 64
}

func (c *Name) place(s string) int32 {
	at, known := c.find[s]
	if !known {
		at = int32(len(c.texts))
		c.texts = append(c.texts, s)
		c.find[s] = at
		c.group.bytes += len(s)
	}
	return at
}

func (c *Name) reset() {
	clear(c.find)
	clear(c.texts)
	c.recent = [64]int32{}
	c.texts, c.values = c.texts[:0], c.values[:0]
}

func (c *Name) encode(dst []byte) ([]byte, format.Encoding, error) {
	width := max(1, bits.Len(uint(max(len(c.texts), 1)-1)))
	out, err := (&rle.Encoding{BitWidth: width}).EncodeInt32(nil, c.values)
	return append(append(dst, byte(width)), out...), format.RLEDictionary, err
}

// dictionary appends the texts.
func (c *Name) dictionary(dst []byte) []byte {
	for _, s := range c.texts {
		dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(s))), s...)
	}
	return dst
}

func (c *Name) bounds() (least, greatest []byte) {
	if len(c.texts) == 0 {
		return nil, nil
	}
	a, b := slices.MinFunc(c.texts, strings.Compare), slices.MaxFunc(c.texts, cmp.Compare[string])
	if len(a) > maxBound || len(b) > maxBound {
		return nil, nil
	}
	return []byte(a), []byte(b)
}
