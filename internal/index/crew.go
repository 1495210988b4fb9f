package index

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"rqvault/internal/rdb"
)

// Crew indexes the chunks of one dump on several goroutines. Each chunk is read by one
// member, which has a Builder of its own; rows of keys are handed on in the order of the
// dump; and in the end the members' finds become one Builder's, as if that had taken every
// record itself, whoever took which.
type Crew struct {
	lead    *Builder
	keys    func(*KeyRow) error
	members []*member
	last    *member // that got the chunk before
	n       int     // chunks so far
	order   chan *batch
	free    chan []KeyRow
	failed  atomic.Pointer[error]
	written sync.WaitGroup
	working sync.WaitGroup
}

// member is one goroutine of a crew.
type member struct {
	b    *Builder
	work chan *batch
	rows []KeyRow // of the chunk at hand
}

// batch is one chunk on its way.
type batch struct {
	chunk *rdb.Chunk
	stamp uint32
	done  func()
	rows  []KeyRow
	read  chan struct{} // closed when rows are complete
}

// maxMembers is as many as keep pace with any walk; more would only take memory.
const maxMembers = 4

// NewCrew starts so many members, 0 for one per processor, who share the memory of b:
// nothing else may be added to b, and it is complete once Close has returned. Options.Keys
// is called by one goroutine, Options.Ours by several.
func NewCrew(b *Builder, members int) *Crew {
	if members <= 0 {
		members = min(runtime.GOMAXPROCS(0), maxMembers)
	}
	c := &Crew{lead: b, keys: b.o.Keys, order: make(chan *batch, members), free: make(chan []KeyRow, 2*members)}
	o := b.o
	o.Memory /= members
	for range members {
		m := &member{work: make(chan *batch, 1)}
		own := o
		own.Keys = nil
		if c.keys != nil {
			own.Keys = m.keep
		}
		m.b = NewBuilder(b.schema, own)
		c.members = append(c.members, m)
		c.working.Go(func() { c.work(m) })
	}
	c.written.Go(c.write)
	return c
}

// Add takes the next chunk and calls done when it is no longer needed. It blocks while all
// members are busy. An error is the first one of any earlier chunk; done is called all the
// same.
func (c *Crew) Add(chunk *rdb.Chunk, done func()) error {
	if err := c.err(); err != nil {
		done()
		return err
	}
	m := c.members[c.n%len(c.members)]
	if len(chunk.Records) > 0 && !chunk.Records[0].Part.Starts() {
		m = c.last // who has read the value's beginning
	}
	t := &batch{chunk: chunk, stamp: uint32(c.n), done: done, read: make(chan struct{})}
	c.n++
	c.last = m
	c.order <- t
	m.work <- t
	return nil
}

// work reads the chunks of one member.
func (c *Crew) work(m *member) {
	for t := range m.work {
		if c.err() == nil {
			c.fail(c.read(m, t))
		}
		close(t.read)
	}
	m.b.sorter.Finish()
}

func (c *Crew) read(m *member, t *batch) error {
	m.rows = nil
	if c.keys != nil {
		select {
		case m.rows = <-c.free:
		default:
		}
	}
	m.b.stamp(t.stamp)
	records := t.chunk.Records
	for i := range records {
		if err := m.b.Add(&records[i], t.chunk.Index); err != nil {
			return err
		}
	}
	t.rows = m.rows
	return nil
}

func (m *member) keep(row *KeyRow) error {
	m.rows = append(m.rows, *row)
	return nil
}

// write hands on the rows of keys, chunk by chunk.
func (c *Crew) write() {
	for t := range c.order {
		<-t.read
		for i := range t.rows {
			if c.err() != nil {
				break
			}
			c.fail(c.keys(&t.rows[i]))
		}
		t.done()
		select {
		case c.free <- t.rows[:0]:
		default:
		}
	}
}

func (c *Crew) fail(err error) {
	if err == nil {
		return
	}
	first := err // only this one leaves the stack
	c.failed.CompareAndSwap(nil, &first)
}

func (c *Crew) err() error {
	if e := c.failed.Load(); e != nil {
		return *e
	}
	return nil
}

// Close waits until all chunks were read and gives what was found to the crew's Builder. It
// returns the first error of any chunk.
func (c *Crew) Close() error {
	for _, m := range c.members {
		close(m.work)
	}
	close(c.order)
	c.working.Wait()
	c.written.Wait()
	for _, m := range c.members {
		c.lead.join(m.b)
	}
	c.lead.sortWorkers()
	return c.err()
}

// stamp says which chunk the records come from that are added next.
func (b *Builder) stamp(n uint32) {
	b.chunk = n
	b.sorter.Stamp(n)
}

// join takes over what another Builder of the same dump has found.
func (b *Builder) join(o *Builder) {
	b.sorter.Join(o.sorter)
	b.counts.add(&o.counts)
	for kind, n := range o.kinds {
		b.kinds[kind] += n
	}
	maps.Copy(b.queues, o.queues)
	maps.Copy(b.ambiguous, o.ambiguous)
	maps.Copy(b.wip, o.wip)
	b.similar = append(b.similar, o.similar...)
	b.watermark = max(b.watermark, o.watermark)
	b.workers = append(b.workers, o.workers...)
	b.lists = append(b.lists, o.lists...)
	b.cur.pending = b.cur.pending || o.cur.pending
}

// sortWorkers puts those that several Builders have seen into the order of the keys.
func (b *Builder) sortWorkers() {
	slices.SortStableFunc(b.workers, func(x, y seenWorker) int { return cmp.Compare(x.chunk, y.chunk) })
	b.workers = b.workers[:min(len(b.workers), maxWorkers)]
}
