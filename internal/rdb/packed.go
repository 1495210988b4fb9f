package rdb

import (
	"encoding/binary"
	"strconv"
)

// entry is one entry of a listpack, ziplist or intset: text in place, or an integer.
type entry struct {
	text []byte
	num  int64
	isN  bool
}

// bytes returns the entry as text, an integer formatted into scratch.
func (e *entry) bytes(scratch *[24]byte) []byte {
	if !e.isN {
		return e.text
	}
	return strconv.AppendInt(scratch[:0], e.num, 10)
}

// packing is a blob of consecutive entries: head checks the blob's frame and tells
// where the first entry is and how many there are (-1: not known), next reads the
// entry at i. An i at the end mark gives end < 0.
type packing struct {
	name string
	head func(b []byte) (first, count int, ok bool)
	next func(b []byte, i int) (e entry, end int, ok bool)
}

var (
	listpacks = packing{"listpack", listpackHead, listpackNext}
	ziplists  = packing{"ziplist", ziplistHead, ziplistNext}
)

// each calls fn for every entry of b, in order.
func (p *packing) each(b []byte, fn func(i int, e *entry) error) error {
	i, count, ok := p.head(b)
	if !ok {
		return damaged(0, "%s of %d bytes whose head says otherwise", p.name, len(b))
	}
	var e entry
	for n := 0; ; n++ {
		at := i
		if e, i, ok = p.next(b, i); !ok {
			return damaged(at, "entry %d of a %s", n, p.name)
		}
		if i < 0 {
			if at != len(b)-1 || count >= 0 && n != count {
				return damaged(at, "%s of %d entries ends after %d", p.name, count, n)
			}
			return nil
		}
		if err := fn(n, &e); err != nil {
			return err
		}
	}
}

// listpackHead checks: total bytes u32 LE, count u16 LE (65535: not known).
func listpackHead(b []byte) (first, count int, ok bool) {
	if len(b) < 7 || binary.LittleEndian.Uint32(b) != uint32(len(b)) || b[len(b)-1] != 0xFF {
		return 0, 0, false
	}
	count = int(binary.LittleEndian.Uint16(b[4:]))
	if count == 1<<16-1 {
		count = -1
	}
	return 6, count, true
}

// listpackNext reads: encoding and data, then their length again, 7 bits a byte.
// Source: redis 7.2 listpack.c.
func listpackNext(b []byte, i int) (e entry, end int, ok bool) {
	rest := b[i:]
	if len(rest) == 0 {
		return e, 0, false
	}
	c := rest[0]
	if c == 0xFF {
		return e, -1, true
	}
	head, size := 1, 0 // bytes before the data, bytes of text data
	switch {
	case c < 0x80: // 0xxxxxxx
		e.num, e.isN = int64(c), true
	case c < 0xC0: // 10xxxxxx text
		size = int(c & 0x3f)
	case len(rest) < 2:
		return e, 0, false
	case c < 0xE0: // 110xxxxx x8, 13 bits signed
		head = 2
		e.num, e.isN = int64(int16(uint16(c)<<11|uint16(rest[1])<<3)>>3), true
	case c < 0xF0: // 1110xxxx x8, text
		head, size = 2, int(c&0x0f)<<8|int(rest[1])
	case c == 0xF0:
		if len(rest) < 5 {
			return e, 0, false
		}
		head, size = 5, int(binary.LittleEndian.Uint32(rest[1:]))
	default:
		if e.num, head, ok = listpackInt(c, rest); !ok {
			return e, 0, false
		}
		e.isN = true
	}
	if size > len(rest)-head {
		return e, 0, false
	}
	if !e.isN {
		e.text = rest[head : head+size]
	}
	back := backlen(head + size)
	if head+size+back > len(rest) || !backlenIs(rest[head+size:head+size+back], head+size) {
		return e, 0, false
	}
	return e, i + head + size + back, true
}

