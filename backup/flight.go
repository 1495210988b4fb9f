package backup

import (
	"sync"
	"sync/atomic"

	"rqvault/internal/rdb"
)

// maxFlight is how many bytes of a dump are on their way at once. Most chunks are of one
// mebibyte, and then it holds back nobody; those of large values are of up to eight.
const maxFlight = 24 << 20

// flight counts the bytes that were walked, and not yet indexed and compressed.
type flight struct {
	mu    sync.Mutex
	room  sync.Cond
	bytes int
}

func newFlight() *flight {
	f := &flight{}
	f.room.L = &f.mu
	return f
}

// shared is a chunk with two readers.
type shared struct {
	*rdb.Chunk
	flight  *flight
	readers atomic.Int32
}

// share waits until there is room for a chunk. It belongs to two readers, each of whom
// releases it.
func (f *flight) share(c *rdb.Chunk) *shared {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.bytes > 0 && f.bytes+len(c.Data) > maxFlight {
		f.room.Wait()
	}
	f.bytes += len(c.Data)
	s := &shared{Chunk: c, flight: f}
	s.readers.Store(2)
	return s
}

func (c *shared) release() {
	if c.readers.Add(-1) > 0 {
		return
	}
	f := c.flight
	f.mu.Lock()
	f.bytes -= len(c.Data)
	f.mu.Unlock()
	f.room.Signal()
	c.Release()
}
