package main

import (
	"context"
	"crypto/rand"
	"os"
	"syscall"
	"testing"
	"time"

	"rqvault/backup"
	"rqvault/internal/rdb"
	"rqvault/internal/rq"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
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
	measured(b, func() error { return walk(x.dump(), (*rdb.Chunk).Release) })
}

// savedDump is a dump that Redis has written already, as a backup's source.
type savedDump string

func (path savedDump) Open(context.Context) (*backup.Dump, error) {
	f, err := os.Open(string(path))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &backup.Dump{Body: f, Size: info.Size(), Via: "bgsave", Atomic: true, At: base}, nil
}

// BenchmarkSaved is what a backup does once Redis has saved: it reports its peak memory.
func BenchmarkSaved(b *testing.B) {
	x := &bench{data: os.Getenv("RQVAULT_BENCH_DATA")}
	ctx := context.Background()
	measured(b, func() error {
		store, err := dir.Open(b.TempDir())
		if err != nil {
			return err
		}
		catalog, err := snapshot.NewCatalog(store, "default")
		if err != nil {
			return err
		}
		_, err = backup.Save(ctx, backup.Options{Catalog: catalog, Source: savedDump(x.dump()),
			Schema: rq.Schema{}, Now: time.Now, Random: rand.Reader, TempDir: b.TempDir()})
		return err
	})
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(u.Maxrss)/1024, "MiB-peak")
}