// listpackInt reads the integers of 16, 24, 32 and 64 bits.
func listpackInt(c byte, b []byte) (n int64, size int, ok bool) {
	if c > 0xF4 || len(b) < [...]int{3, 4, 5, 9}[c-0xF1] {
		return 0, 0, false
	}
	switch c {
	case 0xF1:
		return int64(int16(binary.LittleEndian.Uint16(b[1:]))), 3, true
	case 0xF2:
		return int64(int32(uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24) >> 8), 4, true
	case 0xF3:
		return int64(int32(binary.LittleEndian.Uint32(b[1:]))), 5, true
	}
	return int64(binary.LittleEndian.Uint64(b[1:])), 9, true
}

// backlen is how many bytes a listpack spends on repeating an entry's length. The
// odd limits are listpack.c's own (lpEncodeBacklen).
func backlen(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14-1:
		return 2
	case n < 1<<21-1:
		return 3
	case n < 1<<28-1:
		return 4
	}
	return 5
}

// backlenIs reports whether b repeats the length n: big end first, seven bits a
// byte, the top bit set on all but the first.
func backlenIs(b []byte, n int) bool {
	for k := len(b) - 1; k >= 0; k-- {
		want := byte(n & 0x7f)
		if k > 0 {
			want |= 0x80
		}
		if b[k] != want {
			return false
		}
		n >>= 7
	}
	return n == 0
}

// ziplistHead checks: total bytes u32 LE, offset of the last entry u32 LE, count
// u16 LE (65535: not known).
func ziplistHead(b []byte) (first, count int, ok bool) {
	if len(b) < 11 || binary.LittleEndian.Uint32(b) != uint32(len(b)) || b[len(b)-1] != 0xFF {
		return 0, 0, false
	}
	count = int(binary.LittleEndian.Uint16(b[8:]))
	if count == 1<<16-1 {
		count = -1
	}
	return 10, count, true
}

// ziplistNext reads: length of the entry before (1 byte, or 254 and u32 LE),
// encoding, data. Source: redis 6.2 ziplist.c.
func ziplistNext(b []byte, i int) (e entry, end int, ok bool) {
	if i >= len(b) {
		return e, 0, false
	}
	if b[i] == 0xFF {
		return e, -1, true
	}
	if b[i] == 0xFE {
		i += 4
	}
	i++
	if i >= len(b) {
		return e, 0, false
	}
	rest := b[i:]
	c := rest[0]
	head, size := 1, 0
	switch c >> 6 {
	case 0:
		size = int(c & 0x3f)
	case 1:
		if len(rest) < 2 {
			return e, 0, false
		}
		head, size = 2, int(c&0x3f)<<8|int(rest[1])
	case 2:
		if len(rest) < 5 {
			return e, 0, false
		}
		head, size = 5, int(binary.BigEndian.Uint32(rest[1:]))
	default:
		e.isN = true
		if e.num, head, ok = ziplistInt(c, rest); !ok {
			return e, 0, false
		}
	}
	if size > len(rest)-head {
		return e, 0, false
	}
	if !e.isN {
		e.text = rest[head : head+size]
	}
	return e, i + head + size, true
}

// ziplistInt reads the integers: C0 16, D0 32, E0 64, F0 24, FE 8 bits, F1 to FD
// the values 0 to 12 themselves.
func ziplistInt(c byte, b []byte) (n int64, size int, ok bool) {
	switch {
	case c == 0xC0 && len(b) >= 3:
		return int64(int16(binary.LittleEndian.Uint16(b[1:]))), 3, true
	case c == 0xD0 && len(b) >= 5:
		return int64(int32(binary.LittleEndian.Uint32(b[1:]))), 5, true
	case c == 0xE0 && len(b) >= 9:
		return int64(binary.LittleEndian.Uint64(b[1:])), 9, true
	case c == 0xF0 && len(b) >= 4:
		return int64(int32(uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24) >> 8), 4, true
	case c == 0xFE && len(b) >= 2:
		return int64(int8(b[1])), 2, true
	case c >= 0xF1 && c <= 0xFD:
		return int64(c&0x0f) - 1, 1, true
	}
	return 0, 0, false
}
