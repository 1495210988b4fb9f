package main

import (
	"os"
	"testing"
)

// BenchmarkIndexed walks the dataset named by RQVAULT_BENCH_DATA and writes both index
// files.
func BenchmarkIndexed(b *testing.B) {
	x := &bench{work: b.TempDir(), data: os.Getenv("RQVAULT_BENCH_DATA")}
	b.ReportAllocs()
	for b.Loop() {
		if err := indexed(x); err != nil {
			b.Fatal(err)
		}
	}
}
