package rdb

import (
	"encoding/binary"
	"hash/crc64"
)

// Redis' checksum is CRC-64 with the Jones polynomial ad93d23594c935a9, reflected,
// starting from zero and not inverted: over "123456789" it is e9c6d914c4b8d9ca.
//
// One CRC is a chain of dependent table look-ups that leaves a core mostly waiting.
// So long input is cut into blocks of three lanes whose CRCs run side by side and
// are then joined: the CRC of ab is that of a, carried over as many zero bytes as b
// has, xor that of b starting from zero. Carrying over a fixed distance is linear,
// hence another set of tables.

// lane is the bytes per lane of a block.
const lane = 4 << 10

type crcTables [8][256]uint64

var (
	// crcOne[k] is the CRC of a byte followed by k zero bytes.
	crcOne = makeCRCTables(crc64.MakeTable(0x95AC9329AC4BC9B5))
	// crcCarry[k] is what byte k of a CRC becomes over one lane of zero bytes.
	crcCarry = makeCarryTables(crcOne)
)

func makeCRCTables(first *crc64.Table) *crcTables {
	t := &crcTables{0: *first}
	for k := 1; k < 8; k++ {
		for b := range 256 {
			before := t[k-1][b]
			t[k][b] = before>>8 ^ t[0][byte(before)]
		}
	}
	return t
}

func makeCarryTables(one *crcTables) *crcTables {
	t := new(crcTables)
	zeros := make([]byte, lane)
	for k := range 8 {
		for bit := range 8 {
			t[k][1<<bit] = crcSimple(1<<(8*k+bit), zeros)
		}
		for b := 1; b < 256; b++ {
			t[k][b] = t[k][b&-b] ^ t[k][b&(b-1)]
		}
	}
	return t
}

// crcUpdate carries a checksum over more bytes.
func crcUpdate(crc uint64, p []byte) uint64 {
	if canFold && len(p) >= 2*foldBlock {
		return crcFold(crc, p)
	}
	return crcByTables(crc, p)
}

// crcByTables is crcUpdate on any processor.
func crcByTables(crc uint64, p []byte) uint64 {
	for len(p) >= 3*lane {
		a, b, c := crcLanes(crc, (*[3 * lane]byte)(p))
		crc = crcJoin(crcJoin(a, b), c)
		p = p[3*lane:]
	}
	return crcSimple(crc, p)
}

// crcLanes runs over a block's three lanes at once.
func crcLanes(a uint64, p *[3 * lane]byte) (uint64, uint64, uint64) {
	t := crcOne
	var b, c uint64
	for i := 0; i < lane; i += 8 {
		a = t.apply(a ^ binary.LittleEndian.Uint64(p[i:]))
		b = t.apply(b ^ binary.LittleEndian.Uint64(p[lane+i:]))
		c = t.apply(c ^ binary.LittleEndian.Uint64(p[2*lane+i:]))
	}
	return a, b, c
}

// crcJoin returns the CRC of two runs of bytes, the second being a lane.
func crcJoin(a, b uint64) uint64 { return crcCarry.reverse(a) ^ b }

// apply looks up the bytes of x, lowest first, which is the one with most to follow.
func (t *crcTables) apply(x uint64) uint64 {
	return t[7][byte(x)] ^ t[6][byte(x>>8)] ^ t[5][byte(x>>16)] ^ t[4][byte(x>>24)] ^
		t[3][byte(x>>32)] ^ t[2][byte(x>>40)] ^ t[1][byte(x>>48)] ^ t[0][x>>56]
}

// reverse looks up the bytes of x by their own place.
func (t *crcTables) reverse(x uint64) uint64 {
	return t[0][byte(x)] ^ t[1][byte(x>>8)] ^ t[2][byte(x>>16)] ^ t[3][byte(x>>24)] ^
		t[4][byte(x>>32)] ^ t[5][byte(x>>40)] ^ t[6][byte(x>>48)] ^ t[7][x>>56]
}

// crcSimple runs over any bytes in one lane.
func crcSimple(crc uint64, p []byte) uint64 {
	for ; len(p) >= 8; p = p[8:] {
		crc = crcOne.apply(crc ^ binary.LittleEndian.Uint64(p))
	}
	for _, b := range p {
		crc = crc>>8 ^ crcOne[0][byte(crc)^b]
	}
	return crc
}
