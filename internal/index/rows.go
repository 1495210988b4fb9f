package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"rqvault/internal/job"
)

// Jobs yields the rows, sorted, and counts them. Call it after the last Add, as often
// as wanted. An error is the last element.
func (b *Builder) Jobs() iter.Seq2[*job.Row, error] {
	return func(yield func(*job.Row, error) bool) {
		b.rows(func() *job.Row { return new(job.Row) }, yield)
	}
}

// rows merges the fragments of each job into an empty row, which it asks for.
func (b *Builder) rows(empty func() *job.Row, yield func(*job.Row, error) bool) {
	if b.cur.pending {
		yield(nil, errors.New("index: the last value has no end"))
		return
	}
	b.settleWip()
	b.counts.Rows, b.counts.Jobs = 0, 0
	b.jobs = map[tally]int64{}
	var row *job.Row
	var key []byte
	keep := func(pl *job.Place, alt bool) bool { return b.keep(row, pl, alt) }
	for p, err := range b.sorter.All() {
		if err == nil && (row == nil || !bytes.Equal(p.Key, key)) {
			if row != nil && !b.emit(row, yield) {
				return
			}
			key = append(key[:0], p.Key...)
			db, id := cutDB(p.Key)
			row = empty()
			row.DB, row.ID = db, string(id)
		}
		if err == nil {
			err = row.Merge(p.Value, &b.names, keep)
		}
		if err != nil {
			yield(nil, err)
			return
		}
	}
	if row != nil {
		b.emit(row, yield)
	}
}

// wideDB stands before a database's number of four bytes; smaller numbers stand for
// themselves, so that the sort sees more of the ids.
const wideDB = 0xFF

// appendDB writes a database's number so that numbers sort as their bytes.
func appendDB(b []byte, db int) []byte {
	if db < wideDB {
		return append(b, byte(db))
	}
	return binary.BigEndian.AppendUint32(append(b, wideDB), uint32(db))
}

// cutDB takes the database's number off a key.
func cutDB(key []byte) (db int32, id []byte) {
	if key[0] < wideDB {
		return int32(key[0]), key[1:]
	}
	return int32(binary.BigEndian.Uint32(key[1:])), key[5:]
}

func (b *Builder) settleWip() {
	slices.Sort(b.similar)
	for member := range b.wip {
		_, b.wip[member] = slices.BinarySearch(b.similar, xxhash.Sum64String(member))
	}
}

// keep decides whether a place belongs to the row it was filed under, and settles
// lists whose name has two readings.
func (b *Builder) keep(row *job.Row, p *job.Place, alt bool) bool {
	if p.Member != "" {
		whole := b.wip[inDB(int(row.DB), p.Member)]
		if whole == alt {
			return false
		}
		if whole {
			p.Member = ""
		}
	}
	if p.Kind == job.InIntermediate || p.Kind == job.InCompact {
		name := b.ambiguous[ambiguity(int(row.DB), p.Kind, p.Queue)]
		k := b.schema.Settle(name, job.Key{Role: job.List, Place: p.Kind, Queue: []byte(p.Queue)},
			func(list string) bool { return b.queues[inDB(int(row.DB), list)] })
		p.Kind, p.Queue = k.Place, string(k.Queue)
	}
	if len(row.Places) > maxPlaces { // it is among them already
		row.Problem = fmt.Sprintf("stands in more than %d places", maxPlaces)
		return false
	}
	return true
}

func (b *Builder) emit(row *job.Row, yield func(*job.Row, error) bool) bool {
	if len(row.Places) == 0 && len(row.Parts) == 0 {
		return true // only fragments that belong to another id, or a child long gone
	}
	slices.Sort(row.ParentSet)
	row.ParentSet = slices.Compact(row.ParentSet)
	slices.Sort(row.ListedBy)
	row.ListedBy = slices.Compact(row.ListedBy)
	slices.SortFunc(row.Places, func(x, y job.Place) int {
		if c := strings.Compare(string(x.Kind), string(y.Kind)); c != 0 {
			return c
		}
		if c := strings.Compare(x.Queue, y.Queue); c != 0 {
			return c
		}
		if x.Position != y.Position {
			return cmp.Compare(x.Position, y.Position)
		}
		return strings.Compare(x.Member, y.Member) // two runs of one job
	})
	slices.SortFunc(row.Parts, func(x, y job.Part) int { return strings.Compare(string(x.Name), string(y.Name)) })
	// A scan can meet a key twice; either sight of it will do.
	row.Parts = slices.CompactFunc(row.Parts, func(x, y job.Part) bool { return x.Name == y.Name })
	b.schema.Done(row)
	b.counts.Rows++
	if row.Exists {
		b.counts.Jobs++
		b.jobs[tally{row.Queue, row.Status}]++
	}
	return yield(row, nil)
}
