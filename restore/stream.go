package restore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// ErrOneByOne: the dump has values that only Into puts into a target.
var ErrOneByOne = errors.New("the dump has values that have to go in one by one")

// StreamOptions say what Stream makes of which dump. All are needed but Sizes and Progress.
type StreamOptions struct {
	Dump   io.Reader // the snapshot's dump
	Size   int64     // of the dump, bytes
	Schema job.Schema
	Now    int64         // by the target's clock, Unix ms: what expired before stays out
	Sizes  map[int]int64 // how many keys each database has, about
	// Progress is told how many bytes of the dump are done; it may be nil.
	Progress func(bytes int64)
}

// Stream writes a dump that has what Into would put into a target, for a server that loads
// dumps: the snapshot without workers, locks and running jobs, and with the flag that makes
// workers wait in each database that has jobs. What is wrong with the snapshot's dump may
// show only at its end, so a target must take all of w or nothing.
//
// ErrOneByOne if there are values over which a server would end itself instead of refusing
// them: Into can do.
func Stream(ctx context.Context, w io.Writer, o StreamOptions) (IntoResult, error) {
	s := &streamer{o: o, suspended: map[int]bool{}, db: -1}
	walker := rdb.NewWalker(o.Dump, rdb.Options{Size: o.Size})
	for {
		c, err := walker.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s.result, fmt.Errorf("walk the dump: %w", err)
		}
		if s.out == nil {
			s.out = rdb.NewWriter(w, walker.Summary().Format)
		}
		for i := range c.Records {
			if err := s.record(&c.Records[i]); err != nil {
				return s.result, err
			}
		}
		if o.Progress != nil {
			o.Progress(c.Offset + int64(len(c.Data)))
		}
		c.Release()
		if ctx.Err() != nil {
			return s.result, context.Cause(ctx)
		}
	}
	s.result.Functions = walker.Summary().Functions
	return s.result, s.out.Close()
}

// streamer is one Stream.
type streamer struct {
	o         StreamOptions
	out       *rdb.Writer
	result    IntoResult
	suspended map[int]bool
	db        int  // of the last record
	skips     bool // the rest of the value that comes in parts
}

// record takes the next key, or the next part of one.
func (s *streamer) record(rec *keyspace.Record) error {
	if !rec.Part.Starts() {
		if s.skips {
			return nil
		}
		return s.out.Record(rec)
	}
	if rec.DB != s.db {
		s.db = rec.DB
		if err := s.out.Resize(rec.DB, s.o.Sizes[rec.DB]); err != nil {
			return err
		}
	}
	k := s.o.Schema.Classify(rec.Key, rec.Kind)
	if s.skips = !s.result.Counts.takes(k, rec.ExpireAt, s.o.Now, false); s.skips {
		return nil
	}
	if rec.Kind == keyspace.Other {
		return ErrOneByOne // a value of a module, which the target may lack
	}
	if k.Role != job.Foreign && !s.suspended[rec.DB] {
		s.suspended[rec.DB] = true
		s.result.Suspended = append(s.result.Suspended, rec.DB)
		flag := keyspace.Record{DB: rec.DB, Key: []byte(s.o.Schema.SuspendKey()), Kind: keyspace.String, Format: rec.Format, Raw: []byte{1, '1'}}
		if err := s.out.Record(&flag); err != nil {
			return err
		}
	}
	err := s.out.Record(rec)
	if errors.Is(err, rdb.ErrUnsupported) {
		err = fmt.Errorf("%w: %w", ErrOneByOne, err)
	}
	return err
}
