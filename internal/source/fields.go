package source

import (
	"context"
	"errors"
	"sync"

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
	defer o.Server.WatchCrowd(ctx)()
	for _, db := range dbs {
		s := stateReader{im: im, schema: o.Schema, db: db, names: o.Schema.FieldsToJudge()}
		if o.Versions {
			s.names, s.first = o.Schema.FieldsToCompare(), o.Schema.FieldsAtFirst()
		}
		for _, n := range s.names {
			s.fields = append(s.fields, []byte(n))
		}
		s.whole = reader{s: o.Server, schema: o.Schema, db: db, seen: map[[2]uint64]struct{}{}, yield: s.add}
		if err := s.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wholeBatch is how many names of keys are gathered before they are read.
const wholeBatch = 512

// stateReader reads one database's jobs.
type stateReader struct {
	schema job.Schema
	db     int
	names  []string
	fields [][]byte // the same
	first  int      // of them that are asked for at first; 0: all
	whole  reader   // of what must be read whole
	others [][]byte // names of that
	// reading counts the batches of others that are not read yet.
	reading sync.WaitGroup
	mu      sync.Mutex
	im      *image
	err     error // of adding to it
}

// run walks over the keys, and reads beside that what must be read whole, so that the
// server always has something to do. Where others keep it busy these take turns.
func (s *stateReader) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches, failed := make(chan [][]byte, 2), make(chan error, 1)
	go func() {
		var err error
		for names := range batches {
			if err == nil {
				if err = s.readWhole(ctx, names); err != nil {
					cancel()
				}
			}
			s.reading.Done()
		}
		failed <- err
	}()
	err := s.walk(ctx, batches)
	if err == nil && len(s.others) > 0 {
		s.reading.Add(1)
		batches <- s.others
	}
	if close(batches); err != nil {
		cancel()
	}
	if other := <-failed; other != nil && !(err != nil && errors.Is(other, context.Canceled)) {
		return other // the walk only ended with it
	}
	if err != nil {
		return err
	}
	if !s.whole.addLate(ctx) || !s.whole.readLate(ctx) {
		return s.err
	}
	return nil
}

func (s *stateReader) walk(ctx context.Context, batches chan<- [][]byte) error {
	o := live.WalkOptions{DB: s.db, Match: s.schema.Prefix() + "*", Fields: s.names, Measure: s.schema.PayloadField(), First: s.first, More: s.more,
		Reads: func(key []byte) bool { return plainlyJob(s.schema, key) }}
	for k, err := range s.whole.s.Walk(ctx, o) {
		if err == nil {
			err = s.take(&k)
		}
		if err != nil {
			return err
		}
		if len(s.others) == wholeBatch {
			s.reading.Add(1)
			batches <- s.others
			s.others = nil
			if s.whole.s.Crowded() { // one thing at a time
				s.reading.Wait()
			}
		}
	}
	return nil
}

// more says what has to be asked of a job besides its first fields.
func (s *stateReader) more(first [][]byte) live.More {
	switch enough, ends := s.schema.Glance(first); {
	case !enough:
		return live.Everything
	case ends:
		return live.Expiry
	}
	return live.Nothing
}

// take hands a job's fields to the index, or keeps another key's name for later.
func (s *stateReader) take(k *live.Walked) error {
	if k.Values != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.im.count(1)
		return s.im.b.AddFields(index.JobFields{DB: s.db, Key: k.Key, Names: s.fields[:len(k.Values)], Values: k.Values, ExpireAt: k.ExpireAt})
	}
	what := meaning(s.schema, k.Key)
	// A job's keys may be met twice: the index takes either sight of them.
	if what != ofJob && s.whole.again(k.Key) {
		return nil
	}
	name := append([]byte(nil), k.Key...)
	if what == ofIDs {
		s.whole.late = append(s.whole.late, name)
	} else {
		s.others = append(s.others, name)
	}
	return nil
}

func (s *stateReader) readWhole(ctx context.Context, names [][]byte) error {
	for d, err := range s.whole.s.Dump(ctx, s.db, names) {
		if !s.whole.one(d, err, false) {
			return s.err
		}
	}
	return nil
}

// add takes a key that was read whole.
func (s *stateReader) add(rec *keyspace.Record, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
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
