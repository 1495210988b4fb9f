package rdb

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"rqvault/internal/keyspace"
)

// Options bound what a Walker holds. The zero value is good for dumps from disk.
type Options struct {
	ChunkSize int   // bytes a chunk aims at; default 1 MiB, at least 64
	MaxValue  int   // bytes of the largest value delivered whole; default 8 MiB, at least ChunkSize
	Size      int64 // bytes of the dump if known; a length that reaches beyond is damage at once
	Trailing  bool  // the source goes on after the dump (a replication link): see Rest
}

// Summary is what a walk has proven and counted.
type Summary struct {
	Format    keyspace.Format
	Checksum  Checksum
	CRC       uint64            // as computed over the dump, even if the dump has none
	Size      int64             // bytes, header and checksum included
	Keys      int64             // keys in all databases
	Expires   int64             // keys with an expiry
	Functions int               // function libraries
	Aux       map[string]string // auxiliary fields; the first 64, values cut at 1 KiB
	DBs       []DBCount         // databases that hold keys, in the dump's order
}

// DBCount counts the keys of one database.
type DBCount struct {
	DB            int
	Keys, Expires int64
}

// Checksum says whether a dump proved its own bytes.
type Checksum uint8

// What the eight bytes at a dump's end were.
const (
	Absent   Checksum = iota // zero: the server runs with rdbchecksum no
	Verified                 // the CRC64 of all bytes before
)

// String returns "verified" or "absent".
func (c Checksum) String() string {
	if c == Verified {
		return "verified"
	}
	return "absent"
}

// phase is what the bytes at pos are.
type phase uint8

const (
	inHeader  phase = iota
	atItem          // a type byte or an opcode
	inPayload       // an opcode's payload
	inKey
	inValue
	inFooter // the checksum
	atEnd    // nothing may follow
	ended
)

// Walker reads a dump once, from front to back, and hands it out in chunks. It
// holds one chunk at a time; memory is bounded by Options, never by the dump.
// Records are handed out before the checksum at the end was seen: only io.EOF from
// Next makes them proven. Not for concurrent use.
type Walker struct {
	src    io.Reader
	srcErr error
	idle   int // reads in a row that brought nothing
	opt    Options
	pool   pool

	cur   *Chunk // being filled; buf[:n] is read, buf[:pos] is passed
	buf   []byte
	n     int
	pos   int
	base  int64  // offset of buf[0] in the dump
	crc   uint64 // of all bytes before base
	index int
	ready *Chunk // finished, for Next to return
	err   error

	phase phase
	m     machine
	item  item
	dbs   map[int]int // database to place in sum.DBs
	db    *DBCount
	sum   Summary
}

// item is the place in buf of what is being read, and what its opcodes said.
type item struct {
	start, body, value int  // first byte; payload or key; value
	code               byte // opcode or type
	shape              *shape
	prefixed           bool // opcodes that belong to the next key have been read
	expire             int64
	meta               [2]int // key metadata, opcode included; empty if equal
	broken             bool   // a payload so large that its first bytes are gone
	part               keyspace.Part
	opaque             bool   // inside an element that is delivered in cuts
	key                []byte // decoded copy, if owned
	keyLen             int    // of a key that is not owned
	owned              bool   // the key cannot be read in place in the chunk
}

// NewWalker returns a walker over the dump that r yields.
func NewWalker(r io.Reader, o Options) *Walker {
	if o.ChunkSize <= 0 {
		o.ChunkSize = 1 << 20
	}
	o.ChunkSize = max(o.ChunkSize, 64)
	if o.MaxValue <= 0 {
		o.MaxValue = 8 << 20
	}
	o.MaxValue = max(o.MaxValue, o.ChunkSize)
	w := &Walker{src: r, opt: o, pool: pool{size: o.ChunkSize}, dbs: map[int]int{}}
	w.sum.Aux = map[string]string{}
	w.m.templates = map[uint64]uint64{}
	w.cur = w.pool.get(0)
	w.buf = w.cur.buf
	return w
}

// Next returns the next chunk. It returns io.EOF only after the end mark and the
// checksum were read and hold and, unless Options.Trailing, the source has ended.
// What is wrong with the dump is an *Error; errors of the source come unchanged.
// Every error stays.
func (w *Walker) Next() (*Chunk, error) {
	for w.ready == nil {
		if w.err == nil {
			w.err = w.step()
		}
		if w.err != nil {
			return nil, w.err
		}
	}
	c := w.ready
	w.ready = nil
	return c, nil
}

// Summary returns what was counted. It is complete once Next has returned io.EOF.
func (w *Walker) Summary() Summary {
	s := w.sum
	s.DBs = slices.DeleteFunc(slices.Clone(s.DBs), func(d DBCount) bool { return d.Keys == 0 })
	return s
}

// Rest returns the bytes that were read from the source beyond the dump's end.
// Valid with Options.Trailing once Next has returned io.EOF.
func (w *Walker) Rest() []byte {
	if w.phase != ended {
		return nil
	}
	return w.buf[:w.n]
}

// step goes on until a chunk is ready or more bytes are needed, and gets those.
func (w *Walker) step() error {
	for w.ready == nil {
		var st state
		var err error
		switch w.phase {
		case inHeader:
			st, err = w.header()
		case atItem:
			st, err = w.begin()
		case inPayload, inKey, inValue:
			w.pos, st, err = w.m.run(w.buf[:w.n], w.pos)
			if err == nil && st != needMore {
				err = w.finish(st)
			}
		case inFooter:
			st, err = w.footer()
		case atEnd:
			st, err = w.end()
		case ended:
			return io.EOF
		}
		if err != nil {
			return w.locate(err)
		}
		if st == needMore {
			return w.more()
		}
	}
	return nil
}

// locate completes an *Error made with an offset into buf.
func (w *Walker) locate(err error) error {
	if err == io.EOF {
		return err
	}
	err = place(err, w.base, w.sum.Format)
	var e *Error
	if errors.As(err, &e) && w.phase == inValue {
		e.What += fmt.Sprintf(", in a value of type %d (%s)", w.item.code, w.item.shape.name)
	}
	return err
}
