package rdb

import (
	"bytes"
	"encoding/binary"
	"io"

	"rqvault/internal/keyspace"
)

// headerBegins reports whether b could be the start of a dump's header.
func headerBegins(b []byte) bool {
	for _, magic := range []string{"REDIS", "VALKEY"} {
		if k := min(len(b), len(magic)); string(b[:k]) == magic[:k] {
			return true
		}
	}
	return false
}

// parseHeader reads the nine bytes that name vendor and version.
func parseHeader(b []byte) (f keyspace.Format, err error) {
	digits, oldest, newest := b[5:headerSize], oldestRedis, newestRedis
	if bytes.HasPrefix(b, []byte("VALKEY")) {
		f.Vendor = keyspace.Valkey
		digits, oldest, newest = b[6:headerSize], oldestValkey, newestValkey
	} else if !bytes.HasPrefix(b, []byte("REDIS")) {
		return f, &Error{What: "does not begin with REDIS or VALKEY", Err: ErrNotRDB}
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return f, damaged(len(b)-len(digits), "version %q in the header", digits)
		}
		f.Version = f.Version*10 + int(c-'0')
	}
	if f.Version < oldest || f.Version > newest {
		return f, unsupported(0, "%s; %s is read from version %d to %d", f, f.Vendor, oldest, newest)
	}
	return f, nil
}

// header reads the dump's first bytes.
func (w *Walker) header() (state, error) {
	if w.n < headerSize {
		if !headerBegins(w.buf[:w.n]) {
			return okay, &Error{What: "does not begin with REDIS or VALKEY", Err: ErrNotRDB}
		}
		return needMore, nil
	}
	f, err := parseHeader(w.buf[:headerSize])
	if err != nil {
		return okay, err
	}
	w.sum.Format = f
	w.pos, w.phase = headerSize, atItem
	return okay, w.selectDB(0)
}

// begin reads a type byte or an opcode and prepares for what follows it.
func (w *Walker) begin() (state, error) {
	it := &w.item
	if !it.prefixed {
		it.start = w.pos
	}
	if w.pos >= len(w.buf) || w.pos >= w.n {
		return needMore, nil
	}
	code := w.buf[w.pos]
	it.code, it.body = code, w.pos+1
	if s := lookup(code, w.sum.Format); s != nil {
		it.shape = s
		w.m.start(progStr)
		w.phase = inKey
	} else if code == opcodeEOF {
		if it.prefixed {
			return okay, damaged(w.pos, "expiry or other key opcode with no key after it")
		}
		w.phase = inFooter
	} else if prog := opcodeProg(code, w.sum.Format); prog != nil {
		w.m.start(prog)
		w.phase = inPayload
	} else {
		return okay, unsupported(w.pos, "type or opcode %d", code)
	}
	w.pos++
	return okay, nil
}

// finish acts on a program's end, or on the end of an oversized element.
func (w *Walker) finish(st state) error {
	it := &w.item
	switch {
	case w.phase == inKey:
		if err := w.readKey(); err != nil {
			return err
		}
		it.value = w.pos
		w.m.start(it.shape.prog)
		w.phase = inValue
	case w.phase == inPayload:
		w.phase = atItem
		return w.payload()
	case st == boundary:
		w.part(w.pos, false)
		it.opaque, w.m.stop = false, false
	default:
		w.endValue()
	}
	return nil
}

// endValue completes a record.
func (w *Walker) endValue() {
	it := &w.item
	w.sum.Keys++
	w.db.Keys++
	if it.expire != 0 {
		w.sum.Expires++
		w.db.Expires++
	}
	w.phase = atItem
	if it.part != keyspace.Whole {
		w.part(w.pos, true)
	} else {
		w.record(w.pos)
	}
	key := it.key
	w.item = item{start: w.pos, key: key[:0]}
	if w.ready == nil && (w.pos >= w.opt.ChunkSize || len(w.cur.Records) >= maxRecords) {
		w.emit(w.pos)
	}
}

// record adds the value in buf[it.value:end] to the current chunk.
func (w *Walker) record(end int) {
	it := &w.item
	c := w.cur
	var key []byte
	if it.owned {
		c.keys = append(c.keys, it.key...)
		key = c.keys[len(c.keys)-len(it.key):]
	} else {
		key = w.plainKey()
	}
	c.Records = append(c.Records, keyspace.Record{
		DB: w.db.DB, Key: key[:len(key):len(key)], Type: it.code, Kind: it.shape.kind,
		Format: w.sum.Format, ExpireAt: it.expire, Raw: w.buf[it.value:end:end],
		Part: it.part, Opaque: it.opaque, Offset: w.base + int64(it.value),
	})
	if it.meta[0] < it.meta[1] {
		c.Records[len(c.Records)-1].Meta = w.buf[it.meta[0]:it.meta[1]:it.meta[1]]
	}
}

// plainKey returns the current key where it stands in buf.
func (w *Walker) plainKey() []byte {
	return w.buf[w.item.value-w.item.keyLen : w.item.value]
}

// readKey looks at a key that has arrived whole. One that is coded is decoded at
// once, so that damage in it is found here.
func (w *Walker) readKey() error {
	it := &w.item
	b := w.buf[it.body:w.pos]
	h, _ := readHead(b)
	it.keyLen = int(h.body)
	if it.owned = h.form != raw; !it.owned {
		return nil
	}
	var err error
	_, it.key, err = text(b, h, it.key, uint64(w.maxKey()))
	return shift(err, it.body)
}

// footer reads and checks the checksum.
func (w *Walker) footer() (state, error) {
	if w.n-w.pos < checksumSize {
		return needMore, nil
	}
	want := binary.LittleEndian.Uint64(w.buf[w.pos:])
	got := crcUpdate(w.crc, w.buf[:w.pos])
	w.sum.CRC = got
	switch want {
	case 0:
		w.sum.Checksum = Absent
	case got:
		w.sum.Checksum = Verified
	default:
		return okay, &Error{Offset: int64(w.pos), Err: ErrChecksum,
			What: "checksum does not match the bytes before it"}
	}
	w.pos += checksumSize
	w.sum.Size = w.base + int64(w.pos)
	w.phase = atEnd
	if w.opt.Trailing {
		w.phase = ended
	}
	w.emit(w.pos)
	return okay, nil
}

// end requires that nothing follows the dump.
func (w *Walker) end() (state, error) {
	switch {
	case w.n > 0:
		return okay, damaged(0, "bytes after the end of the dump")
	case w.srcErr == io.EOF:
		w.phase = ended
		return okay, io.EOF
	}
	return needMore, nil
}
