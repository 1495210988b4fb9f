package columns

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const magic = "PAR1"

// newPacker returns what compresses pages: index files are small beside a dump, and people
// wait for them. A page has its own checksum. More window than a page would only cost memory.
func newPacker() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20),
		zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
}

// Writer writes row groups. It is used by one goroutine, and encodes in another.
type Writer struct {
	w      io.Writer
	footer format.FileMetaData
	at     int64
	busy   chan error // of the group being written; nil if there is none
	err    error

	proves bool   // the footer gets the digests of the row groups
	sums   []byte // those digests, 32 bytes each
	tail   Tail

	packer *zstd.Encoder
	out    []byte // the row group as it will stand in the file
	values []byte
	packed []byte
	head   bytes.Buffer
}

// NewWriter starts a file whose schema is the one that the Parquet library makes of the
// type T, so that it reads rows back into values of T.
func NewWriter[T any](w io.Writer, createdBy string) (*Writer, error) {
	var empty bytes.Buffer
	if err := parquet.NewGenericWriter[T](&empty).Close(); err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(bytes.NewReader(empty.Bytes()), int64(empty.Len()))
	if err != nil {
		return nil, err
	}
	packer, err := newPacker()
	if err != nil {
		return nil, err
	}
	m := f.Metadata()
	return &Writer{w: w, packer: packer, out: []byte(magic), footer: format.FileMetaData{Version: m.Version, Schema: m.Schema,
		ColumnOrders: m.ColumnOrders, CreatedBy: createdBy}}, nil
}

// SumsKey is the key under which a footer has the SHA-256 digests of the row groups, one
// behind the other, in base64.
const SumsKey = "rqvault.row_groups.sha256"

// Prove has the footer hold a digest of each row group, so that whoever knows the footer's
// own can read single groups and know that they are right. Call it before the first Write.
func (w *Writer) Prove() { w.proves = true }

// Note has the footer hold a text under a key. Call it before Close.
func (w *Writer) Note(key, text string) {
	w.footer.KeyValueMetadata = append(w.footer.KeyValueMetadata, format.KeyValue{Key: key, Value: text})
}

// Tail is the end of a file, from its footer on.
type Tail struct {
	Size   int64  // bytes
	SHA256 string // hex
}

// Tail returns the end of the file, once it is closed.
func (w *Writer) Tail() Tail { return w.tail }

// Write begins to write a row group and returns when the one before has been written, or
// with the error of that. The group belongs to the Writer until the next call of Write,
// Close or Stop; then it is empty.
func (w *Writer) Write(g *Group) error {
	if err := w.wait(); err != nil {
		return err
	}
	if g.rows == 0 {
		return nil
	}
	w.busy = make(chan error, 1)
	go func() { w.busy <- w.group(g) }()
	return nil
}

func (w *Writer) wait() error {
	if w.busy != nil {
		err := <-w.busy
		w.busy = nil
		if w.err == nil {
			w.err = err
		}
	}
	return w.err
}

// Stop gives the file up: nothing is written any more once it has returned. After Close it
// does nothing.
func (w *Writer) Stop() {
	if w.wait() == nil {
		w.err = errors.New("columns: the file was given up or closed")
	}
}

// Close writes the footer. It does not close what the file is written to.
func (w *Writer) Close() error {
	if err := w.wait(); err != nil {
		return err
	}
	defer w.Stop()
	if w.proves {
		w.Note(SumsKey, base64.StdEncoding.EncodeToString(w.sums))
	}
	w.head.Reset()
	if err := w.thrift(&w.footer); err != nil {
		return err
	}
	n, begin := w.head.Len(), len(w.out)
	w.out = append(w.out, w.head.Bytes()...)
	w.out = append(binary.LittleEndian.AppendUint32(w.out, uint32(n)), magic...)
	sum := sha256.Sum256(w.out[begin:])
	w.tail = Tail{Size: int64(len(w.out) - begin), SHA256: hex.EncodeToString(sum[:])}
	return w.send()
}

func (w *Writer) send() error {
	n, err := w.w.Write(w.out)
	w.at += int64(n)
	w.out = w.out[:0]
	return err
}

func (w *Writer) thrift(v any) error {
	return thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&w.head)).Encode(v)
}

// group encodes and writes one row group.
func (w *Writer) group(g *Group) error {
	if err := w.fits(g); err != nil {
		return err
	}
	rg := format.RowGroup{NumRows: int64(g.rows), FileOffset: w.at + int64(len(w.out)), Ordinal: int16(len(w.footer.RowGroups))}
	for _, c := range g.columns {
		chunk, err := w.chunk(c, g.rows)
		if err != nil {
			return fmt.Errorf("column %s: %w", c.about().path, err)
		}
		rg.Columns = append(rg.Columns, chunk)
		rg.TotalByteSize += chunk.MetaData.TotalUncompressedSize
		rg.TotalCompressedSize += chunk.MetaData.TotalCompressedSize
	}
	if w.proves {
		sum := sha256.Sum256(w.out[rg.FileOffset-w.at:])
		w.sums = append(w.sums, sum[:]...)
	}
	w.footer.RowGroups = append(w.footer.RowGroups, rg)
	w.footer.NumRows += rg.NumRows
	g.reset()
	return w.send()
}

