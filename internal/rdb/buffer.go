package rdb

import (
	"errors"
	"fmt"
	"io"

	"rqvault/internal/keyspace"
)

// How a Walker comes by bytes and hands them out: the current chunk's buffer is
// filled by reading; when it is full, what is complete is handed out, and what is
// not moves to the next chunk.

// more makes one step towards more bytes after buf[:n]: it reads, or makes room
// by handing out what is complete, or lets the buffer grow by as much as has
// really arrived.
func (w *Walker) more() error {
	if w.opt.Size > 0 && w.m.skip > uint64(max(0, w.opt.Size-w.base-int64(w.n))) {
		return w.locate(damaged(w.n, "string or number of %d bytes, in a dump of %d", w.m.size, w.opt.Size))
	}
	if w.n < len(w.buf) {
		return w.read()
	}
	it := &w.item
	held := w.n - it.start
	if w.phase == inValue {
		held = w.n - it.value
	}
	switch {
	case it.start > 0:
		w.emit(it.start)
	case it.broken:
		w.emit(w.pos)
	case w.phase == inValue && it.part != keyspace.Whole:
		w.divide(held)
	case held < w.opt.MaxValue:
		w.grow()
	case w.phase == inValue:
		w.divide(held)
	case w.phase == inPayload && !it.prefixed && it.code != opcodeMeta:
		it.broken = true
		w.emit(w.pos)
	case held < w.maxKey():
		w.grow()
	default:
		return w.locate(unsupported(it.start, "key or its metadata of more than %d bytes", w.maxKey()))
	}
	return nil
}

// divide hands out what has arrived of a value too large for a chunk: up to the
// last whole element, or, inside an element too large itself, all of it.
func (w *Walker) divide(held int) {
	it := &w.item
	switch {
	case it.opaque:
		w.part(w.pos, false)
	case w.m.cut > it.value:
		w.part(w.m.cut, false)
	case held < w.opt.MaxValue:
		w.grow()
	default:
		it.opaque, w.m.stop = true, true
		w.part(w.pos, false)
	}
}

// part hands out the bytes of a value from where the last part ended up to end.
func (w *Walker) part(end int, last bool) {
	it := &w.item
	if it.part == keyspace.Whole && !it.owned {
		it.key, it.owned = append(it.key[:0], w.plainKey()...), true
	}
	switch {
	case last:
		it.part = keyspace.Last
	case it.part == keyspace.Whole:
		it.part = keyspace.First
	default:
		it.part = keyspace.Middle
	}
	w.record(end)
	w.emit(end)
	it.start, it.body, it.value = 0, 0, 0
	it.meta = [2]int{}
}

// read gets some bytes from the source. In a grown buffer it reads little more
// than what is known to be missing, since what follows belongs to the next chunk.
func (w *Walker) read() error {
	if w.srcErr == io.EOF {
		return w.cutShort()
	}
	if w.srcErr != nil {
		return w.srcErr
	}
	room := w.buf[w.n:]
	if size := w.opt.ChunkSize; len(w.buf) > size {
		want := max(w.m.skip, uint64(min(size, 64<<10)))
		room = room[:min(uint64(len(room)), want)]
	}
	k, err := w.src.Read(room)
	if k < 0 || k > len(room) {
		return errors.New("rdb: reader returned an impossible count")
	}
	w.n += k
	w.srcErr = err
	if w.idle++; k > 0 {
		w.idle = 0
	}
	if w.idle > 100 && err == nil {
		return io.ErrNoProgress
	}
	return nil
}

// cutShort is the error for a source that ended inside the dump.
func (w *Walker) cutShort() error {
	what := "the dump ends without its end mark"
	switch w.phase {
	case inHeader:
		what = fmt.Sprintf("%d bytes are too few for a dump", w.n)
		if !headerBegins(w.buf[:w.n]) {
			return &Error{What: "does not begin with REDIS or VALKEY", Err: ErrNotRDB}
		}
	case inPayload, inKey, inValue:
		what = "the dump ends inside an item: " + w.m.missing()
	case inFooter:
		what = "the dump ends inside its checksum"
	}
	err := &Error{Offset: int64(w.n), What: what, Err: ErrTruncated}
	return w.locate(err)
}

// grow doubles the buffer, up to what a value delivered whole may need.
func (w *Walker) grow() {
	limit := w.item.start + w.maxKey()
	if w.phase == inValue {
		limit = w.item.value + w.opt.MaxValue
	}
	buf := make([]byte, min(2*len(w.buf), limit))
	copy(buf, w.buf[:w.n])
	w.buf, w.cur.buf = buf, buf
}

// maxKey is the limit for what must be in memory whole for a record to exist at
// all, in bytes.
func (w *Walker) maxKey() int { return max(w.opt.MaxValue, 64<<10) }

// emit finishes the current chunk with buf[:end] and carries the rest over into
// the next one.
func (w *Walker) emit(end int) {
	c := w.cur
	c.Index, c.Offset, c.Data = w.index, w.base, w.buf[:end:end]
	w.crc = crcUpdate(w.crc, c.Data)
	w.ready = c
	next := w.pool.get(w.n - end)
	w.n = copy(next.buf, w.buf[end:w.n])
	w.cur, w.buf = next, next.buf
	w.index++
	w.base += int64(end)
	w.pos -= end
	w.m.cut -= end
	it := &w.item
	it.start, it.body, it.value = it.start-end, it.body-end, it.value-end
	if it.start < 0 {
		it.start = 0
	}
	it.meta[0], it.meta[1] = it.meta[0]-end, it.meta[1]-end
}
