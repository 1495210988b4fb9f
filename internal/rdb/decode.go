package rdb

import (
	"bytes"

	library "github.com/hdt3213/rdb/core"
	"github.com/hdt3213/rdb/model"

	"rqvault/internal/keyspace"
)

// Value is a whole value, decoded. Only the field of its Kind is set.
type Value struct {
	Kind   keyspace.Kind
	String []byte
	List   [][]byte
	Set    [][]byte
	ZSet   []Scored
	Hash   []HashField
	Stream *Stream
}

// Scored is a member of a sorted set.
type Scored struct {
	Member []byte
	Score  float64
}

// HashField is one field of a hash.
type HashField struct {
	Field, Value []byte
	ExpireAt     int64 // Unix milliseconds; 0 means none
}

// Stream is a stream with its consumer groups.
type Stream struct {
	Entries      []StreamEntry
	LastID       StreamID
	MaxDeletedID StreamID // zero before Redis 7.0
	EntriesAdded uint64   // the stream's length before Redis 7.0, as XADD counts on there
	Groups       []StreamGroup
}

// StreamGroup is a consumer group.
type StreamGroup struct {
	Name        []byte
	LastID      StreamID
	EntriesRead int64 // -1 if the server did not know
	Pending     []StreamPending
	Consumers   [][]byte // all of them, those with nothing pending too
}

// StreamPending is an entry that a consumer has received and not acknowledged.
type StreamPending struct {
	ID          StreamID
	Consumer    []byte
	DeliveredAt int64 // Unix milliseconds
	Deliveries  uint64
}

// maxDecoded bounds one decoded value in bytes: compressed strings can make a value
// far larger than its record.
const maxDecoded = 1 << 30

// maxStream is the same for a stream's listpacks: their entries, once apart, take up
// to 50 times as much.
const maxStream = 128 << 20

// Decode decodes a Whole record of any kind but Other, for showing it and for
// building it anew where RESTORE cannot. The value's memory belongs to the caller.
func Decode(rec *keyspace.Record) (Value, error) {
	v := Value{Kind: rec.Kind}
	if rec.Part != keyspace.Whole {
		return v, place(unsupported(0, "a part of a value cannot be decoded"), rec.Offset, rec.Format)
	}
	switch rec.Kind {
	case keyspace.String:
		s, _, end, err := textAt(rec.Raw, 0, nil)
		if err == nil && end != len(rec.Raw) {
			err = damaged(end, "%d bytes after a string", len(rec.Raw)-end)
		}
		v.String = bytes.Clone(s)
		return v, place(err, rec.Offset, rec.Format)
	case keyspace.List, keyspace.Set, keyspace.ZSet, keyspace.Hash:
		return v, v.elements(rec)
	case keyspace.Stream:
		s, err := decodeStream(rec)
		v.Stream = s
		return v, err
	}
	return v, place(unsupported(0, "values of type %d are not decoded", rec.Type), rec.Offset, rec.Format)
}

// elements collects the elements of a list, set, sorted set or hash.
func (v *Value) elements(rec *keyspace.Record) error {
	d, err := open(rec)
	if err != nil {
		return err
	}
	defer d.close()
	total := 0
	d.fn = func(e Element) error {
		if total += len(e.Member) + len(e.Value); total > maxDecoded {
			return place(unsupported(0, "value of more than %d bytes once decompressed", maxDecoded), rec.Offset, rec.Format)
		}
		switch member := bytes.Clone(e.Member); rec.Kind {
		case keyspace.List:
			v.List = append(v.List, member)
		case keyspace.Set:
			v.Set = append(v.Set, member)
		case keyspace.ZSet:
			v.ZSet = append(v.ZSet, Scored{member, e.Score})
		default:
			v.Hash = append(v.Hash, HashField{member, bytes.Clone(e.Value), d.expiry})
		}
		return nil
	}
	return d.fail(d.elements())
}

