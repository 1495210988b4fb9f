package index

import (
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"rqvault/internal/columns"
	"rqvault/internal/job"
)

// Bounds on a row group: small enough that two of them, one being filled and one being
// written, stay in a few megabytes, large enough for columns to compress.
const (
	groupRows  = 20_000
	groupBytes = 8 << 20 // of texts and lists
)

// rowGroup is a row group of either table.
type rowGroup interface{ group() *columns.Group }

// table writes row groups in turn: one is filled while the other is written.
type table[G rowGroup] struct {
	w          *columns.Writer
	cur, other G
	err        error
}

func newTable[Row any, G rowGroup](w io.Writer, group func() G) table[G] {
	cw, err := columns.NewWriter[Row](w, "rqvault")
	return table[G]{w: cw, cur: group(), other: group(), err: err}
}

// endRow is called when the row's values are in the current group.
func (t *table[G]) endRow() error {
	g := t.cur.group()
	g.EndRow()
	if g.Rows() < groupRows && g.Bytes() < groupBytes {
		return nil
	}
	return t.flush()
}

func (t *table[G]) flush() error {
	if t.err == nil {
		t.err = wrapFile(t.w.Write(t.cur.group()), "write")
		t.cur, t.other = t.other, t.cur
	}
	return t.err
}

// Close writes the rest and the footer.
func (t *table[G]) Close() error {
	if err := t.flush(); err != nil {
		return err
	}
	return wrapFile(t.w.Close(), "close")
}

// Stop gives the file up: nothing is written any more once it has returned. After Close it
// does nothing.
func (t *table[G]) Stop() {
	if t.w != nil {
		t.w.Stop()
	}
}

func wrapFile(err error, act string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s the index: %w", act, err)
}

// addName appends a name to a column of text. One that is not UTF-8 is escaped there and
// stands as it is in raw.
func addName(text, raw *columns.Text, rawLevels *columns.Levels, name string) {
	if utf8.ValidString(name) {
		text.AddString(name)
		rawLevels.Add(0, 0)
		return
	}
	q := strconv.QuoteToASCII(name)
	text.AddString(q[1 : len(q)-1])
	rawLevels.Add(1, 0)
	raw.AddString(name)
}

// KeysWriter writes keys.parquet.
type KeysWriter struct{ table[*keyGroup] }

// NewKeysWriter starts a keys.parquet on w.
func NewKeysWriter(w io.Writer) *KeysWriter {
	return &KeysWriter{newTable[KeyRow](w, newKeyGroup)}
}

// Write appends one row.
func (w *KeysWriter) Write(k *KeyRow) error {
	w.cur.add(k)
	return w.endRow()
}

// keyGroup is some rows of keys.parquet by columns.
type keyGroup struct {
	g                        *columns.Group
	db, typ, frame           *columns.Int32
	key, raw                 *columns.Text
	rawLevels                *columns.Levels
	kind, role               *columns.Name
	expireAt, offset, length *columns.Int64
	digest                   *columns.Int64
}

func newKeyGroup() *keyGroup {
	g := columns.NewGroup(groupRows)
	c := &keyGroup{g: g, rawLevels: g.Levels(1, 0)}
	c.db = g.Int32("db", nil)
	c.key = g.Text("key", nil)
	c.raw = g.Text("key_raw", c.rawLevels)
	c.kind = g.Name("kind", nil)
	c.typ = g.Int32("type", nil)
	c.role = g.Name("role", nil)
	c.expireAt = g.Int64("expire_at", nil)
	c.offset = g.Int64("offset", nil)
	c.length = g.Int64("length", nil)
	c.frame = g.Int32("frame", nil)
	c.digest = g.Random64("digest", nil)
	return c
}

func (c *keyGroup) group() *columns.Group { return c.g }

func (c *keyGroup) add(k *KeyRow) {
	if name := k.Name(); utf8.Valid(name) {
		c.key.Add(name)
		c.rawLevels.Add(0, 0)
	} else {
		addName(c.key, c.raw, c.rawLevels, string(name))
	}
	c.db.Add(k.DB)
	c.kind.Add(k.Kind)
	c.typ.Add(k.Type)
	c.role.Add(k.Role)
	c.expireAt.Add(k.ExpireAt)
	c.offset.Add(k.Offset)
	c.length.Add(k.Length)
	c.frame.Add(k.Frame)
	c.digest.Add(k.Digest)
}

// JobsWriter writes jobs.parquet.
type JobsWriter struct{ table[*jobGroup] }

// NewJobsWriter starts a jobs.parquet on w.
func NewJobsWriter(w io.Writer) *JobsWriter {
	jw := &JobsWriter{newTable[jobRow](w, newJobGroup)}
	if jw.w != nil {
		jw.w.Prove()
	}
	return jw
}

// Tail returns the end of the file, once it is closed: what Part proves the rest from.
func (w *JobsWriter) Tail() Tail { return w.w.Tail() }

// Write appends one row. Rows must come in the order of job.Compare.
func (w *JobsWriter) Write(r *job.Row) error {
	w.cur.add(r)
	return w.endRow()
}
