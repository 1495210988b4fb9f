package rdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
	"rqvault/internal/redistest"
)

// canonicals are the digests of a server's keys, and their raw bytes.
func canonicals(t testing.TB, s *redistest.Server) (sums map[string]rdb.Digest, raws map[string]string) {
	t.Helper()
	sums, raws = map[string]rdb.Digest{}, map[string]string{}
	keys, _ := s.Do("KEYS", "*").([]any)
	for _, k := range keys {
		payload, _ := s.Do("DUMP", k).(string)
		typ, version, raw, err := rdb.ParsePayload([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		kind, _ := rdb.KindOf(typ, rdb.FormatOfPayload(version))
		sum, err := rdb.Canonical(&keyspace.Record{Type: typ, Kind: kind, Format: rdb.FormatOfPayload(version), Raw: raw, Offset: -1})
		if err != nil {
			t.Fatal(err)
		}
		sums[k.(string)], raws[k.(string)] = sum, string([]byte{typ})+string(raw)
	}
	return sums, raws
}

// write makes one value of each kind, adding elements in one order or the other.
func write(s *redistest.Server, n int, backwards bool) {
	for i := range n {
		j := i
		if backwards {
			j = n - 1 - i
		}
		s.Do("SADD", "ints", j)
		s.Do("SADD", "set", fmt.Sprint("m", j))
		s.Do("HSET", "hash", fmt.Sprint("f", j), fmt.Sprint("v", j))
		s.Do("ZADD", "zset", float64(j)/3, fmt.Sprint("m", j))
		s.Do("RPUSH", "list", fmt.Sprint("e", i))
		s.Do("XADD", "stream", fmt.Sprint(i+1, "-1"), "f", i)
	}
	s.Do("XGROUP", "CREATE", "stream", "g", "3-1")
	s.Do("SET", "number", "12345")
	s.Do("SET", "text", string(bytes.Repeat([]byte("ab"), 100)))
}

func TestCanonicalDoesNotSeeEncodings(t *testing.T) {
	t.Parallel()
	small := redistest.Start(t)
	large := redistest.Start(t, redistest.WithArgs("--hash-max-listpack-entries", "0", "--zset-max-listpack-entries", "0", "--set-max-intset-entries", "0",
		"--list-max-listpack-size", "2", "--rdbcompression", "no", "--stream-node-max-entries", "2"))
	write(small, 20, false)
	write(large, 20, true)
	got, gotRaw := canonicals(t, small)
	want, wantRaw := canonicals(t, large)
	differ := 0
	for k := range want {
		if got[k] != want[k] {
			t.Errorf("%s: two encodings of one value have different digests", k)
		}
		if gotRaw[k] != wantRaw[k] {
			differ++
		}
	}
	if differ < 6 {
		t.Errorf("only %d of %d values are encoded in two ways: the test's data is not what it should be", differ, len(want))
	}
}

func TestCanonicalSeesEveryChange(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, change := range [][]any{
		{"SADD", "ints", 99}, {"SREM", "set", "m3"}, {"HSET", "hash", "f1", "v2"}, {"HDEL", "hash", "f1"}, {"ZINCRBY", "zset", 1, "m4"},
		{"LSET", "list", 0, "other"}, {"LMOVE", "list", "list", "LEFT", "RIGHT"}, {"RPOP", "list"}, {"XDEL", "stream", "2-1"}, {"XADD", "stream", "99-1", "f", 1},
		{"XGROUP", "SETID", "stream", "g", "4-1"}, {"XREADGROUP", "GROUP", "g", "me", "COUNT", 1, "STREAMS", "stream", ">"}, {"APPEND", "text", "x"}, {"INCR", "number"},
		{"EVAL", "local a, b = redis.call('HGET', 'hash', 'f1'), redis.call('HGET', 'hash', 'f2') return redis.call('HSET', 'hash', 'f1', b, 'f2', a)", 0},
	} {
		s.Do("FLUSHALL")
		write(s, 20, false)
		before, _ := canonicals(t, s)
		s.Do(change...)
		after, _ := canonicals(t, s)
		changed := 0
		for k := range before {
			if before[k] != after[k] {
				changed++
			}
		}
		if changed != 1 {
			t.Errorf("%v: %d digests changed, want 1", change, changed)
		}
	}
}

func TestCanonicalRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for name, rec := range map[string]*keyspace.Record{
		"a module's value": {Type: 7, Kind: keyspace.Other, Raw: []byte{0}},
		"a part":           {Type: 1, Kind: keyspace.List, Part: keyspace.First, Raw: []byte{1, 1, 'a'}},
		"an unknown type":  {Type: 200, Kind: keyspace.Other},
	} {
		if _, err := rdb.Canonical(rec); !errors.Is(err, rdb.ErrUnsupported) {
			t.Errorf("%s: got %v, want ErrUnsupported", name, err)
		}
	}
	cut := &keyspace.Record{Type: 1, Kind: keyspace.List, Raw: []byte{2, 1, 'a'}}
	if _, err := rdb.Canonical(cut); !errors.Is(err, rdb.ErrDamaged) || errors.Is(err, io.EOF) {
		t.Errorf("a list cut short: got %v, want ErrDamaged", err)
	}
}
