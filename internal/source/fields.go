package source

import (
	"context"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/live"
)

// scan reads the queue library's keys of all databases. Of a job's hash it asks only for
// the fields that tell the job's state: payloads stay where they are, and the server is
// spared packing and summing them. Every other key, and every hash that is not plainly a
// job's, comes whole.
func (im *image) scan(ctx context.Context, o ImageOptions) error {
	dbs, err := o.Server.Databases(ctx)
	if err != nil {
		return err
	}
	for _, db := range dbs {
		s := stateReader{im: im, ctx: ctx, db: db, names: o.Schema.FieldsToJudge()}
		if o.Versions {
			s.names = o.Schema.FieldsToCompare()
		}
		for _, n := range s.names {
			s.fields = append(s.fields, []byte(n))
		}
		s.whole = reader{s: o.Server, schema: o.Schema, db: db, seen: map[[2]uint64]struct{}{}, yield: s.add}
		if err := s.run(o); err != nil {
			return err
		}
	}
	return nil
}

// wholeBatch is how many names of keys are gathered before they are read.
const wholeBatch = 512

// stateReader reads one database's jobs.
type stateReader struct {
	im     *image
	ctx    context.Context
	db     int
	names  []string
	fields [][]byte // the same
	whole  reader   // of what must be read whole
	others [][]byte // names of that
	err    error
}

func (s *stateReader) run(o ImageOptions) error {
	walk := live.WalkOptions{DB: s.db, Match: o.Schema.Prefix() + "*", Fields: s.names, Measure: o.Schema.PayloadField(),
		Reads: func(key []byte) bool { return plainlyJob(o.Schema, key) }}
	for k, err := range o.Server.Walk(s.ctx, walk) {
		if err == nil {
			err = s.take(&k)
		}
		if err != nil {
			return err
		}
	}
	if err := s.readOthers(); err != nil {
		return err
	}
	if !s.whole.addLate(s.ctx) || !s.whole.readLate(s.ctx) {
		return s.err
	}
	return nil
}

// take hands a job's fields to the index, or keeps another key's name for later.
func (s *stateReader) take(k *live.Walked) error {
	if k.Values != nil {
		s.im.count(1)
		return s.im.b.AddFields(index.JobFields{DB: s.db, Key: k.Key, Names: s.fields, Values: k.Values, ExpireAt: k.ExpireAt})
	}
	what := meaning(s.whole.schema, k.Key)
	// A job's keys may be met twice: the index takes either sight of them.
	if what != ofJob && s.whole.again(k.Key) {
		return nil
	}
	name := append([]byte(nil), k.Key...)
	if what == ofIDs {
		s.whole.late = append(s.whole.late, name)
		return nil
	}
	if s.others = append(s.others, name); len(s.others) < wholeBatch {
		return nil
	}
	return s.readOthers()
}

func (s *stateReader) readOthers() error {
	names := s.others
	s.others = nil
	for d, err := range s.whole.s.Dump(s.ctx, s.db, names) {
		if !s.whole.one(d, err, false) {
			return s.err
		}
	}
	return nil
}

// add takes a key that was read whole.
func (s *stateReader) add(rec *keyspace.Record, err error) bool {
	if err == nil {
		s.im.count(1)
		err = s.im.b.Add(rec, 0)
	}
	s.err = err
	return err == nil
}

// plainlyJob reports whether a name can be that of a job's hash and of nothing else.
func plainlyJob(schema job.Schema, name []byte) bool {
	if schema.Classify(name, keyspace.Hash).Role != job.Hash {
		return false
	}
	for _, kind := range []keyspace.Kind{keyspace.Set, keyspace.ZSet, keyspace.List, keyspace.Stream} {
		if r := schema.Classify(name, kind).Role; r != job.Unknown && r != job.Volatile {
			return false
		}
	}
	return true
}

// What a key is by its name, if it has the right type.
const (
	ofOthers = iota
	ofJob    // of one job
	ofIDs    // a list of ids
)

func meaning(schema job.Schema, name []byte) int {
	what := ofOthers
	for _, kind := range []keyspace.Kind{keyspace.Hash, keyspace.Set, keyspace.ZSet, keyspace.List, keyspace.Stream} {
		switch r := schema.Classify(name, kind).Role; {
		case listsIDs(r):
			return ofIDs
		case r == job.Hash || r == job.Owned:
			what = ofJob
		}
	}
	return what
}
