package rdb

import "encoding/binary"

// foldBlock is the bytes folded at once.
const foldBlock = 64

// foldKeys multiply what stands one block before: x^575 and x^511 modulo the checksum's
// polynomial, for the first and the second half of sixteen bytes. The exponents are a
// block's bits, plus 64 for the first half, minus one because the product of two numbers
// whose lowest bit is the highest power lies one bit off.
var foldKeys = [2]uint64{power(8*foldBlock + 64 - 1), power(8*foldBlock - 1)}

// power is x to the n modulo the polynomial, its highest power in the lowest bit.
func power(n int) uint64 {
	const one = 1 << 63
	p := uint64(one)
	for range n {
		p = p>>1 ^ crcOne[0][0x80]*(p&1)
	}
	return p
}

// crcFold carries a checksum over at least two blocks. A dump's bytes are one polynomial,
// and its CRC is what is left of that divided by another. Multiplying a block by x^512,
// modulo the divisor, and adding it to the next leaves the same remainder, so that one
// block is left in the end, which goes through the tables with the rest.
func crcFold(crc uint64, p []byte) uint64 {
	block := [foldBlock]byte(p)
	binary.LittleEndian.PutUint64(block[:], binary.LittleEndian.Uint64(block[:])^crc)
	whole := len(p) / foldBlock * foldBlock
	fold(&block, &foldKeys, p[foldBlock:whole])
	return crcSimple(crcSimple(0, block[:]), p[whole:])
}
