// Package index turns one pass over a keyspace into two tables: a row per key, in the
// order seen, and a row per job, sorted by database and id, with every place the id
// stands in. The same builder reads a dump and a live server, so both sides of a
// comparison went through the same code.
//
// What belongs to one job lies scattered over a dump: its hash here, its place in a
// list there. Each find is a fragment, filed under (database, id) in an external sort;
// merging the fragments gives the rows. Memory does not grow with the number of keys.
package index

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"rqvault/internal/extsort"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// Bounds on one row, so that a hostile dump cannot make one of unlimited size.
const (
	maxID      = 4096 // bytes of a job id
	maxPlaces  = 1024 // places kept of one id
	maxWorkers = 10000
	headBytes  = 1024 // bytes of a payload kept for naming its function
)

// Options tune a Builder.
type Options struct {
	TempDir string // where the sort spills; "" is the system's
	Memory  int    // bytes the sort holds; 0 means 32 MiB
	// Keys is called for each key, in order; it may be nil. The row is valid during the call,
	// and carries its name in Raw alone.
	Keys   func(*KeyRow) error
	Before int64 // Watermark looks for instants before this one, Unix microseconds
	// Ours reports whether a restore put the job there, so that it is no evidence of how
	// far the data itself reaches; may be nil.
	Ours func(db int, id string) bool
}

// Builder takes records and gives rows. It is used by one goroutine.
type Builder struct {
	schema    job.Schema
	payload   job.Field // that makes a hash a job
	o         Options
	sorter    *extsort.Sorter
	counts    Counts            // Kinds, Status and Queues are made when asked for
	jobs      map[tally]int64   // jobs by queue and status, once rows were merged
	queues    map[string]bool   // registered lists, by database and name
	ambiguous map[string][]byte // names of lists with two readings, by database, kind and queue
	wip       map[string]bool   // registry members that could be "job:execution"; true: a job of the whole name exists
	similar   []uint64          // hashes of job ids that look like "job:execution"
	watermark int64
	worker    job.Worker // being read
	workers   []seenWorker
	lists     []ListAt
	chunk     uint32 // that is read, where there are chunks
	cur       current
	names     job.Names
	streams   rdb.StreamReader
	result    job.Row // scratch
	kinds     [keyspace.Stream + 1]int64
	row       KeyRow
	key, frag []byte

	// What reads elements and fields, made once so that nothing is allocated per key.
	wants    func(field []byte) bool
	field    func(field, value []byte) error
	place    func(e rdb.Element) error
	link     func(e rdb.Element) error
	ofWorker func(field, value []byte) error
}

// seenWorker is a worker and the chunk that its hash was in.
type seenWorker struct {
	job.Worker
	chunk uint32
}

// current is the key being read, across its parts.
type current struct {
	key     job.Key
	db      int
	kind    keyspace.Kind
	digest  xxhash.Digest
	row     job.Row
	head    []byte // first bytes of the payload
	pos     int64
	offset  int64
	length  int64
	frame   int
	pending bool
	queue   string    // of the list or registry
	field   job.Field // of the hash
	foreign bool      // the hash has fields that the library does not write
	inside  bool      // an element that came in cuts has not ended yet
}

// NewBuilder returns a Builder. Close it.
func NewBuilder(schema job.Schema, o Options) *Builder {
	if o.Memory == 0 {
		o.Memory = 32 << 20
	}
	b := &Builder{
		schema: schema, payload: schema.Field([]byte(schema.PayloadField())), o: o, sorter: extsort.New(o.TempDir, o.Memory),
		queues: map[string]bool{}, ambiguous: map[string][]byte{}, wip: map[string]bool{},
		counts: Counts{DBs: map[int]int64{}},
	}
	b.wants, b.field, b.place, b.link = b.wantsField, b.addField, b.addPlace, b.addLink
	b.ofWorker = func(field, value []byte) error {
		b.schema.FillWorker(&b.worker, field, value)
		return nil
	}
	return b
}

// Add takes the next record, or the next part of one, found in that frame of the dump.
func (b *Builder) Add(rec *keyspace.Record, frame int) error {
	c := &b.cur
	if rec.Part.Starts() {
		b.start(rec, frame)
	} else if !c.pending {
		return errors.New("index: a part without its beginning")
	}
	_, _ = c.digest.Write(rec.Raw)
	c.length += int64(len(rec.Raw))
	switch {
	case rec.Opaque && !c.inside && c.key.Role == job.Hash:
		b.oversized(rec)
	case c.key.Role != job.Foreign && !rec.Opaque:
		if err := b.read(rec); err != nil {
			return err
		}
	}
	c.inside = rec.Opaque
	c.pending = !rec.Part.Ends()
	if c.pending {
		return nil
	}
	return b.finish(rec)
}

