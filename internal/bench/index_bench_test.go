package main

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measured runs f and reports processor time beside the clock's: on a machine that others
// use, only that can be compared.
func measured(b *testing.B, f func() error) {
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
}

// BenchmarkIndexed walks the dataset in the directory RQVAULT_BENCH_DATA and writes both
// index files; BenchmarkWalked only walks it.
func BenchmarkIndexed(b *testing.B) {
	x := &bench{work: b.TempDir(), data: os.Getenv("RQVAULT_BENCH_DATA")}
	measured(b, func() error { return indexed(x) })
}

func BenchmarkWalked(b *testing.B) {
	x := &bench{data: os.Getenv("RQVAULT_BENCH_DATA")}
	measured(b, func() error { return walk(x.dump(), nil) })
}
