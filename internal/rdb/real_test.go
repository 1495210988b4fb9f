package rdb_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// realDumps returns the dumps that real servers wrote (testdata/rdb/make.sh).
func realDumps(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../../testdata/rdb/*.rdb")
	if err != nil || len(paths) < 9 {
		t.Fatalf("real dumps: %d found, error %v", len(paths), err)
	}
	dumps := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		dumps[filepath.Base(p)] = b
	}
	return dumps
}

// walked is all that a walk gave, with records that outlive their chunks.
type walked struct {
	data    []byte
	records []keyspace.Record
	chunks  int
	largest int
	sum     rdb.Summary
	rest    []byte
}

// walk reads a whole dump; chunks are released as a pipeline would.
func walk(r io.Reader, o rdb.Options) (walked, error) {
	var got walked
	w := rdb.NewWalker(r, o)
	for {
		c, err := w.Next()
		if err == io.EOF {
			got.sum = w.Summary()
			got.rest = slices.Clone(w.Rest())
			return got, nil
		}
		if err != nil {
			return got, err
		}
		if c.Index != got.chunks || c.Offset != int64(len(got.data)) {
			panic("chunk out of place")
		}
		got.chunks++
		got.largest = max(got.largest, len(c.Data))
		got.data = append(got.data, c.Data...)
		for _, r := range c.Records {
			r.Key, r.Raw, r.Meta = bytes.Clone(r.Key), bytes.Clone(r.Raw), bytes.Clone(r.Meta)
			got.records = append(got.records, r)
		}
		c.Release()
	}
}

// mustWalk is walk for dumps that are known to be good.
func mustWalk(t testing.TB, dump []byte, o rdb.Options) walked {
	t.Helper()
	got, err := walk(bytes.NewReader(dump), o)
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	if !bytes.Equal(got.data, dump) {
		t.Fatalf("chunks put together: %d bytes, want the dump's %d", len(got.data), len(dump))
	}
	return got
}

// Real dumps come out of the walker whole and verified, with what their server had.
func TestRealDumps(t *testing.T) {
	keys := map[string]int64{"all.rdb": 34, "nocompress.rdb": 34, "nochecksum.rdb": 34, "repl.rdb": 34,
		"lru.rdb": 3, "lfu.rdb": 5, "empty.rdb": 0, "rq.rdb": 60, "plain.rdb": 1}
	for name, dump := range realDumps(t) {
		got := mustWalk(t, dump, rdb.Options{Size: int64(len(dump))})
		s := got.sum
		if s.Keys != keys[name] || int64(len(got.records)) != s.Keys || s.Size != int64(len(dump)) || s.Format != redis10 {
			t.Errorf("%s: %+v, want %d keys in %d bytes", name, s, keys[name], len(dump))
		}
		if want := rdb.Verified; (s.Checksum == want) == (name == "nochecksum.rdb") {
			t.Errorf("%s: checksum %v", name, s.Checksum)
		}
		if s.Aux["redis-ver"] != "7.0.15" || s.Aux["redis-bits"] != "64" {
			t.Errorf("%s: aux %v", name, s.Aux)
		}
		if _, has := s.Aux["repl-id"]; has != slices.Contains([]string{"repl.rdb", "rq.rdb", "lru.rdb", "lfu.rdb", "plain.rdb"}, name) {
			t.Errorf("%s: aux %v", name, s.Aux)
		}
	}
	all := mustWalk(t, realDumps(t)["all.rdb"], rdb.Options{})
	if want := []rdb.DBCount{{DB: 0, Keys: 31, Expires: 2}, {DB: 3, Keys: 2}, {DB: 15, Keys: 1, Expires: 1}}; !slices.Equal(all.sum.DBs, want) {
		t.Errorf("databases %+v, want %+v", all.sum.DBs, want)
	}
	if all.sum.Functions != 2 || all.sum.Expires != 3 {
		t.Errorf("%d functions, %d expiries; want 2 and 3", all.sum.Functions, all.sum.Expires)
	}
	expires := map[string]int64{"text": 4102444800123, "hash:small": 4102444800456, "h": 4102444800789}
	for _, r := range all.records {
		if r.ExpireAt != expires[string(r.Key)] {
			t.Errorf("%s expires at %d, want %d", r.Key, r.ExpireAt, expires[string(r.Key)])
		}
		if !bytes.Equal(r.Raw, all.data[r.Offset:r.Offset+int64(len(r.Raw))]) {
			t.Errorf("%s: value is not at its offset %d", r.Key, r.Offset)
		}
	}
}