// decodeStream reads the entries itself, since the library keeps an entry's fields
// in a map and so loses their order and those that repeat. Groups, consumers and
// pending entries come from the library, which is handed the stream without its
// nodes.
func decodeStream(rec *keyspace.Record) (*Stream, error) {
	nodes, tail, at, err := streamFrame(rec, nil)
	if err != nil {
		return nil, err
	}
	s := &Stream{LastID: tail.LastID, EntriesAdded: tail.Length}
	total := 0
	for _, i := range nodes {
		entries, size, err := nodeEntries(rec.Raw, i)
		if total += size; err == nil && total > maxStream {
			err = unsupported(i, "stream of more than %d bytes once decompressed", maxStream)
		}
		if err != nil {
			return nil, place(err, rec.Offset, rec.Format)
		}
		s.Entries = append(s.Entries, entries...)
	}
	if uint64(len(s.Entries)) != tail.Length {
		return nil, place(damaged(at, "stream of %d entries says it has %d", len(s.Entries), tail.Length), rec.Offset, rec.Format)
	}
	o, err := libraryStream(rec.Type, rec.Raw[at:])
	if err != nil {
		return nil, place(err, rec.Offset, rec.Format)
	}
	if o.Version >= 2 {
		s.MaxDeletedID = StreamID{o.MaxDeletedId.Ms, o.MaxDeletedId.Sequence}
		s.EntriesAdded = o.AddedEntriesCount
	}
	for _, g := range o.Groups {
		group, err := streamGroup(g)
		if err != nil {
			return nil, place(err, rec.Offset, rec.Format)
		}
		s.Groups = append(s.Groups, group)
	}
	return s, nil
}

// streamGroup joins a group's pending entries with the consumers that hold them.
func streamGroup(g *model.StreamGroup) (StreamGroup, error) {
	group := StreamGroup{Name: []byte(g.Name), LastID: StreamID{g.LastId.Ms, g.LastId.Sequence}, EntriesRead: int64(g.EntriesRead)}
	owner := map[StreamID][]byte{}
	for _, c := range g.Consumers {
		name := []byte(c.Name)
		group.Consumers = append(group.Consumers, name)
		for _, id := range c.Pending {
			owner[StreamID{id.Ms, id.Sequence}] = name
		}
	}
	for _, p := range g.Pending {
		id := StreamID{p.Id.Ms, p.Id.Sequence}
		name, owned := owner[id]
		if !owned {
			return group, damaged(0, "pending entry %s of group %q belongs to no consumer", id, g.Name)
		}
		group.Pending = append(group.Pending, StreamPending{id, name, int64(p.DeliveryTime), p.DeliveryCount})
	}
	return group, nil
}

// libraryStream hands the library a dump of one stream that has no nodes and ends in
// tail, the bytes from the length on.
//
// The library sizes slices by the counts it reads, ignores what follows, and can
// panic. So it sees only bytes that the machine has framed first, which proves that
// every count is backed by as many entries; its panics become errors; and it never
// sees modules (for which it prints), nor types or versions it does not know.
func libraryStream(typ byte, tail []byte) (o *model.StreamObject, err error) {
	if typ != 15 && typ != 19 && typ != 21 {
		return nil, unsupported(0, "streams of type %d are not decoded", typ)
	}
	value := append([]byte{0}, tail...)
	var m machine
	m.start(common[typ].prog)
	if end, st, err := m.run(value, 0); err != nil || st != okay || end != len(value) {
		return nil, damaged(0, "groups of a stream end in disorder")
	}
	dump := append([]byte("REDIS0011"), typ, 1, 'k')
	dump = append(append(dump, value...), opcodeEOF, 0, 0, 0, 0, 0, 0, 0, 0)
	defer func() {
		if p := recover(); p != nil {
			o, err = nil, damaged(0, "stream that cannot be decoded: %v", p)
		}
	}()
	err = library.NewDecoder(bytes.NewReader(dump)).Parse(func(found model.RedisObject) bool {
		o, _ = found.(*model.StreamObject)
		return true
	})
	if err != nil || o == nil {
		return nil, damaged(0, "stream that cannot be decoded: %v", err)
	}
	return o, nil
}
