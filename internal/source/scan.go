package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/cespare/xxhash/v2"

	"rqvault/backup"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/internal/rdb"
)

// Records yields the live keys that match, each once, as records; "" matches all. It is
// no point in time. Within a database, everything that lists ids comes after the jobs
// themselves: an id that is then in no list has really left it, while the other way
// round every job enqueued during the scan would seem to be in none.
//
// A record is valid until the next step. A key the server cannot hand out is passed to
// skipped; with a nil skipped it ends the sequence as an error.
func Records(ctx context.Context, s *live.Server, schema job.Schema, match string, skipped func(error)) iter.Seq2[*keyspace.Record, error] {
	return func(yield func(*keyspace.Record, error) bool) {
		dbs, err := s.Databases(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, db := range dbs {
			r := reader{s: s, schema: schema, db: db, seen: map[[2]uint64]struct{}{}, skipped: skipped, yield: yield}
			if !r.run(ctx, match) {
				return
			}
		}
	}
}

type reader struct {
	s       *live.Server
	schema  job.Schema
	db      int
	seen    map[[2]uint64]struct{} // 128 bits of each key's name: SCAN repeats keys, a dump must not
	late    [][]byte
	skipped func(error)
	yield   func(*keyspace.Record, error) bool
}

func (r *reader) run(ctx context.Context, match string) bool {
	for d, err := range r.s.Scan(ctx, live.ScanOptions{DB: r.db, Match: match}) {
		if !r.one(d, err, true) {
			return false
		}
	}
	if match == "" && !r.addLate(ctx) {
		return false
	}
	return r.readLate(ctx)
}

// one hands on a key, or keeps its name for later. It reports whether to go on.
func (r *reader) one(d live.Dumped, err error, defers bool) bool {
	var keyErr *live.KeyError
	if errors.As(err, &keyErr) && r.skipped != nil {
		r.skipped(err)
		return true
	}
	if err != nil {
		r.yield(nil, err)
		return false
	}
	rec, err := record(d)
	if err != nil {
		r.yield(nil, err)
		return false
	}
	if defers {
		if r.again(d.Key) {
			return true
		}
		if listsIDs(r.schema.Classify(d.Key, rec.Kind).Role) {
			r.late = append(r.late, d.Key)
			return true
		}
	}
	return r.yield(rec, nil)
}

// again reports whether a name has been met before, and notes it.
func (r *reader) again(key []byte) bool {
	id := [2]uint64{xxhash.Sum64(key), sum2(key)}
	_, dup := r.seen[id]
	r.seen[id] = struct{}{}
	return dup
}

// sum2 is a second digest, independent enough of the first.
func sum2(key []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(0x9e3779b97f4a7c15)
	_, _ = d.Write(key)
	return d.Sum64()
}

func listsIDs(r job.Role) bool {
	return r == job.List || r == job.Registry || r == job.Members || r == job.QueueList
}

func record(d live.Dumped) (*keyspace.Record, error) {
	typ, version, raw, err := rdb.ParsePayload(d.Payload)
	if err != nil {
		return nil, fmt.Errorf("the server's DUMP of a key in db %d: %w", d.DB, err)
	}
	format := rdb.FormatOfPayload(version)
	kind, _ := rdb.KindOf(typ, format)
	return &keyspace.Record{DB: d.DB, Key: d.Key, Type: typ, Kind: kind, Format: format, ExpireAt: d.ExpireAt, Raw: raw, Offset: -1}, nil
}

// scan writes the live keys as an RDB that any redis-server loads.
func (r *Redis) scan(ctx context.Context) (*backup.Dump, error) {
	now, err := r.o.Server.Facts(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	pr, pw := io.Pipe()
	d := &backup.Dump{Body: &pipeBody{pr, cancel}, Size: -1, At: now.ServerTime}
	d.Warnings = []string{"taken key by key while Redis went on: jobs that moved meanwhile may be seen in two places or in none"}
	var left []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		w := bufio.NewWriterSize(pw, 256<<10)
		err := r.writeScan(ctx, w, func(skipped error) { left = append(left, "left out: "+skipped.Error()) })
		if err == nil {
			err = w.Flush()
		}
		_ = pw.CloseWithError(err)
	}()
	d.After = func(context.Context) (lineage.Facts, []string) {
		<-done
		return lineage.Facts{}, left
	}
	return d, nil
}

type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close ends the scan if it still runs.
func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

func (r *Redis) writeScan(ctx context.Context, w io.Writer, skipped func(error)) error {
	var out *rdb.Writer
	start := func(f keyspace.Format) error {
		out = rdb.NewWriter(w, f)
		return out.Aux("rqvault-source", "scan")
	}
	db := -1
	for rec, err := range Records(ctx, r.o.Server, r.o.Schema, "", skipped) {
		if err != nil {
			return err
		}
		if out == nil {
			if err := start(rec.Format); err != nil {
				return err
			}
		}
		if rec.DB != db {
			if err := out.Select(rec.DB); err != nil {
				return err
			}
			db = rec.DB
		}
		if err := out.Record(rec); err != nil {
			return err
		}
	}
	if out == nil { // an empty server
		if err := start(keyspace.Format{Vendor: keyspace.Redis, Version: 9}); err != nil {
			return err
		}
	}
	return out.Close()
}
