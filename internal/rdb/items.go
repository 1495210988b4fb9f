package rdb

import (
	"bytes"
	"encoding/binary"
	"io"

	"rqvault/internal/keyspace"
)

// Bounds on what a Walker keeps of a dump besides its chunk.
const (
	maxAux      = 64
	maxAuxValue = 1 << 10
	maxAuxText  = 64 << 10
	maxRecords  = 16 << 10 // records per chunk, so that tiny keys do not outgrow their data
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

// payload acts on an opcode whose payload is complete.
func (w *Walker) payload() error {
	it := &w.item
	b := w.buf[max(it.body, 0):w.pos]
	switch it.code {
	case opcodeExpireMs:
		it.expire = expiry(int64(binary.LittleEndian.Uint64(b)))
	case opcodeExpireSec:
		it.expire = expiry(int64(int32(binary.LittleEndian.Uint32(b))) * 1000)
	case opcodeIdle, opcodeFreq:
	case opcodeMeta:
		if w.sum.Format.Vendor == keyspace.Redis {
			it.meta = [2]int{it.body - 1, w.pos}
			break
		}
		return w.endOpcode(b)
	default:
		return w.endOpcode(b)
	}
	it.prefixed = true
	return nil
}

// expiry keeps a time in the past apart from no expiry at all, which is zero.
func expiry(ms int64) int64 { return max(ms, 1) }

// endOpcode acts on an opcode that stands for itself and ends its item.
func (w *Walker) endOpcode(b []byte) error {
	it := &w.item
	var err error
	switch it.code {
	case opcodeSelect:
		n, _, _ := readLen(b)
		err = w.selectDB(n)
	case opcodeFunction:
		w.sum.Functions++
	case opcodeAux:
		if !it.broken {
			err = w.aux(b)
		}
	case opcodeModuleAux:
		if !it.broken {
			err = checkModuleAux(b)
		}
	case opcodeTemplate:
		if it.broken {
			return unsupported(w.pos, "hash template of more than %d bytes", w.opt.MaxValue)
		}
		err = w.template(b)
	}
	if e, ok := err.(*Error); ok {
		e.Offset += int64(it.body)
	}
	it.broken = false
	if !it.prefixed {
		it.start = w.pos
	}
	return err
}

// selectDB makes n the database of the keys that follow; it is 0 before the first
// such opcode.
func (w *Walker) selectDB(n uint64) error {
	if n > maxDB {
		return damaged(0, "database number %d", n)
	}
	at, known := w.dbs[int(n)]
	if !known {
		if len(w.dbs) >= maxDBs {
			return damaged(0, "more than %d databases", maxDBs)
		}
		at = len(w.sum.DBs)
		w.dbs[int(n)] = at
		w.sum.DBs = append(w.sum.DBs, DBCount{DB: int(n)})
	}
	w.db = &w.sum.DBs[at]
	return nil
}

// aux keeps an auxiliary field. One too long to be any server's is passed over, so
// that compressed ones cannot take memory.
func (w *Walker) aux(b []byte) error {
	var field [2]string
	for k, i := 0, 0; k < 2; k++ {
		h, end, err := stringAt(b, i)
		if err != nil {
			return err
		}
		if h.raw > maxAuxText {
			return nil
		}
		s, _, err := text(b[i:end], h, nil, maxAuxText)
		if err != nil {
			return shift(err, i)
		}
		field[k] = string(s[:min(len(s), maxAuxValue)])
		i = end
	}
	if len(w.sum.Aux) < maxAux {
		w.sum.Aux[field[0]] = field[1]
	}
	return nil
}

// checkModuleAux refuses module data whose moment of saving is not where it must be.
func checkModuleAux(b []byte) error {
	_, n, _ := readLen(b)
	if code, _, _ := readLen(b[n:]); code != moduleUnsigned {
		return damaged(n, "module auxiliary data with mark %d", code)
	}
	return nil
}

// template remembers how many fields a hash template has (Redis 8.10, from documents).
func (w *Walker) template(b []byte) error {
	id, n, _ := readLen(b)
	fields, _, _ := readLen(b[n:])
	if len(w.m.templates) >= maxTemplates {
		return unsupported(0, "more than %d hash templates", maxTemplates)
	}
	w.m.templates[id] = fields
	return nil
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
