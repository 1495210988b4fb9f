package rdb

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"
)

// The checksum is Redis' own, and the same however the bytes are cut.
func TestCRC(t *testing.T) {
	if got := crcUpdate(0, []byte("123456789")); got != 0xe9c6d914c4b8d9ca {
		t.Errorf("crc of the test vector: %x", got)
	}
	r := rand.New(rand.NewPCG(5, 6))
	table := crc64.MakeTable(0x95AC9329AC4BC9B5)
	p := make([]byte, 20*lane)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	for _, n := range []int{0, 1, 7, 8, 9, lane, 3*lane - 1, 3 * lane, 3*lane + 1, 6 * lane, 7*lane + 5, len(p)} {
		want := ^crc64.Update(^uint64(0), table, p[:n])
		if got := crcUpdate(0, p[:n]); got != want {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
		for range 20 {
			cut := r.IntN(n + 1)
			if got := crcUpdate(crcUpdate(0, p[:cut]), p[cut:n]); got != want {
				t.Errorf("%d bytes cut at %d: %x, want %x", n, cut, got, want)
			}
		}
	}
}
