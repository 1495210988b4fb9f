package rdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"sort"
	"testing"

	library "github.com/hdt3213/rdb/core"
	"github.com/hdt3213/rdb/model"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// Streams of every layout are decoded to their last detail.
func TestDecodeStream(t *testing.T) {
	pair := func(f, v string) rdb.Pair { return rdb.Pair{Field: []byte(f), Value: []byte(v)} }
	entries := []rdb.StreamEntry{
		{ID: rdb.StreamID{Ms: 5, Seq: 1}, Fields: []rdb.Pair{pair("a", "1"), pair("b", "2")}},
		{ID: rdb.StreamID{Ms: 7, Seq: 0}, Fields: []rdb.Pair{pair("c", "d"), pair("c", "7")}},
		{ID: rdb.StreamID{Ms: 9, Seq: 0}, Fields: []rdb.Pair{pair("f", "v")}},
	}
	for version, typ := range map[int]byte{1: 15, 2: 19, 3: 21} {
		rec := record(typ, keyspace.Format{Version: 11}, streamValue(version))
		v, err := rdb.Decode(rec)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		group := rdb.StreamGroup{LastID: rdb.StreamID{Ms: 7}, EntriesRead: -1, Consumers: [][]byte{[]byte("alice"), []byte("idle")},
			Pending: []rdb.StreamPending{{ID: rdb.StreamID{Ms: 5, Seq: 1}, Consumer: []byte("alice"), DeliveredAt: 1, Deliveries: 3}}}
		want := &rdb.Stream{Entries: entries, LastID: rdb.StreamID{Ms: 12, Seq: 4}, MaxDeletedID: rdb.StreamID{Ms: 6, Seq: 1}, EntriesAdded: 5}
		if version == 1 {
			want.MaxDeletedID, want.EntriesAdded, group.EntriesRead = rdb.StreamID{}, 3, 0
		}
		for _, name := range []string{"g1", "g2"} {
			group.Name = []byte(name)
			want.Groups = append(want.Groups, group)
		}
		if !reflect.DeepEqual(v.Stream, want) {
			t.Errorf("version %d:\n got %v\nwant %v", version, v.Stream, want)
		}
	}
	for version, typ := range map[int]byte{1: 15, 2: 19, 3: 21, 4: 26, 5: 27} {
		tail, err := rdb.StreamTail(record(typ, keyspace.Format{Version: 14}, streamValue(version)))
		if want := (rdb.Tail{Length: 3, LastID: rdb.StreamID{Ms: 12, Seq: 4}, Entries: entries[2:]}); err != nil || fmt.Sprint(tail) != fmt.Sprint(want) {
			t.Errorf("tail of version %d: %v, %v; want %v", version, tail, err, want)
		}
	}
	if id := (rdb.StreamID{Ms: 5, Seq: 1}).String(); id != "5-1" {
		t.Errorf("id %s", id)
	}
}

// Field expiries come out absolute, in every layout that has them.
func TestDecodeFieldExpiry(t *testing.T) {
	const min = 1_700_000_000_000
	want := map[string]map[string]int64{
		"hash ttl rc": {"a": 0, "c": min}, "hash listpack ttl rc": {"f": 0}, "hash ttl": {"a": min, "c": 0},
		"hash listpack ttl": {"f": min, "g": 0}, "valkey hash ttl": {"a": min, "c": 0}, "plain hash": {"f": 0, "7": 0},
	}
	for _, c := range values() {
		if want[c.name] == nil {
			continue
		}
		v, err := rdb.Decode(record(c.typ, c.format, c.raw))
		got := map[string]int64{}
		for _, f := range v.Hash {
			got[string(f.Field)] = f.ExpireAt
		}
		if err != nil || !maps.Equal(got, want[c.name]) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, want[c.name])
		}
	}
}

