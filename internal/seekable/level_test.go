package seekable_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"rqvault/internal/seekable"
)

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// prose is words that come again and again.
func prose(n int, seed uint64) []byte {
	words, r := rand.New(rand.NewPCG(1, 3)), rand.New(rand.NewPCG(seed, 4))
	all := make([]string, 3000)
	for i := range all {
		all[i] = fmt.Sprintf("%x", words.Uint64()>>(8*words.IntN(7)))
	}
	var b []byte
	for len(b) < n {
		b = append(append(b, all[r.IntN(1+r.IntN(len(all)))]...), ' ')
	}
	return b
}

// The stored bytes do not depend on how many workers there are, and text, where the default
// level pays, is stored as small as that makes it.
func TestLevelThatPays(t *testing.T) {
	var texts, mixed [][]byte
	for i := range 100 {
		texts = append(texts, prose(30_000, uint64(i)))
		mixed = append(mixed, prose(10_000, uint64(i)), noise(10_000, uint64(i)))
	}
	for name, frames := range map[string][][]byte{"texts": texts, "mixed": mixed} {
		one := pack(t, seekable.Options{Workers: 1}, frames...)
		for _, workers := range []int{2, 5} {
			if got := pack(t, seekable.Options{Workers: workers}, frames...); !bytes.Equal(got, one) {
				t.Errorf("%s: %d workers store other bytes than one", name, workers)
			}
		}
		fast := pack(t, seekable.Options{Fast: true}, frames...)
		if name == "texts" && len(one) > len(fast)*98/100 {
			t.Errorf("%s: %d bytes, at the fastest level %d", name, len(one), len(fast))
		}
		if got, err := unpack(one); err != nil || !bytes.Equal(got, bytes.Join(frames, nil)) {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
	}
}
