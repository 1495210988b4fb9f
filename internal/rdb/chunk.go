package rdb

import (
	"sync"

	"rqvault/internal/keyspace"
)

// Chunk is a run of whole items of a dump, or one part of a value too large for
// one chunk. The Data of all chunks, one after the other, is the dump. A chunk owns
// its buffers until Release, so chunks may be read by other goroutines while the
// Walker goes on.
type Chunk struct {
	Index   int               // 0 for the first
	Offset  int64             // of Data in the dump, in bytes
	Data    []byte            // header, opcodes and checksum included
	Records []keyspace.Record // those whose Raw lies in Data, in order; Key and Raw point into the chunk

	buf  []byte // Data's backing, full length
	keys []byte // keys that are not readable in place: coded ones, and those of later parts
	home *pool
}

// Release gives the chunk's buffers back for reuse. The chunk, its records and
// their keys and values must not be used afterwards. Not releasing is harmless
// but costs an allocation per chunk.
func (c *Chunk) Release() {
	if c.home == nil {
		return
	}
	home := c.home
	c.home = nil
	home.put(c)
}

// pool keeps released chunks of one walker. A buffer that has grown for one large
// record is dropped, so that a dump with a few of them does not keep their memory.
type pool struct {
	size int // of a normal buffer, in bytes
	mu   sync.Mutex
	free []*Chunk
}

// poolLimit bounds how many released chunks wait for reuse.
const poolLimit = 32

// get returns an empty chunk with room for at least min bytes, plus some to go on.
func (p *pool) get(min int) *Chunk {
	var c *Chunk
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		c, p.free = p.free[n-1], p.free[:n-1]
	}
	p.mu.Unlock()
	if c == nil {
		c = new(Chunk)
	}
	c.home = p
	if min >= p.size {
		c.buf = make([]byte, min+p.size)
	} else if c.buf == nil {
		c.buf = make([]byte, p.size)
	}
	return c
}

func (p *pool) put(c *Chunk) {
	if len(c.buf) > p.size {
		c.buf = nil
	}
	c.Data, c.Records, c.keys = nil, c.Records[:0], c.keys[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < poolLimit {
		p.free = append(p.free, c)
	}
}
