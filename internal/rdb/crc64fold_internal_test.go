package rdb

import (
	"math/rand/v2"
	"testing"
)

// Both ways give one checksum for every length, from every beginning.
func TestFoldedChecksumIsThatOfTheTables(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 5000)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for n := range len(b) - 16 {
		p, begin := b[n%16:][:n], r.Uint64()
		if got, want := crcUpdate(begin, p), crcByTables(begin, p); got != want {
			t.Fatalf("%d bytes from %#x: got %#x, want %#x", n, begin, got, want)
		}
	}
}

func BenchmarkChecksum(b *testing.B) {
	p := make([]byte, 1<<20)
	for name, update := range map[string]func(uint64, []byte) uint64{"best": crcUpdate, "tables": crcByTables} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			var crc uint64
			for b.Loop() {
				crc = update(crc, p)
			}
		})
	}
}
