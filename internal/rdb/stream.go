package rdb

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"rqvault/internal/keyspace"
)

// StreamID names a stream's entry.
type StreamID struct{ Ms, Seq uint64 }

// String returns the id as Redis writes it, such as "1700000000000-0".
func (id StreamID) String() string { return fmt.Sprintf("%d-%d", id.Ms, id.Seq) }

// Pair is one field of a stream's entry. Fields keep their order and may repeat.
type Pair struct{ Field, Value []byte }

// StreamEntry is one entry of a stream.
type StreamEntry struct {
	ID     StreamID
	Fields []Pair
}

// Tail is the end of a stream.
type Tail struct {
	Length  uint64        // entries that are not deleted
	LastID  StreamID      // the highest id ever added, deleted or not
	Entries []StreamEntry // the newest entries, oldest of them first: those of the last node that has any
}

// StreamTail reads a stream's length, its last id and its newest entries, without
// decoding the rest. Its bytes belong to the caller. The record must be Whole.
func StreamTail(rec *keyspace.Record) (Tail, error) { return new(StreamReader).Tail(rec) }

// StreamReader reads the tails of streams one after the other, in the same memory. The zero
// value is ready.
type StreamReader struct {
	nodes []int
	node  nodeReader
}

// Tail is StreamTail; what it returns is valid until the next call.
func (r *StreamReader) Tail(rec *keyspace.Record) (Tail, error) {
	nodes, t, _, err := streamFrame(rec, r.nodes[:0])
	if err != nil {
		return t, err
	}
	r.nodes = nodes
	for k := len(nodes) - 1; k >= 0 && len(t.Entries) == 0; k-- {
		if t.Entries, _, err = r.node.read(rec.Raw, nodes[k]); err != nil {
			return t, place(err, rec.Offset, rec.Format)
		}
	}
	return t, nil
}

// streamFrame finds a stream's nodes, in the memory given, its length and last id, and where
// the length stands.
func streamFrame(rec *keyspace.Record, room []int) (nodes []int, t Tail, tail int, err error) {
	s := lookup(rec.Type, rec.Format)
	if s == nil || s.enc != encStream || rec.Part != keyspace.Whole {
		err = unsupported(0, "type %d, part %d: a whole stream is needed", rec.Type, rec.Part)
		return nil, t, 0, place(err, rec.Offset, rec.Format)
	}
	nodes = room
	n, i, err := lengthAt(rec.Raw, 0)
	for ; n > 0 && err == nil; n-- {
		nodes = append(nodes, i)
		if _, i, err = stringAt(rec.Raw, i); err == nil {
			_, i, err = stringAt(rec.Raw, i)
		}
	}
	tail = i
	for _, to := range []*uint64{&t.Length, &t.LastID.Ms, &t.LastID.Seq} {
		if err == nil {
			*to, i, err = lengthAt(rec.Raw, i)
		}
	}
	if err != nil {
		err = place(err, rec.Offset, rec.Format)
	}
	return nodes, t, tail, err
}

// nodeEntries returns the entries of the node at b[i] that are not deleted, and the
// size of its decoded listpack.
func nodeEntries(b []byte, i int) ([]StreamEntry, int, error) { return new(nodeReader).read(b, i) }

// read does so in the reader's memory. A node is a key of 16 bytes (the first id, BE) and a listpack:
//
//	live deleted n field… 0 { flags ms-diff seq-diff [n (field value)… | value…] pieces }…
//
// Flag 1 is deleted; flag 2 means the node's own fields, so only values follow.
// Source: redis 7.4 t_stream.c.
func (r *nodeReader) read(b []byte, i int) ([]StreamEntry, int, error) {
	key, _, at, err := textAt(b, i, nil)
	if err != nil {
		return nil, 0, err
	}
	if len(key) != 16 {
		return nil, 0, damaged(i, "stream node whose id has %d bytes", len(key))
	}
	base := StreamID{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])}
	lp, _, _, err := textAt(b, at, nil)
	if err != nil {
		return nil, 0, err
	}
	*r = nodeReader{b: append(r.b[:0], lp...), same: r.same[:0], pairs: r.pairs[:0], live: r.live[:0], nums: r.nums[:0]}
	entries := r.entries(base)
	if r.bad {
		return nil, 0, damaged(at, "stream node %s: entry near byte %d of its listpack", base, r.i)
	}
	return entries, len(lp), nil
}

// nodeReader reads a node's listpack; bad stays set once something is wrong.
type nodeReader struct {
	b   []byte
	i   int
	bad bool

	same  [][]byte // the node's own fields
	pairs []Pair   // of all entries
	live  []StreamEntry
	nums  []byte // texts of numbers
}

func (r *nodeReader) next() entry {
	if r.bad {
		return entry{}
	}
	e, end, ok := listpackNext(r.b, r.i)
	if !ok || end < 0 {
		r.bad = true
		return entry{}
	}
	r.i = end
	return e
}

func (r *nodeReader) number() int64 {
	e := r.next()
	r.bad = r.bad || !e.isN
	return e.num
}

func (r *nodeReader) text() []byte {
	e := r.next()
	if !e.isN {
		return e.text
	}
	from := len(r.nums)
	r.nums = strconv.AppendInt(r.nums, e.num, 10)
	return r.nums[from:len(r.nums):len(r.nums)]
}

// count reads a number of things that each take at least a byte of the listpack.
func (r *nodeReader) count() int {
	n := r.number()
	if n < 0 || n > int64(len(r.b)) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *nodeReader) entries(base StreamID) []StreamEntry {
	first, _, ok := listpackHead(r.b)
	if !ok {
		r.bad = true
		return nil
	}
	r.i = first
	alive, deleted := r.count(), r.count()
	for n := r.count(); n > 0 && !r.bad; n-- {
		r.same = append(r.same, r.text())
	}
	r.bad = r.bad || r.number() != 0
	for n := alive + deleted; n > 0 && !r.bad; n-- {
		flags := r.number()
		e := StreamEntry{ID: StreamID{base.Ms + uint64(r.number()), base.Seq + uint64(r.number())}}
		pieces := r.fields(&e, flags)
		r.bad = r.bad || r.number() != pieces
		if flags&1 != 0 {
			deleted--
			continue
		}
		r.live = append(r.live, e)
	}
	r.bad = r.bad || r.i != len(r.b)-1 || len(r.live) != alive || deleted != 0
	return r.live
}

// fields reads an entry's fields and returns how many listpack entries it took, as
// the last of them must say.
func (r *nodeReader) fields(e *StreamEntry, flags int64) (pieces int64) {
	from := len(r.pairs)
	if flags&2 != 0 {
		for k := 0; k < len(r.same) && !r.bad; k++ {
			r.pairs = append(r.pairs, Pair{r.same[k], r.text()})
		}
		pieces = 3 + int64(len(r.same))
	} else {
		n := r.count()
		for k := 0; k < n && !r.bad; k++ {
			r.pairs = append(r.pairs, Pair{Field: r.text(), Value: r.text()})
		}
		pieces = 4 + 2*int64(n)
	}
	e.Fields = r.pairs[from:len(r.pairs):len(r.pairs)]
	return pieces
}