func (b *Builder) start(rec *keyspace.Record, frame int) {
	c, name := &b.cur, rec.Key
	if rec.Part == keyspace.First {
		name = slices.Clone(name) // its memory may be gone when the value's last part comes
	}
	c.key, c.kind, c.db = b.schema.Classify(name, rec.Kind), rec.Kind, rec.DB
	if c.key.Role == job.List && c.key.Place != job.InQueue {
		b.ambiguous[ambiguity(rec.DB, c.key.Place, string(c.key.Queue))] = slices.Clone(rec.Key)
	}
	c.digest.Reset()
	_, _ = c.digest.Write([]byte{rec.Type})
	if r := c.key.Role; r == job.List || r == job.Registry || r == job.Members {
		c.queue = string(c.key.Queue)
	}
	c.pos, c.length, c.offset, c.frame, c.inside = 0, 0, rec.Offset, frame, false
	if c.key.Role == job.WorkerHash {
		b.worker = job.Worker{DB: int32(rec.DB), Name: string(c.key.Queue)}
	}
	if c.key.Role == job.Hash {
		c.row = job.Row{ExpireAt: rec.ExpireAt, Parents: c.row.Parents[:0]}
		c.head, c.foreign = c.head[:0], false
	}
}

// Digest is what the tables say of a whole value: xxHash64 of type byte and raw bytes, its
// bits as int64.
func Digest(typ byte, raw []byte) int64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write([]byte{typ})
	_, _ = d.Write(raw)
	return int64(d.Sum64())
}

func ambiguity(db int, kind job.PlaceKind, queue string) string {
	return fmt.Sprintf("%d/%s/%s", db, kind, queue)
}

func inDB(db int, name string) string { return fmt.Sprintf("%d/%s", db, name) }

// read looks at the elements of one record or part.
func (b *Builder) read(rec *keyspace.Record) error {
	switch b.cur.key.Role {
	case job.Hash:
		return rdb.HashFields(rec, b.wants, b.field)
	case job.WorkerHash:
		return rdb.HashFields(rec, nil, b.ofWorker)
	case job.List, job.Registry, job.Members:
		return rdb.Elements(rec, b.place)
	case job.QueueList:
		return rdb.Elements(rec, func(e rdb.Element) error {
			b.queues[inDB(rec.DB, string(e.Member))] = true
			return nil
		})
	case job.Owned:
		switch {
		case b.cur.key.Part == job.DependenciesPart || b.cur.key.Part == job.DependentsPart:
			return rdb.Elements(rec, b.link)
		case b.cur.key.Part == job.ResultsPart && rec.Part == keyspace.Whole:
			return b.readResult(rec)
		}
	}
	return nil
}

// addLink files what a member of a set of dependencies or dependents says under the
// child: a job has few parents, but may have any number of children.
func (b *Builder) addLink(e rdb.Element) error {
	child, parent, listed := b.cur.key.ID, e.Member, false
	if b.cur.key.Part == job.DependentsPart {
		child, parent, listed = e.Member, child, true
	}
	if len(child) > maxID || len(parent) > maxID {
		b.counts.Oversized++
		return nil
	}
	return b.file(b.cur.db, child, job.AppendLink(b.frag[:0], parent, listed))
}

func (b *Builder) wantsField(name []byte) bool {
	c := &b.cur
	c.field = b.schema.Field(name)
	c.foreign = c.foreign || c.field == job.ForeignField
	return c.field >= job.FirstField
}

// addField takes the field that wantsField has just been asked about.
func (b *Builder) addField(name, value []byte) error {
	c := &b.cur
	if c.field == b.payload {
		c.head = append(c.head[:0], value[:min(len(value), headBytes)]...)
	}
	b.schema.FillField(&c.row, &b.names, c.field, name, value)
	return nil
}

// oversized looks at the beginning of a field too large to be read whole. A job's payload
// may be that, and only its presence and its first bytes are asked for.
func (b *Builder) oversized(rec *keyspace.Record) {
	field, head, ok := rdb.OversizedField(rec)
	if !ok || !b.schema.Wants(field) {
		return
	}
	head = head[:min(len(head), headBytes)]
	if string(field) == b.schema.PayloadField() {
		b.cur.head = append(b.cur.head[:0], head...)
	}
	b.schema.Fill(&b.cur.row, &b.names, field, head)
}

func (b *Builder) readResult(rec *keyspace.Record) error {
	tail, err := b.streams.Tail(rec)
	if err != nil || len(tail.Entries) == 0 {
		return err
	}
	newest, row := tail.Entries[len(tail.Entries)-1], &b.result
	row.ResultAt, row.ResultType = 0, 0
	for _, f := range newest.Fields {
		b.schema.FillResult(row, int64(newest.ID.Ms), f.Field, f.Value)
	}
	b.note(rec.DB, b.cur.key.ID, row.ResultAt*1000)
	return b.file(rec.DB, b.cur.key.ID, job.AppendResult(b.frag[:0], row))
}

