package extsort

// arena holds the bytes of pairs in blocks, so that nothing is copied when it grows, and
// what one run needed serves the next.
type arena struct {
	blocks  [][]byte
	filling int // the block that the next pair is tried in
	used    int // bytes of all pairs
}

const (
	blockBits  = 20
	blockSize  = 1 << blockBits // bytes; a larger pair has a block of its own
	firstBlock = 64 << 10       // bytes of the first one: each is twice the one before
)

// add copies a pair and returns its place: the block's number and, in the lower bits, where
// it begins there.
func (a *arena) add(key, value []byte) uint32 {
	need := len(key) + len(value)
	i := a.room(need)
	b := a.blocks[i]
	a.blocks[i] = append(append(b, key...), value...)
	a.used += need
	return uint32(i)<<blockBits | uint32(len(b))
}

// room returns the number of a block that has so many bytes left.
func (a *arena) room(need int) int {
	for ; a.filling < len(a.blocks); a.filling++ {
		if b := a.blocks[a.filling]; len(b) < blockSize && need <= cap(b)-len(b) {
			return a.filling
		}
	}
	size := blockSize
	if n := len(a.blocks); firstBlock<<min(n, blockBits) < size {
		size = firstBlock << n
	}
	a.blocks = append(a.blocks, make([]byte, 0, max(size, need)))
	return a.filling
}

// bytes returns so many bytes at a place.
func (a *arena) bytes(at, n uint32) []byte {
	from := at & (blockSize - 1)
	return a.blocks[at>>blockBits][from : from+n]
}

// reset forgets all pairs and keeps the room, but for that of single large ones.
func (a *arena) reset() {
	kept := a.blocks[:0]
	for _, b := range a.blocks {
		if cap(b) <= blockSize {
			kept = append(kept, b[:0])
		}
	}
	clear(a.blocks[len(kept):])
	a.blocks, a.filling, a.used = kept, 0, 0
}
