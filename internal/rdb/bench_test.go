package rdb_test

import (
	"bytes"
	"io"
	"testing"

	"rqvault/internal/rdb"
)

// BenchmarkWalk measures framing plus CRC64 over a dump of 200,000 jobs, one core.
func BenchmarkWalk(b *testing.B) {
	dump := rqDump(200_000)
	b.SetBytes(int64(len(dump)))
	b.ReportAllocs()
	for b.Loop() {
		w := rdb.NewWalker(bytes.NewReader(dump), rdb.Options{})
		for {
			c, err := w.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			c.Release()
		}
	}
}

// BenchmarkHashFields reads all fields but data of each of 10,000 job hashes; the
// rate is per job.
func BenchmarkHashFields(b *testing.B) {
	records := mustWalk(b, rqDump(10_000), rdb.Options{}).records[:10_000]
	wanted := func(f []byte) bool { return string(f) != "data" }
	total := 0
	take := func(f, v []byte) error { total += len(v); return nil }
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := rdb.HashFields(&records[i%len(records)], wanted, take); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
