package restore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
	"rqvault/internal/rq"
	"rqvault/restore"
)

// dumpOf writes a dump of Redis 7.0 with the records in it.
func dumpOf(t *testing.T, records ...keyspace.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := rdb.NewWriter(&b, keyspace.Format{Version: 10})
	for i := range records {
		records[i].Format = keyspace.Format{Version: 10}
		if err := w.Record(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func streamed(dump []byte, w io.Writer) (restore.IntoResult, error) {
	return restore.Stream(context.Background(), w, restore.StreamOptions{Dump: bytes.NewReader(dump), Size: int64(len(dump)), Schema: rq.Schema{}, Now: 1000})
}

func word(db int, key string, expireAt int64) keyspace.Record {
	return keyspace.Record{DB: db, Key: []byte(key), Kind: keyspace.String, ExpireAt: expireAt, Raw: []byte{1, 'x'}}
}

func TestAStreamHasWhatATargetMayHold(t *testing.T) {
	t.Parallel()
	dump := dumpOf(t, word(0, "session", 0), word(0, "gone", 999), word(0, "soon", 1001), word(0, "rq:suspended", 0), word(0, "rq:scheduler-lock:q", 0),
		keyspace.Record{DB: 3, Key: []byte("rq:queue:q"), Type: 1, Kind: keyspace.List, Raw: []byte{1, 1, 'j'}})
	var out bytes.Buffer
	r, err := streamed(dump, &out)
	if err != nil || r.Counts.Keys != 3 || r.Counts.Workers != 2 || r.Counts.Expired != 1 || len(r.Suspended) != 1 || r.Suspended[0] != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	var got []string
	w := rdb.NewWalker(&out, rdb.Options{})
	for {
		c, err := w.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range c.Records {
			got = append(got, string(rune('0'+rec.DB))+" "+string(rec.Key))
		}
	}
	if s := strings.Join(got, ", "); s != "0 session, 0 soon, 3 rq:suspended, 3 rq:queue:q" || w.Summary().Checksum != rdb.Verified {
		t.Errorf("the stream holds %s, checksum %v", s, w.Summary().Checksum)
	}
}

// Over the value of a module that it lacks a server ends itself when it loads.
func TestAStreamHasNoValuesOfModules(t *testing.T) {
	t.Parallel()
	module := keyspace.Record{Key: []byte("m"), Type: 7, Kind: keyspace.Other, Raw: []byte{0x81, 1, 2, 3, 4, 5, 6, 7, 8, 0}}
	_, err := streamed(dumpOf(t, word(0, "a", 0), module), io.Discard)
	if !errors.Is(err, restore.ErrOneByOne) {
		t.Errorf("it says %v", err)
	}
}

func TestAStreamOfHalfADumpEndsWithItsFault(t *testing.T) {
	t.Parallel()
	dump := dumpOf(t, word(0, "a", 0), word(0, "b", 0))
	for n := range dump {
		if _, err := streamed(dump[:n], io.Discard); !errors.Is(err, rdb.ErrTruncated) && !errors.Is(err, rdb.ErrDamaged) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	full := errors.New("full")
	if _, err := streamed(dump, failing{full}); !errors.Is(err, full) {
		t.Errorf("what cannot be written: %v", err)
	}
}

// failing takes nothing.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
