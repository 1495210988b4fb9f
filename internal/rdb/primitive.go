package rdb

import "encoding/binary"

// verdict of reading something from bytes that may end too early.
type state uint8

const (
	okay     state = iota
	needMore       // the bytes end inside it
	nonsense       // no server writes this
	boundary       // an element that was being cut has ended (machine only)
)

// readLen reads a plain length at the start of b and returns how many bytes it took.
func readLen(b []byte) (n uint64, size int, st state) {
	if len(b) == 0 {
		return 0, 0, needMore
	}
	switch c := b[0]; {
	case c < 0x40:
		return uint64(c), 1, okay
	case c < 0x80:
		if len(b) < 2 {
			return 0, 0, needMore
		}
		return uint64(c&0x3f)<<8 | uint64(b[1]), 2, okay
	case c == 0x80:
		if len(b) < 5 {
			return 0, 0, needMore
		}
		return uint64(binary.BigEndian.Uint32(b[1:])), 5, okay
	case c == 0x81:
		if len(b) < 9 {
			return 0, 0, needMore
		}
		return binary.BigEndian.Uint64(b[1:]), 9, okay
	}
	return 0, 0, nonsense
}

// form is how a string is written.
type form uint8

const (
	raw form = iota
	int8s
	int16s
	int32s
	lzf
)

// stringHead is what stands before a string's bytes.
type stringHead struct {
	form form
	size int    // bytes of the head itself
	body uint64 // bytes that follow and belong to the string
	raw  uint64 // length of the string once decompressed (LZF only)
}

// readHead reads the head of a string at the start of b. Lengths beyond any string
// a server can hold are nonsense, and so is LZF that claims a better ratio than LZF has.
func readHead(b []byte) (h stringHead, st state) {
	if len(b) == 0 {
		return h, needMore
	}
	switch b[0] {
	case 0xC0:
		return stringHead{int8s, 1, 1, 0}, okay
	case 0xC1:
		return stringHead{int16s, 1, 2, 0}, okay
	case 0xC2:
		return stringHead{int32s, 1, 4, 0}, okay
	case 0xC3:
		return readLZFHead(b)
	}
	n, size, st := readLen(b)
	if st == okay && n > maxString {
		st = nonsense
	}
	return stringHead{raw, size, n, n}, st
}

func readLZFHead(b []byte) (h stringHead, st state) {
	comp, n1, st := readLen(b[1:])
	if st != okay {
		return h, st
	}
	full, n2, st := readLen(b[1+n1:])
	if st != okay {
		return h, st
	}
	if comp == 0 || full == 0 || comp > maxString || full > comp*maxLZFRatio {
		return h, nonsense
	}
	return stringHead{lzf, 1 + n1 + n2, comp, full}, okay
}
