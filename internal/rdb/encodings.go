package rdb

import (
	"encoding/binary"
	"math"
	"strconv"

	"rqvault/internal/keyspace"
)

// The readers of each encoding: they take the index of one string, node or pair in
// the value, emit what it holds, and return where it ends.

func (d *decoder) member(i int) (int, error) {
	s, end, err := d.str(i, 1)
	if err != nil {
		return i, err
	}
	return end, d.emit(Element{Member: s})
}

func (d *decoder) pair(i int) (int, error) {
	if from, at, ok := shortAt(d.b, i); ok && d.fieldFn != nil {
		if begin, end, ok := shortAt(d.b, at); ok {
			field := d.b[from:at]
			if d.wanted == nil || d.wanted(field) {
				d.abort = d.fieldFn(field, d.b[begin:end])
			}
			return end, d.abort
		}
	}
	return d.codedPair(i)
}

// codedPair reads a pair of which a half is coded or long.
func (d *decoder) codedPair(i int) (int, error) {
	field, i, err := d.str(i, 1)
	if err != nil {
		return i, err
	}
	if d.wanted != nil && !d.wanted(field) {
		if _, end, ok := shortAt(d.b, i); ok {
			return end, nil
		}
		_, end, err := stringAt(d.b, i)
		return end, err
	}
	value, end, err := d.str(i, 2)
	if err != nil {
		return i, err
	}
	return end, d.emit(Element{Member: field, Value: value})
}

// ttlPair reads ttl, field, value. In types 24 and 25 a ttl counts from one below
// the value's minimum; zero is none. Source: redis 7.4 rdb.c.
func (d *decoder) ttlPair(i int) (int, error) {
	ttl, i, err := lengthAt(d.b, i)
	if err != nil {
		return i, err
	}
	d.expiry = int64(ttl)
	if ttl != 0 && d.shape.enc == encTTL {
		d.expiry = int64(ttl) + d.min - 1
	}
	return d.pair(i)
}

// pairTTL reads field, value and an absolute expiry; -1 is none (Valkey 9, from
// documents).
func (d *decoder) pairTTL(i int) (int, error) {
	_, at, err := stringAt(d.b, i)
	if err != nil {
		return i, err
	}
	if _, at, err = stringAt(d.b, at); err != nil {
		return at, err
	}
	if len(d.b)-at < 8 {
		return at, damaged(at, "hash field without its expiry")
	}
	d.expiry = max(0, int64(binary.LittleEndian.Uint64(d.b[at:])))
	if end, err := d.pair(i); err != nil {
		return end, err
	}
	return at + 8, nil
}

func (d *decoder) scored(i int) (int, error) {
	s, i, err := d.str(i, 1)
	if err != nil {
		return i, err
	}
	if len(d.b)-i < 8 {
		return i, damaged(i, "member without its score")
	}
	score := math.Float64frombits(binary.LittleEndian.Uint64(d.b[i:]))
	return i + 8, d.emit(Element{Member: s, Score: score})
}

func (d *decoder) scoredText(i int) (int, error) {
	s, i, err := d.str(i, 1)
	if err != nil {
		return i, err
	}
	if i >= len(d.b) {
		return i, damaged(i, "member without its score")
	}
	var score float64
	n := int(d.b[i])
	switch n {
	case 253:
		score, n = math.NaN(), 0
	case 254:
		score, n = math.Inf(1), 0
	case 255:
		score, n = math.Inf(-1), 0
	default:
		if n > len(d.b)-i-1 {
			return i, damaged(i, "score of %d bytes", n)
		}
		if score, err = strconv.ParseFloat(string(d.b[i+1:i+1+n]), 64); err != nil {
			return i, damaged(i, "score %q", d.b[i+1:i+1+n])
		}
	}
	return i + 1 + n, d.emit(Element{Member: s, Score: score})
}

func (d *decoder) zipmap(i int) (int, error) {
	b, end, err := d.str(i, 0)
	if err != nil {
		return i, err
	}
	err = eachZip(b, func(field, value []byte) error {
		if d.wanted != nil && !d.wanted(field) {
			return nil
		}
		return d.emit(Element{Member: field, Value: value})
	})
	return end, d.nested(err, i)
}

func (d *decoder) intset(i int) (int, error) {
	b, end, err := d.str(i, 0)
	if err != nil {
		return i, err
	}
	err = eachInt(b, func(n int64) error {
		return d.emit(Element{Member: strconv.AppendInt(d.nums[0][:0], n, 10)})
	})
	return end, d.nested(err, i)
}

// node reads one node of a quicklist: plain bytes, or a listpack.
func (d *decoder) node(i int) (int, error) {
	container, i, err := lengthAt(d.b, i)
	switch {
	case err != nil:
		return i, err
	case container == quicklistPlain:
		return d.member(i)
	case container != quicklistPacked:
		return i, damaged(i, "quicklist node in container %d", container)
	}
	return d.packed(i, &listpacks)
}

func (d *decoder) listpack(i int) (int, error) { return d.packed(i, &listpacks) }

func (d *decoder) ziplist(i int) (int, error) { return d.packed(i, &ziplists) }

// packed reads a listpack or ziplist whose entries are elements, pairs or triplets.
func (d *decoder) packed(i int, p *packing) (int, error) {
	b, end, err := d.str(i, 0)
	if err != nil {
		return i, err
	}
	group := 1
	switch {
	case d.shape.enc == encTTLPack || d.shape.enc == encTTLPack0:
		group = 3
	case d.shape.kind == keyspace.ZSet || d.shape.kind == keyspace.Hash:
		group = 2
	}
	n := 0
	err = p.each(b, func(k int, e *entry) error {
		n = k + 1
		return d.packedEntry(k%group, group, e)
	})
	if err == nil && n%group != 0 {
		err = damaged(0, "%s of %d entries where each element takes %d", p.name, n, group)
	}
	return end, d.nested(err, i)
}

// nested moves an error found inside the string at i to that string's place, unless
// it is the callback's.
func (d *decoder) nested(err error, i int) error {
	if d.abort != nil {
		return err
	}
	return shift(err, i)
}

// packedEntry takes the entry at a place within its group and emits the element
// once the group is complete.
func (d *decoder) packedEntry(at, group int, e *entry) error {
	switch {
	case at == 0:
		d.field.Member = e.bytes(&d.nums[0])
		if group == 1 {
			return d.emit(d.field)
		}
		d.skip = d.shape.kind == keyspace.Hash && d.wanted != nil && !d.wanted(d.field.Member)
	case d.skip:
	case at == 1 && d.shape.kind == keyspace.ZSet:
		return d.packedScore(e)
	case at == 1:
		d.field.Value = e.bytes(&d.nums[1])
		if group == 2 {
			return d.emit(d.field)
		}
	default:
		if !e.isN {
			return damaged(0, "hash field expiry %q", e.text)
		}
		d.expiry = e.num
		return d.emit(d.field)
	}
	return nil
}

func (d *decoder) packedScore(e *entry) error {
	score := float64(e.num)
	if !e.isN {
		var err error
		if score, err = strconv.ParseFloat(string(e.text), 64); err != nil {
			return damaged(0, "score %q", e.text)
		}
	}
	return d.emit(Element{Member: d.field.Member, Score: score})
}
