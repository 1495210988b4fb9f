package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"rqvault/internal/job"
)

// KeyRow is one key of the dump, in the order of the dump. Key is text; a name that is
// not UTF-8 is escaped there and stands as it is in Raw. Ask Name.
type KeyRow struct {
	DB       int32  `parquet:"db"`
	Key      string `parquet:"key"`
	Raw      []byte `parquet:"key_raw,optional"`
	Kind     string `parquet:"kind,dict"` // what TYPE says
	Type     int32  `parquet:"type"`      // RDB type byte
	Role     string `parquet:"role,dict"` // what the key is to the queue library, empty if nothing
	ExpireAt int64  `parquet:"expire_at"` // Unix ms, 0 none
	Offset   int64  `parquet:"offset"`    // of the raw value in the dump
	Length   int64  `parquet:"length"`
	Frame    int32  `parquet:"frame"`  // frame of dump.rdb.zst in which the value begins
	Digest   int64  `parquet:"digest"` // xxHash64 of type byte and raw value, its bits as int64
}

// Name returns the key's exact name.
func (k *KeyRow) Name() []byte {
	if len(k.Raw) > 0 {
		return k.Raw
	}
	return []byte(k.Key)
}

// jobRow is a job.Row as it is stored: ids that are not UTF-8 get an escaped text and
// their bytes beside it, so that every Parquet reader can open the file.
type jobRow struct {
	job.Row
	RawID []byte `parquet:"job_id_raw,optional"`
}

// ErrDamaged says that an index file cannot be what we wrote.
var ErrDamaged = errors.New("damaged index")

// ReadJobs yields the rows of a jobs.parquet of that size, in order. An error is the
// last element.
func ReadJobs(r io.ReaderAt, size int64) iter.Seq2[*job.Row, error] {
	return func(yield func(*job.Row, error) bool) {
		each := func(row *job.Row) bool { return yield(row, nil) }
		err := guarded(r, size, each, func(f *parquet.File, each func(*job.Row) bool) error {
			if ourColumns(f) {
				return jobGroups(f, each)
			}
			return eachRow(f, func(row *jobRow) bool {
				if len(row.RawID) > 0 {
					row.ID = string(row.RawID)
				}
				return each(&row.Row)
			})
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// ReadKeys yields the rows of a keys.parquet of that size, in order of the dump.
func ReadKeys(r io.ReaderAt, size int64) iter.Seq2[*KeyRow, error] {
	return func(yield func(*KeyRow, error) bool) {
		each := func(row *KeyRow) bool { return yield(row, nil) }
		if err := guarded(r, size, each, eachRow); err != nil {
			yield(nil, err)
		}
	}
}

// guarded opens a file and has read call each with its rows, until that is false. The
// Parquet library panics on some damaged input, and damage must be an error.
func guarded[T any](r io.ReaderAt, size int64, each func(*T) bool, read func(*parquet.File, func(*T) bool) error) (err error) {
	inside := false
	defer func() {
		if p := recover(); p != nil {
			if inside {
				panic(p) // the caller's own
			}
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	if err := footerFits(r, size); err != nil {
		return err
	}
	f, err := parquet.OpenFile(r, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := onlyZstd(f); err != nil {
		return err
	}
	return read(f, func(row *T) bool {
		inside = true
		more := each(row)
		inside = false
		return more
	})
}

// eachRow reads rows as the library makes them, whatever columns there are.
func eachRow[T any](f *parquet.File, each func(*T) bool) error {
	file := parquet.NewGenericReader[T](f)
	defer func() { _ = file.Close() }()
	kinds := kindsOf(file.Schema())
	rebuild := func(out *T, row parquet.Row) error {
		if err := checkRow(row, kinds); err != nil {
			return err
		}
		return file.Schema().Reconstruct(out, row)
	}
	rows := make([]parquet.Row, 256)
	for {
		n, err := file.ReadRows(rows)
		for _, row := range rows[:n] {
			var out T
			if err := rebuild(&out, row); err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if !each(&out) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
}

// kindsOf returns the physical type of every leaf column, in order.
func kindsOf(s *parquet.Schema) []parquet.Kind {
	var kinds []parquet.Kind
	for _, path := range s.Columns() {
		leaf, _ := s.Lookup(path...)
		kinds = append(kinds, leaf.Node.Type().Kind())
	}
	return kinds
}

// checkRow wants values of every column, in order, of the column's type. The library
// trusts the pages in this: where one is damaged, it would take the next column's number
// for a string's address.
func checkRow(row parquet.Row, kinds []parquet.Kind) error {
	column := -1
	for _, v := range row {
		if c := v.Column(); c != column && c != column+1 || c >= len(kinds) {
			return fmt.Errorf("a row with column %d after %d of %d", c, column, len(kinds))
		}
		column = v.Column()
		if !v.IsNull() && v.Kind() != kinds[column] {
			return fmt.Errorf("a row with %s in column %d", v.Kind(), column)
		}
	}
	if column != len(kinds)-1 {
		return fmt.Errorf("a row of %d columns, not %d", column+1, len(kinds))
	}
	return nil
}

// onlyZstd refuses columns that we did not write: some of the library's other codecs
// make room for whatever a damaged page claims, until the process dies.
func onlyZstd(f *parquet.File) error {
	for _, g := range f.Metadata().RowGroups {
		for i := range g.Columns {
			if c := g.Columns[i].MetaData.Codec; c != format.Zstd {
				return fmt.Errorf("%w: a column compressed as %s", ErrDamaged, c)
			}
		}
	}
	return nil
}

// footerFits checks the footer's length, for which the library makes room unseen.
func footerFits(r io.ReaderAt, size int64) error {
	const end = 8 // length and magic
	var b [end]byte
	if size < end {
		return fmt.Errorf("%w: %d bytes", ErrDamaged, size)
	}
	if _, err := r.ReadAt(b[:], size-end); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if n := binary.LittleEndian.Uint32(b[:]); int64(n) > size-end {
		return fmt.Errorf("%w: a footer of %d bytes in a file of %d", ErrDamaged, n, size)
	}
	return nil
}
