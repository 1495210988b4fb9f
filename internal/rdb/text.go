package rdb

import (
	"encoding/binary"
	"strconv"
)

// text decodes a string whose head is h and whose body starts at b[h.size] (all of
// it must be there). Plain strings come in place, others in scratch, which is
// returned for reuse. max bounds the decoded length in bytes.
func text(b []byte, h stringHead, scratch []byte, max uint64) (s, grown []byte, err error) {
	body := b[h.size : h.size+int(h.body)]
	switch h.form {
	case raw:
		return body, scratch, nil
	case int8s:
		scratch = strconv.AppendInt(scratch[:0], int64(int8(body[0])), 10)
	case int16s:
		scratch = strconv.AppendInt(scratch[:0], int64(int16(binary.LittleEndian.Uint16(body))), 10)
	case int32s:
		scratch = strconv.AppendInt(scratch[:0], int64(int32(binary.LittleEndian.Uint32(body))), 10)
	default:
		if h.raw > max {
			return nil, scratch, unsupported(0, "string of %d bytes once decompressed; the limit is %d", h.raw, max)
		}
		var ok bool
		if scratch, ok = unlzf(scratch[:0], body, int(h.raw)); !ok {
			return nil, scratch, damaged(0, "compressed string that does not decompress to its %d bytes", h.raw)
		}
	}
	return scratch, scratch, nil
}

// textAt decodes the string that begins at b[i] and returns where it ends. Errors
// have their offset relative to b.
func textAt(b []byte, i int, scratch []byte) (s, grown []byte, end int, err error) {
	if from, end, ok := shortAt(b, i); ok {
		return b[from:end], scratch, end, nil
	}
	h, end, err := stringAt(b, i)
	if err != nil {
		return nil, scratch, end, err
	}
	if h.form == raw {
		return b[i+h.size : end], scratch, end, nil
	}
	s, scratch, err = text(b[i:end], h, scratch, maxText)
	return s, scratch, end, shift(err, i)
}

// shortAt tells where the string at b[i] lies if it is plain and its length takes one or two
// bytes, as that of nearly every string does. It is small enough to stand where it is used.
func shortAt(b []byte, i int) (from, end int, ok bool) {
	if i+1 >= len(b) || b[i] >= 0x80 {
		return 0, 0, false
	}
	if b[i] < 0x40 {
		from, end = i+1, i+1+int(b[i])
	} else {
		from, end = i+2, i+2+(int(b[i]&0x3f)<<8|int(b[i+1]))
	}
	return from, end, end <= len(b)
}

// maxText bounds one decompressed string in bytes: Redis' own default limit for a
// string (proto-max-bulk-len).
const maxText = 512 << 20

// stringAt finds where the string that begins at b[i] ends.
func stringAt(b []byte, i int) (stringHead, int, error) {
	h, st := readHead(b[i:])
	switch {
	case st == nonsense:
		return h, i, damaged(i, "string that begins with %#02x", b[i])
	case st == needMore || h.body > uint64(len(b)-i-h.size):
		return h, i, &Error{Offset: int64(i), What: "string that goes beyond its value", Err: ErrTruncated}
	}
	return h, i + h.size + int(h.body), nil
}

// lengthAt reads the length at b[i] and returns where it ends.
func lengthAt(b []byte, i int) (n uint64, end int, err error) {
	n, size, st := readLen(b[min(i, len(b)):])
	switch st {
	case nonsense:
		return 0, i, damaged(i, "length that begins with %#02x", b[i])
	case needMore:
		return 0, i, &Error{Offset: int64(i), What: "length that goes beyond its value", Err: ErrTruncated}
	}
	return n, i + size, nil
}

// shift moves an *Error by a distance within the same bytes.
func shift(err error, by int) error {
	if e, ok := err.(*Error); ok {
		e.Offset += int64(by)
	}
	return err
}

// unlzf decompresses src, which must give exactly size bytes, to the end of dst.
// Memory grows with what has been decompressed, not with what size claims.
//
// LZF: a control byte below 32 is followed by that many literal bytes plus one;
// otherwise its top three bits are a length (7: another byte is added) and the rest
// with the next byte a distance back.
func unlzf(dst, src []byte, size int) ([]byte, bool) {
	first := len(dst)
	for i := 0; i < len(src); {
		c := int(src[i])
		i++
		if c < 32 {
			c++
			if c > len(src)-i || len(dst)-first+c > size {
				return dst, false
			}
			dst = append(dst, src[i:i+c]...)
			i += c
			continue
		}
		n := c >> 5
		if n == 7 {
			if i >= len(src) {
				return dst, false
			}
			n += int(src[i])
			i++
		}
		if i >= len(src) {
			return dst, false
		}
		n += 2
		from := len(dst) - (c&0x1f<<8 | int(src[i])) - 1
		i++
		if from < first || len(dst)-first+n > size {
			return dst, false
		}
		// A run longer than its distance back repeats what it has just written.
		for n > 0 {
			k := min(n, len(dst)-from)
			dst = append(dst, dst[from:from+k]...)
			n -= k
		}
	}
	return dst, len(dst)-first == size
}