func (b *Builder) addPlace(e rdb.Element) error {
	c := &b.cur
	p := job.Place{Kind: c.key.Place, Queue: c.queue, Score: e.Score, Position: c.pos}
	if !p.Kind.Ordered() {
		p.Position = 0
	}
	c.pos++
	id, alt := b.schema.JobOf(p.Kind, e.Member)
	if len(id) > maxID {
		b.counts.Oversized++
		return nil
	}
	if alt != nil {
		p.Member = string(e.Member)
		full := inDB(c.db, p.Member)
		if _, seen := b.wip[full]; !seen {
			b.wip[full] = false // settled once all hashes were seen
		}
		if err := b.file(c.db, alt, job.AppendPlace(b.frag[:0], p, true)); err != nil {
			return err
		}
	}
	return b.file(c.db, id, job.AppendPlace(b.frag[:0], p, false))
}

// file adds one fragment of a job to the sort.
func (b *Builder) file(db int, id, fragment []byte) error {
	b.key = append(appendDB(b.key[:0], db), id...)
	b.frag = fragment
	return b.sorter.Add(b.key, fragment)
}

// finish is reached when a key's value has been seen to its end.
func (b *Builder) finish(rec *keyspace.Record) error {
	c := &b.cur
	digest := int64(c.digest.Sum64())
	b.counts.Keys++
	b.kinds[rec.Kind]++
	b.counts.DBs[rec.DB]++
	switch {
	case c.key.Role == job.Unknown:
		b.counts.Unknown++
	case c.key.Role == job.WorkerHash && len(b.workers) < maxWorkers:
		b.workers = append(b.workers, seenWorker{b.worker, b.chunk})
	case c.key.Role == job.List && c.key.Place == job.InQueue:
		b.noteList(rec.Type)
	}
	if err := b.finishJob(rec, digest); err != nil {
		return err
	}
	if b.o.Keys == nil {
		return nil
	}
	b.row = KeyRow{DB: int32(rec.DB), Raw: rec.Key, Kind: rec.Kind.String(), Type: int32(rec.Type),
		Role: roleName(c.key), ExpireAt: rec.ExpireAt, Offset: c.offset, Length: c.length, Frame: int32(c.frame), Digest: digest}
	return b.o.Keys(&b.row)
}

func (b *Builder) finishJob(rec *keyspace.Record, digest int64) error {
	c := &b.cur
	if c.key.Role != job.Hash && c.key.Role != job.Owned {
		return nil
	}
	if len(c.key.ID) > maxID {
		b.counts.Oversized++
		return nil
	}
	if c.key.Role == job.Hash && !c.row.Exists && c.foreign {
		return nil // an application's own hash that happens to be called like a job's
	}
	part := job.Part{Name: c.key.Part, Type: int32(rec.Type), ExpireAt: rec.ExpireAt, Offset: c.offset,
		Length: c.length, Frame: int32(c.frame), Digest: digest}
	b.frag = job.AppendPart(b.frag[:0], part)
	if c.key.Role != job.Hash {
		return b.file(rec.DB, c.key.ID, b.frag)
	}
	if c.row.Func == "" && len(c.head) > 0 {
		b.schema.FillFunc(&c.row, c.head)
	}
	if _, alt := b.schema.JobOf(job.InWip, c.key.ID); alt != nil {
		b.similar = append(b.similar, xxhash.Sum64String(inDB(rec.DB, string(c.key.ID))))
	}
	if !b.carried(&c.row) {
		b.note(rec.DB, c.key.ID, c.row.CreatedAt, c.row.EnqueuedAt, c.row.StartedAt, c.row.EndedAt, c.row.HeartbeatAt)
	}
	return b.file(rec.DB, c.key.ID, job.AppendHash(b.frag, &c.row))
}

// Workers returns the workers seen, in the order of the keys.
func (b *Builder) Workers() []job.Worker {
	var all []job.Worker
	for _, w := range b.workers {
		all = append(all, w.Worker)
	}
	return all
}

// Registered returns the names in the set of queues, by database.
func (b *Builder) Registered() map[string][]string {
	out := map[string][]string{}
	for _, k := range slices.Sorted(maps.Keys(b.queues)) {
		db, list, _ := strings.Cut(k, "/")
		out[db] = append(out[db], list)
	}
	return out
}

// Close frees the sort's files.
func (b *Builder) Close() error { return b.sorter.Close() }
