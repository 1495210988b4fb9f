package rdb

import (
	"encoding/binary"
	"math"
	"sync"

	"rqvault/internal/keyspace"
)

// Element is one element of a list (Member), set (Member), sorted set (Member and
// Score) or hash (Member is the field, and Value). Its bytes are valid only during
// the call that receives it.
type Element struct {
	Member []byte
	Value  []byte
	Score  float64
}

// Elements calls fn for each element of a list, set, sorted set or hash, in the
// order they are stored in. The record may be Whole or a part that is not Opaque; a
// part's elements are those that lie in it. It stops at fn's first error and returns
// it as it is; damage is an *Error, and so is ErrUnsupported for other kinds.
func Elements(rec *keyspace.Record, fn func(e Element) error) error {
	d, err := open(rec)
	if err != nil {
		return err
	}
	defer d.close()
	d.fn = fn
	return d.fail(d.elements())
}

// HashFields calls fn for each field of a hash for which wanted says yes. Values of
// the other fields are passed over without being decompressed or formatted, which
// is most of the work on a job's hash. A nil wanted takes all.
func HashFields(rec *keyspace.Record, wanted func(field []byte) bool, fn func(field, value []byte) error) error {
	d, err := open(rec)
	if err != nil {
		return err
	}
	defer d.close()
	if d.shape.kind != keyspace.Hash {
		return d.fail(unsupported(0, "%s is no hash", d.shape.name))
	}
	d.wanted, d.fieldFn = wanted, fn
	return d.fail(d.elements())
}

// decoder reads the elements of one record. It is pooled, since its scratch space
// escapes into callbacks.
type decoder struct {
	rec     *keyspace.Record
	shape   *shape
	b       []byte
	fn      func(e Element) error
	fieldFn func(field, value []byte) error // in place of fn, for a hash
	wanted  func(field []byte) bool
	field   Element // first half of a pair
	skip    bool    // second half of the pair is not wanted
	expiry  int64   // of the hash field, Unix ms, 0 for none; for Decode
	min     int64   // what relative expiries count from
	nums    [2][24]byte
	texts   [3][]byte // decompressed strings: node, member, value
	abort   error     // error of fn
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// keepText is the largest scratch buffer that stays with a pooled decoder, in bytes.
const keepText = 1 << 20

func open(rec *keyspace.Record) (*decoder, error) {
	s := lookup(rec.Type, rec.Format)
	if s == nil {
		return nil, place(unsupported(0, "type %d", rec.Type), rec.Offset, rec.Format)
	}
	if rec.Opaque {
		return nil, place(unsupported(0, "a cut through an element cannot be read"), rec.Offset, rec.Format)
	}
	d := decoders.Get().(*decoder)
	d.rec, d.shape, d.b = rec, s, rec.Raw
	return d, nil
}

func (d *decoder) close() {
	texts := d.texts
	for i, t := range texts {
		if cap(t) > keepText {
			texts[i] = nil
		}
	}
	*d = decoder{texts: texts}
	decoders.Put(d)
}

// fail completes an error of this package; one of the callback goes out untouched.
func (d *decoder) fail(err error) error {
	if err == nil || d.abort != nil {
		return d.abort
	}
	if e, ok := err.(*Error); ok {
		e.What += ", in a " + d.shape.name
	}
	return place(err, d.rec.Offset, d.rec.Format)
}

// emit hands an element to the callback.
func (d *decoder) emit(e Element) error {
	if d.fieldFn != nil {
		d.abort = d.fieldFn(e.Member, e.Value)
	} else {
		d.abort = d.fn(e)
	}
	return d.abort
}

// str decodes the string at d.b[i] into one of the scratch texts.
func (d *decoder) str(i, scratch int) (s []byte, end int, err error) {
	s, d.texts[scratch], end, err = textAt(d.b, i, d.texts[scratch])
	return s, end, err
}

// begin passes over what stands before the elements and returns their count, or -1
// for a part, whose elements fill it.
func (d *decoder) begin() (i int, n uint64, err error) {
	n = math.MaxUint64
	if !d.rec.Part.Starts() {
		return 0, n, nil
	}
	if d.shape.enc == encTTL || d.shape.enc == encTTLPack {
		if len(d.b) < 8 {
			return 0, 0, damaged(0, "%d bytes", len(d.b))
		}
		d.min = int64(binary.LittleEndian.Uint64(d.b))
		i = 8
	}
	switch d.shape.enc {
	case encZiplist, encZipmap, encIntset, encListpack, encTTLPack, encTTLPack0:
		return i, 1, nil
	}
	count, i, err := lengthAt(d.b, i)
	if d.rec.Part == keyspace.Whole {
		n = count
	}
	return i, n, err
}

// elements walks the whole value.
func (d *decoder) elements() error {
	one := d.element()
	if one == nil {
		return unsupported(0, "elements of this type are not read")
	}
	i, n, err := d.begin()
	if err != nil {
		return err
	}
	for k := uint64(0); k < n; k++ {
		if i >= len(d.b) && n == math.MaxUint64 {
			return nil
		}
		if i, err = one(d, i); err != nil {
			return err
		}
	}
	if i != len(d.b) {
		return damaged(i, "%d bytes after the last element", len(d.b)-i)
	}
	return nil
}

// element returns the reader for one string, node or pair of the value's encoding.
func (d *decoder) element() func(d *decoder, i int) (int, error) {
	switch d.shape.enc {
	case encPlain:
		switch d.shape.kind {
		case keyspace.Hash:
			return (*decoder).pair
		case keyspace.List, keyspace.Set:
			return (*decoder).member
		}
	case encScoreTxt:
		return (*decoder).scoredText
	case encScoreBin:
		return (*decoder).scored
	case encTTL, encTTLRC:
		return (*decoder).ttlPair
	case encTTLAfter:
		return (*decoder).pairTTL
	case encZipmap:
		return (*decoder).zipmap
	case encIntset:
		return (*decoder).intset
	case encQuick2:
		return (*decoder).node
	case encZiplist, encQuick1:
		return (*decoder).ziplist
	case encListpack, encTTLPack, encTTLPack0:
		return (*decoder).listpack
	}
	return nil
}

// OversizedField reads what an Opaque part of a hash, one that begins an element, shows
// of it: the field's name, and as much of its value as the part holds, nil if that is
// compressed. ok is false where the part shows no name.
func OversizedField(rec *keyspace.Record) (field, head []byte, ok bool) {
	s := lookup(rec.Type, rec.Format)
	if s == nil || s.kind != keyspace.Hash || s.enc != encPlain || !rec.Opaque {
		return nil, nil, false
	}
	i := 0
	var err error
	if rec.Part.Starts() { // the number of fields stands before the first
		if _, i, err = lengthAt(rec.Raw, 0); err != nil {
			return nil, nil, false
		}
	}
	if field, _, i, err = textAt(rec.Raw, i, nil); err != nil {
		return nil, nil, false
	}
	h, st := readHead(rec.Raw[i:])
	if st == okay && h.form == raw {
		head = rec.Raw[i+h.size:]
	}
	return field, head, true
}