// fits checks that the group's columns are those of the schema.
func (w *Writer) fits(g *Group) error {
	if len(w.footer.RowGroups) > 0 {
		return nil
	}
	n := 0
	for _, l := range leaves(w.footer.Schema) {
		if n == len(g.columns) {
			return fmt.Errorf("columns: the schema has more columns than the %d given", n)
		}
		c := g.columns[n].about()
		var maxDef, maxRep uint8
		if c.levels != nil {
			maxDef, maxRep = c.levels.maxDef, c.levels.maxRep
		}
		if c.path != l.path || c.typ != l.typ || maxDef != l.maxDef || maxRep != l.maxRep {
			return fmt.Errorf("columns: %s of type %s and levels %d, %d stands where the schema has %s of type %s and levels %d, %d",
				c.path, c.typ, maxDef, maxRep, l.path, l.typ, l.maxDef, l.maxRep)
		}
		n++
	}
	if n < len(g.columns) {
		return fmt.Errorf("columns: %s is not in the schema", g.columns[n].about().path)
	}
	return nil
}

// schemaLeaf is what a schema says of one column.
type schemaLeaf struct {
	path           string
	typ            format.Type
	maxDef, maxRep uint8
}

// leaves lists the columns of a schema, whose elements are a tree's nodes, parents first.
func leaves(schema []format.SchemaElement) (all []schemaLeaf) {
	next := 1
	var walk func(children int32, path []string, def, rep uint8)
	walk = func(children int32, path []string, def, rep uint8) {
		for range children {
			e := &schema[next]
			next++
			path, def, rep := append(path, e.Name), def, rep
			switch e.RepetitionType.V {
			case format.Optional:
				def++
			case format.Repeated:
				def, rep = def+1, rep+1
			}
			if e.NumChildren.V > 0 {
				walk(e.NumChildren.V, path, def, rep)
				continue
			}
			all = append(all, schemaLeaf{strings.Join(path, "."), e.Type.V, def, rep})
		}
	}
	walk(schema[0].NumChildren.V, nil, 0, 0)
	return all
}

// chunk appends one column's pages.
func (w *Writer) chunk(c column, rows int) (format.ColumnChunk, error) {
	about := c.about()
	m := format.ColumnMetaData{Type: about.typ, PathInSchema: strings.Split(about.path, "."), Codec: format.Zstd, NumValues: int64(rows)}
	begin := len(w.out)
	m.DataPageOffset = w.at + int64(begin)
	if named, ok := c.(*Name); ok {
		w.values = named.dictionary(w.values[:0])
		m.DictionaryPageOffset = m.DataPageOffset
		m.Encoding = append(m.Encoding, format.Plain)
		h := format.PageHeader{Type: format.DictionaryPage}
		h.DictionaryPageHeader.Set(format.DictionaryPageHeader{NumValues: int32(len(named.texts)), Encoding: format.Plain})
		if err := w.page(&h, &m, nil); err != nil {
			return format.ColumnChunk{}, err
		}
		m.DataPageOffset = w.at + int64(len(w.out))
	}
	head := format.DataPageHeaderV2{NumRows: int32(rows), NumValues: int32(rows)}
	var levels []byte
	if l := about.levels; l != nil {
		head.NumValues = int32(len(l.defs))
		head.NumNulls = head.NumValues - int32(bytes.Count(l.defs, []byte{l.maxDef}))
		reps, defs, err := l.encode()
		if err != nil {
			return format.ColumnChunk{}, err
		}
		head.RepetitionLevelsByteLength, head.DefinitionLevelsByteLength = int32(len(reps)), int32(len(defs))
		levels = append(reps, defs...)
		m.Encoding = append(m.Encoding, format.RLE)
	}
	var err error
	if w.values, head.Encoding, err = c.encode(w.values[:0]); err != nil {
		return format.ColumnChunk{}, err
	}
	h := format.PageHeader{Type: format.DataPageV2}
	h.DataPageHeaderV2.Set(head)
	if err := w.page(&h, &m, levels); err != nil {
		return format.ColumnChunk{}, err
	}
	m.Encoding = append(m.Encoding, head.Encoding)
	m.NumValues = int64(head.NumValues)
	m.Statistics.NullCount = int64(head.NumNulls)
	m.Statistics.MinValue, m.Statistics.MaxValue = c.bounds()
	m.TotalCompressedSize = int64(len(w.out) - begin)
	return format.ColumnChunk{MetaData: m}, nil
}

// page appends a page of the levels and of w.values.
func (w *Writer) page(h *format.PageHeader, m *format.ColumnMetaData, levels []byte) error {
	w.packed = w.packer.EncodeAll(w.values, w.packed[:0])
	h.UncompressedPageSize = int32(len(levels) + len(w.values))
	h.CompressedPageSize = int32(len(levels) + len(w.packed))
	h.CRC = int32(crc32.Update(crc32.ChecksumIEEE(levels), crc32.IEEETable, w.packed))
	w.head.Reset()
	if err := w.thrift(h); err != nil {
		return err
	}
	m.TotalUncompressedSize += int64(w.head.Len()) + int64(h.UncompressedPageSize)
	w.out = append(append(append(w.out, w.head.Bytes()...), levels...), w.packed...)
	return nil
}

// encode returns both sorts of levels as runs.
func (l *Levels) encode() (reps, defs []byte, err error) {
	if l.maxRep > 0 {
		if reps, err = (&rle.Encoding{BitWidth: 1}).EncodeLevels(nil, l.reps); err != nil {
			return nil, nil, err
		}
	}
	width := 1
	if l.maxDef > 1 {
		width = 2
	}
	defs, err = (&rle.Encoding{BitWidth: width}).EncodeLevels(nil, l.defs)
	return reps, defs, err
}
