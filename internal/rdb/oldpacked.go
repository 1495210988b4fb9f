package rdb

import "encoding/binary"

// eachInt calls fn for every member of an intset: width u32 LE (2, 4 or 8), count
// u32 LE, then the integers LE in order.
func eachInt(b []byte, fn func(n int64) error) error {
	if len(b) < 8 {
		return damaged(0, "intset of %d bytes", len(b))
	}
	width, count := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	if width != 2 && width != 4 && width != 8 || uint64(len(b)-8) != width*count {
		return damaged(0, "intset of %d bytes with %d members of %d bytes", len(b), count, width)
	}
	for i := 8; i < len(b); i += int(width) {
		var n int64
		switch width {
		case 2:
			n = int64(int16(binary.LittleEndian.Uint16(b[i:])))
		case 4:
			n = int64(int32(binary.LittleEndian.Uint32(b[i:])))
		default:
			n = int64(binary.LittleEndian.Uint64(b[i:]))
		}
		if err := fn(n); err != nil {
			return err
		}
	}
	return nil
}

// eachZip calls fn for every pair of a zipmap: count u8, then length key, length
// free value free-bytes, 255 at the end. A length is one byte below 254, or 254 and
// u32 LE. Source: redis 2.6 to 7.4 zipmap.c.
func eachZip(b []byte, fn func(field, value []byte) error) error {
	i := 1
	for i < len(b) && b[i] != 0xFF {
		key, at, ok := zipText(b, i, 0)
		if !ok {
			return damaged(i, "field of a zipmap")
		}
		value, end, ok := zipText(b, at, 1)
		if !ok {
			return damaged(at, "value of a zipmap")
		}
		if err := fn(key, value); err != nil {
			return err
		}
		i = end
	}
	if i != len(b)-1 {
		return damaged(i, "zipmap of %d bytes ends early", len(b))
	}
	return nil
}

// zipText reads a zipmap's string; extra is 1 for values, whose length is followed
// by the count of unused bytes after them.
func zipText(b []byte, i, extra int) (s []byte, end int, ok bool) {
	if i >= len(b) {
		return nil, 0, false
	}
	n := int(b[i])
	i++
	if n == 254 {
		if len(b)-i < 4 {
			return nil, 0, false
		}
		n = int(binary.LittleEndian.Uint32(b[i:]))
		i += 4
	} else if n > 254 {
		return nil, 0, false
	}
	free := 0
	if extra > 0 {
		if i >= len(b) {
			return nil, 0, false
		}
		free = int(b[i])
		i++
	}
	if n > len(b)-i || free > len(b)-i-n {
		return nil, 0, false
	}
	return b[i : i+n], i + n + free, true
}