// What cannot be decoded says so.
func TestDecodeRefuses(t *testing.T) {
	for _, c := range values() {
		rec := record(c.typ, c.format, c.raw)
		switch _, err := rdb.Decode(rec); c.name {
		case "module", "array", "array without cursor", "stream 4", "stream 5":
			if !errors.Is(err, rdb.ErrUnsupported) {
				t.Errorf("%s: %v, want unsupported", c.name, err)
			}
		default:
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		rec.Part = keyspace.First
		if _, err := rdb.Decode(rec); !errors.Is(err, rdb.ErrUnsupported) {
			t.Errorf("%s, first part: %v, want unsupported", c.name, err)
		}
	}
}

// TestAgainstLibrary compares with a second reader, hdt3213/rdb, which shares no code with ours
// but what Decode asks it for streams' groups; entries of streams it reads alone.
func TestAgainstLibrary(t *testing.T) {
	dumps := realDumps(t)
	delete(dumps, "plain.rdb")
	s := startServer(t, nil)
	s.fill(1200)
	dumps["filled"] = s.save()
	for _, version := range []int{10, 12} {
		b := dump(header(keyspace.Format{Version: version}))
		for _, c := range values() {
			// The library takes zipmap lengths of 254 for an error, where zipmap.c writes
			// them, and panics when plain and packed nodes of a list take turns.
			wrong := c.name == "zipmap, long" || c.name == "quicklist 2" || c.typ == 7
			if c.format.Vendor == keyspace.Redis && c.format.Version <= version && !wrong {
				b.raw(c.typ).str(c.name).bytes(c.raw)
			}
		}
		dumps[fmt.Sprint("built ", version)] = b.end()
	}
	for name, d := range dumps {
		records := mustWalk(t, d, rdb.Options{}).records
		i := 0
		err := library.NewDecoder(bytes.NewReader(d)).Parse(func(o model.RedisObject) bool {
			r := &records[i]
			i++
			if o.GetKey() != string(r.Key) || o.GetDBIndex() != r.DB || o.GetType() != r.Kind.String() {
				t.Fatalf("%s: %q %s, the library has %q %s", name, r.Key, r.Kind, o.GetKey(), o.GetType())
			}
			var at int64
			if e := o.GetExpiration(); e != nil {
				at = e.UnixMilli()
			}
			if at != r.ExpireAt {
				t.Errorf("%s: %q expires at %d, the library has %d", name, r.Key, r.ExpireAt, at)
			}
			v, err := rdb.Decode(r)
			if err != nil {
				t.Fatalf("%s: %q: %v", name, r.Key, err)
			}
			if got, want := ours(v), theirs(o); got != want {
				t.Errorf("%s: %q, type %d:\n got %.300s\nwant %.300s", name, r.Key, r.Type, got, want)
			}
			return true
		})
		if err != nil || i != len(records) {
			t.Fatalf("%s: the library stops after %d of %d: %v", name, i, len(records), err)
		}
	}
}

// ours and theirs print a value in one way; hashes and stream fields are sorted,
// since the library has maps for them.
func ours(v rdb.Value) string {
	switch v.Kind {
	case keyspace.String:
		return fmt.Sprintf("%q", v.String)
	case keyspace.List:
		return fmt.Sprintf("%q", v.List)
	case keyspace.Set:
		return fmt.Sprintf("%q", v.Set)
	case keyspace.ZSet:
		var s []string
		for _, z := range v.ZSet {
			s = append(s, fmt.Sprintf("%q:%x", z.Member, math.Float64bits(z.Score)))
		}
		return fmt.Sprint(s)
	case keyspace.Hash:
		fields := map[string]string{}
		for _, f := range v.Hash {
			fields[string(f.Field)] = fmt.Sprintf("%q", f.Value)
		}
		return fmt.Sprint(fields)
	}
	var s []string
	for _, e := range v.Stream.Entries {
		fields := map[string]string{}
		for _, p := range e.Fields {
			fields[string(p.Field)] = fmt.Sprintf("%q", p.Value)
		}
		s = append(s, fmt.Sprint(e.ID, fields))
	}
	return fmt.Sprint(s, v.Stream.LastID, len(v.Stream.Groups))
}

func theirs(o model.RedisObject) string {
	switch o := o.(type) {
	case *model.StringObject:
		return fmt.Sprintf("%q", o.Value)
	case *model.ListObject:
		return fmt.Sprintf("%q", o.Values)
	case *model.SetObject:
		return fmt.Sprintf("%q", o.Members)
	case *model.ZSetObject:
		var s []string
		for _, z := range o.Entries {
			s = append(s, fmt.Sprintf("%q:%x", z.Member, math.Float64bits(z.Score)))
		}
		return fmt.Sprint(s)
	case *model.HashObject:
		fields := map[string]string{}
		for f, v := range o.Hash {
			fields[f] = fmt.Sprintf("%q", v)
		}
		return fmt.Sprint(fields)
	case *model.StreamObject:
		var s []string
		for _, node := range o.Entries {
			for _, m := range node.Msgs {
				if m.Deleted {
					continue
				}
				fields := map[string]string{}
				for f, v := range m.Fields {
					fields[f] = fmt.Sprintf("%q", v)
				}
				s = append(s, fmt.Sprint(rdb.StreamID{Ms: m.Id.Ms, Seq: m.Id.Sequence}, fields))
			}
		}
		return fmt.Sprint(s, rdb.StreamID{Ms: o.LastId.Ms, Seq: o.LastId.Sequence}, len(o.Groups))
	}
	return fmt.Sprintf("%T", o)
}

// The groups of a real stream are what the server says they are.
func TestDecodeRealGroups(t *testing.T) {
	for _, r := range mustWalk(t, realDumps(t)["all.rdb"], rdb.Options{}).records {
		if string(r.Key) != "stream:big" {
			continue
		}
		v, err := rdb.Decode(&r)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range v.Stream.Groups {
			owners := []string{}
			for _, p := range g.Pending {
				owners = append(owners, fmt.Sprintf("%s %s", p.ID, p.Consumer))
			}
			names := []string{}
			for _, c := range g.Consumers {
				names = append(names, string(c))
			}
			sort.Strings(names)
			got = append(got, fmt.Sprintf("%s %s %v %v", g.Name, g.LastID, names, owners))
		}
		want := []string{"g1 9-0 [alice bob] [2-0 alice 4-0 alice 5-0 alice 6-0 alice 7-0 bob 8-0 bob 9-0 bob]",
			"g2 102-0 [alice] [101-0 alice 102-0 alice]", "idle 1000-5 [nobody] []"}
		if !slices.Equal(got, want) {
			t.Errorf("groups\n got %q\nwant %q", got, want)
		}
		if len(v.Stream.Entries) != 248 || v.Stream.EntriesAdded != 251 || v.Stream.MaxDeletedID != (rdb.StreamID{Ms: 250}) {
			t.Errorf("%d entries, %d added, max deleted %s", len(v.Stream.Entries), v.Stream.EntriesAdded, v.Stream.MaxDeletedID)
		}
		return
	}
	t.Error("stream:big is missing")
}
