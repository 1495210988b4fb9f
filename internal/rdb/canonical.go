package rdb

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"

	"rqvault/internal/keyspace"
)

// Digest is what a value holds, free of how it is encoded: equal values of one kind have
// equal digests, whichever server wrote them.
type Digest [2]uint64

// Canonical digests a Whole record's content. The order counts in lists and streams, and
// nowhere else. A value of a kind that is not decoded is ErrUnsupported.
func Canonical(rec *keyspace.Record) (Digest, error) {
	if rec.Kind == keyspace.Stream || rec.Kind == keyspace.String || expiringFields(rec.Type) {
		v, err := Decode(rec)
		if err != nil {
			return Digest{}, err
		}
		return v.canonical(), nil
	}
	if rec.Part != keyspace.Whole {
		return Digest{}, place(unsupported(0, "a part of a value has no digest"), rec.Offset, rec.Format)
	}
	var d digester
	err := Elements(rec, func(e Element) error {
		d.element(rec.Kind, e, 0)
		return nil
	})
	return d.sum, err
}

// expiringFields reports whether a hash of that type may have fields that expire.
func expiringFields(typ byte) bool { return typ >= 22 && typ <= 25 }

// digester adds up the digests of elements. A sum does not know an order; where there is
// one, each element carries its place.
type digester struct {
	sum Digest
	n   uint64
	buf []byte
}

// add digests what is in the buffer.
func (d *digester) add() {
	h := sha256.Sum256(d.buf)
	var carry uint64
	d.sum[0], carry = bits.Add64(d.sum[0], binary.LittleEndian.Uint64(h[:]), 0)
	d.sum[1], _ = bits.Add64(d.sum[1], binary.LittleEndian.Uint64(h[8:]), carry)
	d.buf = d.buf[:0]
	d.n++
}

func (d *digester) number(n uint64) { d.buf = binary.LittleEndian.AppendUint64(d.buf, n) }

func (d *digester) text(s []byte) {
	d.number(uint64(len(s)))
	d.buf = append(d.buf, s...)
}

func (d *digester) element(kind keyspace.Kind, e Element, expireAt int64) {
	switch kind {
	case keyspace.List:
		d.number(d.n)
	case keyspace.Hash:
		d.text(e.Value)
		d.number(uint64(expireAt))
	case keyspace.ZSet:
		d.number(math.Float64bits(e.Score + 0)) // no negative zero
	}
	d.text(e.Member)
	d.add()
}

// canonical digests a value that was decoded.
func (v *Value) canonical() Digest {
	var d digester
	switch v.Kind {
	case keyspace.String:
		d.text(v.String)
		d.add()
	case keyspace.Hash:
		for _, f := range v.Hash {
			d.element(v.Kind, Element{Member: f.Field, Value: f.Value}, f.ExpireAt)
		}
	case keyspace.Stream:
		d.stream(v.Stream)
	}
	return d.sum
}

// stream digests entries, last id and groups: all that every version of Redis keeps.
func (d *digester) stream(s *Stream) {
	for _, e := range s.Entries {
		d.number(d.n)
		d.id(e.ID)
		for _, f := range e.Fields {
			d.text(f.Field)
			d.text(f.Value)
		}
		d.add()
	}
	d.id(s.LastID)
	d.add()
	for _, g := range s.Groups {
		d.text(g.Name)
		d.id(g.LastID)
		d.add()
		for _, p := range g.Pending {
			d.text(g.Name)
			d.id(p.ID)
			d.text(p.Consumer)
			d.number(uint64(p.DeliveredAt))
			d.number(p.Deliveries)
			d.add()
		}
	}
}

func (d *digester) id(id StreamID) {
	d.number(id.Ms)
	d.number(id.Seq)
}
