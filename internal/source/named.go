package source

import (
	"context"
	"errors"
	"iter"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/live"
)

// Named yields the named keys of one database, in their order, as records; keys that do
// not exist are left out. An error beside a record concerns its key alone; one without
// ends the sequence. A record is valid until the next step.
func Named(ctx context.Context, s *live.Server, db int, names [][]byte) iter.Seq2[*keyspace.Record, error] {
	return func(yield func(*keyspace.Record, error) bool) {
		for d, err := range s.Dump(ctx, db, names) {
			var only *live.KeyError
			if errors.As(err, &only) {
				if !yield(&keyspace.Record{DB: only.DB, Key: only.Key}, only.Err) {
					return
				}
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			rec, err := record(d)
			if err != nil {
				rec = &keyspace.Record{DB: d.DB, Key: d.Key}
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// Workers lists the workers that a live Redis knows.
func Workers(ctx context.Context, s *live.Server, schema job.Schema, tempDir string) ([]job.Worker, error) {
	b := index.NewBuilder(schema, index.Options{TempDir: tempDir})
	defer func() { _ = b.Close() }()
	for rec, err := range Records(ctx, s, schema, schema.WorkersPattern(), nil) {
		if err != nil {
			return nil, err
		}
		if err := b.Add(rec, 0); err != nil {
			return nil, err
		}
	}
	return b.Workers(), nil
}
