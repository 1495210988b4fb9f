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
