package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"rqvault/internal/columns"
	"rqvault/internal/job"
)

// Tail is the end of an index file, from its footer on.
type Tail = columns.Tail

// Fetch returns that part of a file.
type Fetch func(offset, length int64) ([]byte, error)

// ErrWhole says that a file has to be read whole: nothing proves its parts, or most of
// them are needed.
var ErrWhole = errors.New("the index has to be read whole")

// Part reads rows of a jobs.parquet by the ids of their jobs, and of the file only the
// footer and the row groups that can hold them. What it reads is proven: the footer by its
// digest, which stands in the manifest, and each row group by its own, which stands in the
// footer; or all of it by an encryption that proves every part. It is used by one goroutine.
type Part struct {
	fetch  Fetch
	size   int64
	file   *parquet.File
	groups []format.RowGroup
	sums   []byte // digests of the row groups; nil if the fetched bytes are proven
	window window
}

// window is what was last fetched, and the file's end.
type window struct {
	size   int64
	tail   []byte
	offset int64
	b      []byte
}

var errNotFetched = errors.New("a part of the file that was not fetched")

// ReadAt implements io.ReaderAt over what was fetched.
func (w *window) ReadAt(p []byte, at int64) (int, error) {
	end := at + int64(len(p))
	if begin := w.size - int64(len(w.tail)); at >= begin && end <= w.size {
		return copy(p, w.tail[at-begin:]), nil
	}
	if at >= w.offset && end <= w.offset+int64(len(w.b)) {
		return copy(p, w.b[at-w.offset:]), nil
	}
	return 0, errNotFetched
}

// OpenPart reads the end of a file of that size. tail is what is known of it; nil is for
// fetched bytes that are proven already. It is ErrWhole for a file that another version
// wrote.
func OpenPart(fetch Fetch, size int64, tail *Tail) (p *Part, err error) {
	p = &Part{fetch: fetch, size: size, window: window{size: size}}
	if p.window.tail, err = fetchTail(fetch, size, tail); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil { // the Parquet library does so on some damaged input
			p, err = nil, fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	f, err := parquet.OpenFile(&p.window, size, parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := onlyZstd(f); err != nil {
		return nil, err
	}
	p.file, p.groups = f, f.Metadata().RowGroups
	if !ourColumns(f) {
		return nil, ErrWhole
	}
	if tail == nil {
		return p, nil
	}
	text, ok := f.Lookup(columns.SumsKey)
	if !ok {
		return nil, ErrWhole
	}
	p.sums, err = base64.StdEncoding.DecodeString(text)
	if err != nil || len(p.sums) != len(p.groups)*sha256.Size {
		return nil, fmt.Errorf("%w: its footer has no digest of each row group", ErrDamaged)
	}
	return p, nil
}

// fetchTail reads a file's footer, and what follows it.
func fetchTail(fetch Fetch, size int64, tail *Tail) ([]byte, error) {
	const end = 8 // length and magic
	if tail == nil {
		if size < end {
			return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, size)
		}
		b, err := fetch(size-end, end)
		if err != nil {
			return nil, err
		}
		n := int64(binary.LittleEndian.Uint32(b))
		if n > size-end {
			return nil, fmt.Errorf("%w: a footer of %d bytes in a file of %d", ErrDamaged, n, size)
		}
		return fetch(size-end-n, end+n)
	}
	if tail.Size > size || tail.Size < end {
		return nil, fmt.Errorf("%w: an end of %d bytes in a file of %d", ErrDamaged, tail.Size, size)
	}
	b, err := fetch(size-tail.Size, tail.Size)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != tail.SHA256 {
		return nil, fmt.Errorf("%w: its footer has another SHA-256 than the manifest says", ErrDamaged)
	}
	return b, nil
}

// Jobs returns the rows of those ids, of all databases, in order. It is ErrWhole where that
// takes more than half of the file.
func (p *Part) Jobs(ids []string) ([]*job.Row, error) {
	wanted := make(map[string]bool, len(ids))
	texts := make([][]byte, 0, len(ids))
	for _, id := range ids {
		wanted[id] = true
		texts = append(texts, []byte(columnText(id)))
	}
	slices.SortFunc(texts, bytes.Compare)
	var holders []int
	var cost int64
	for i := range p.groups {
		if mayHold(&p.groups[i], texts) {
			holders = append(holders, i)
			cost += p.groups[i].TotalCompressedSize
		}
	}
	if cost > p.size/2 {
		return nil, ErrWhole
	}
	var rows []*job.Row
	for _, i := range holders {
		if err := p.load(i); err != nil {
			return nil, err
		}
		if err := p.pick(i, wanted, &rows); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// Prove reads every row group, and returns what is wrong with one.
func (p *Part) Prove() error {
	for i := range p.groups {
		if err := p.load(i); err != nil {
			return err
		}
	}
	return nil
}

// columnText is what stands in the column of ids: see addName.
func columnText(id string) string {
	if utf8.ValidString(id) {
		return id
	}
	q := strconv.QuoteToASCII(id)
	return q[1 : len(q)-1]
}

// mayHold reports whether the row group can have one of the texts, which are sorted, as id.
// One in which a database ends and another begins may have any.
func mayHold(g *format.RowGroup, texts [][]byte) bool {
	for i := range g.Columns {
		m := &g.Columns[i].MetaData
		if len(m.PathInSchema) != 1 || m.PathInSchema[0] != "job_id" {
			continue
		}
		least, greatest := m.Statistics.MinValue, m.Statistics.MaxValue
		if len(least)+len(greatest) == 0 {
			return true // an id is too long to stand there
		}
		at, _ := slices.BinarySearchFunc(texts, least, bytes.Compare)
		return at < len(texts) && bytes.Compare(texts[at], greatest) <= 0
	}
	return true
}

// load fetches a row group, and proves it.
func (p *Part) load(i int) error {
	g := &p.groups[i]
	if g.FileOffset < 0 || g.TotalCompressedSize < 0 || g.FileOffset > p.size || g.TotalCompressedSize > p.size-g.FileOffset {
		return fmt.Errorf("%w: row group %d lies outside the file", ErrDamaged, i)
	}
	if p.window.offset == g.FileOffset && int64(len(p.window.b)) == g.TotalCompressedSize {
		return nil
	}
	b, err := p.fetch(g.FileOffset, g.TotalCompressedSize)
	if err != nil {
		return err
	}
	if p.sums != nil {
		if sum := sha256.Sum256(b); !bytes.Equal(sum[:], p.sums[i*sha256.Size:][:sha256.Size]) {
			return fmt.Errorf("%w: row group %d has another SHA-256 than the footer says", ErrDamaged, i)
		}
	}
	p.window.offset, p.window.b = g.FileOffset, b
	return nil
}

// pick adds the wanted rows of a row group that was loaded.
func (p *Part) pick(i int, wanted map[string]bool, rows *[]*job.Row) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	_, err = jobRows(p.file, p.file.RowGroups()[i], func(row *job.Row) bool {
		if wanted[row.ID] {
			picked := *row
			*rows = append(*rows, &picked)
		}
		return true
	})
	if errors.Is(err, io.EOF) || errors.Is(err, errNotFetched) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
