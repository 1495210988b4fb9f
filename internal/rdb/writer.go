package rdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"rqvault/internal/keyspace"
)

// Writer writes a dump out of records, such as those of a SCAN. The dump loads in a
// server of the format's version and in a Walker. Its first error stays.
type Writer struct {
	dst    *bufio.Writer
	format keyspace.Format
	crc    uint64
	db     int
	open   []byte // key of the value whose parts are being written
	inPart bool
	buf    []byte
	err    error
}

// NewWriter begins a dump in a dialect. What is wrong with the dialect is said by
// the first call that writes.
func NewWriter(w io.Writer, f keyspace.Format) *Writer {
	d := &Writer{dst: bufio.NewWriterSize(w, 64<<10), format: f, db: -1}
	head := fmt.Sprintf("REDIS%04d", f.Version)
	if f.Vendor == keyspace.Valkey {
		head = fmt.Sprintf("VALKEY%03d", f.Version)
	}
	if len(head) != headerSize {
		head = "         "
	}
	if _, d.err = parseHeader([]byte(head)); d.err == nil {
		d.write([]byte(head))
	}
	return d
}

// Aux writes an auxiliary field.
func (w *Writer) Aux(key, value string) error {
	b := append(w.buf[:0], opcodeAux)
	b = appendString(b, key)
	w.buf = appendString(b, value)
	return w.write(w.buf)
}

// Select makes db the database of the records that follow. Record does it by
// itself; a call is only needed for a database without keys.
func (w *Writer) Select(db int) error {
	if w.err == nil && db < 0 {
		w.err = fmt.Errorf("database %d", db)
	}
	if db == w.db {
		return w.err
	}
	w.db = db
	w.buf = appendLen(append(w.buf[:0], opcodeSelect), uint64(db))
	return w.write(w.buf)
}

// Resize says how many keys db has, so that a server that loads the dump makes room for
// them at once. It need not be exact.
func (w *Writer) Resize(db int, keys int64) error {
	if err := w.Select(db); err != nil {
		return err
	}
	b := appendLen(append(w.buf[:0], opcodeResize), uint64(max(keys, 0)))
	w.buf = appendLen(b, 0) // keys that expire
	return w.write(w.buf)
}

// Record writes one key with its expiry. The parts of a large value are written by
// one call each, in order, with nothing between. A type that servers of the dump's
// version do not know is ErrUnsupported, and nothing is written.
func (w *Writer) Record(rec *keyspace.Record) error {
	if w.err != nil {
		return w.err
	}
	if w.inPart == rec.Part.Starts() || w.inPart && string(rec.Key) != string(w.open) {
		return errors.New("part of a value out of its order")
	}
	if !rec.Part.Starts() {
		w.inPart = !rec.Part.Ends()
		return w.write(rec.Raw)
	}
	if err := w.writable(rec); err != nil {
		return err
	}
	if err := w.Select(rec.DB); err != nil {
		return err
	}
	b := w.buf[:0]
	if rec.ExpireAt != 0 {
		b = binary.LittleEndian.AppendUint64(append(b, opcodeExpireMs), uint64(rec.ExpireAt))
	}
	b = append(append(b, rec.Meta...), rec.Type)
	b = append(appendLen(b, uint64(len(rec.Key))), rec.Key...)
	w.buf = b
	if w.inPart = !rec.Part.Ends(); w.inPart {
		w.open = append(w.open[:0], rec.Key...)
	}
	if err := w.write(b); err != nil {
		return err
	}
	return w.write(rec.Raw)
}

// writable reports whether a server of the dump's version reads the record's type
// the way it was written.
func (w *Writer) writable(rec *keyspace.Record) error {
	s := lookup(rec.Type, rec.Format)
	since := 0
	if s != nil {
		since = s.since
	}
	if len(rec.Meta) > 0 {
		since = max(since, metaSince)
	}
	if s == nil || since == 0 || lookup(rec.Type, w.format) != s || since > w.format.Version {
		return &Error{Offset: rec.Offset, Format: rec.Format, Err: ErrUnsupported,
			What: fmt.Sprintf("type %d cannot be written to a dump of %s", rec.Type, w.format)}
	}
	return nil
}

// Close writes the end mark and the checksum. It does not close the writer below.
func (w *Writer) Close() error {
	if w.err == nil && w.inPart {
		w.err = errors.New("last part of a value is missing")
	}
	if w.write([]byte{opcodeEOF}) != nil {
		return w.err
	}
	if w.write(binary.LittleEndian.AppendUint64(nil, w.crc)) == nil {
		w.err = w.dst.Flush()
	}
	if w.err == nil {
		w.err = errClosed
		return nil
	}
	return w.err
}

var errClosed = errors.New("dump is closed")

func (w *Writer) write(p []byte) error {
	if w.err == nil {
		w.crc = crcUpdate(w.crc, p)
		_, w.err = w.dst.Write(p)
	}
	return w.err
}

// appendLen appends a length in its shortest form.
func appendLen(b []byte, n uint64) []byte {
	switch {
	case n < 1<<6:
		return append(b, byte(n))
	case n < 1<<14:
		return append(b, 0x40|byte(n>>8), byte(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0x80), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0x81), n)
}

func appendString(b []byte, s string) []byte {
	return append(appendLen(b, uint64(len(s))), s...)
}
