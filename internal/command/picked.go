package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/urfave/cli/v2"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/snapshot"
	"rqvault/internal/source"
	"rqvault/verify"
)

// picked reads a snapshot's index of jobs: all of it, from a proven copy, or the rows of
// some jobs alone, of which no more is fetched than can hold them.
type picked struct {
	e      *env
	c      *cli.Context
	cat    *snapshot.Catalog
	m      *snapshot.Manifest
	part   *index.Part // nil until it is asked for
	values *snapshot.Values
	copied io.ReaderAt // nil until it is asked for
	size   int64
	done   func()
}

func (e *env) picked(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest) *picked {
	return &picked{e: e, c: c, cat: cat, m: m, done: func() {}}
}

func (p *picked) close() {
	p.done()
	if p.values != nil {
		_ = p.values.Close()
	}
}

// fetch makes the copy.
func (p *picked) fetch() error {
	if p.copied != nil {
		return nil
	}
	f, n, err := p.cat.Spool(p.c.Context, p.m, snapshot.JobsName, p.c.String("temp-dir"))
	if err != nil {
		return err
	}
	p.copied, p.size, p.done = f, n, func() { _ = f.Close() }
	return nil
}

// all yields every row.
func (p *picked) all() iter.Seq2[*job.Row, error] {
	if err := p.fetch(); err != nil {
		return func(yield func(*job.Row, error) bool) { yield(nil, err) }
	}
	return index.Ahead(index.ReadJobs(p.copied, p.size))
}

// open reads the end of the index, where its parts can be proven.
func (p *picked) open(ctx context.Context) error {
	if p.part != nil {
		return nil
	}
	o, err := p.m.Object(snapshot.JobsName)
	if err != nil {
		return err
	}
	if p.m.Encryption == nil && o.Tail == nil {
		return index.ErrWhole
	}
	parts, err := p.cat.Parts(ctx, p.m, snapshot.JobsName)
	if err != nil {
		return err
	}
	p.part, err = index.OpenPart(func(offset, length int64) ([]byte, error) {
		return parts.Read(ctx, snapshot.Range{Offset: offset, Length: length})
	}, parts.Size(), (*index.Tail)(o.Tail))
	return err
}

// of returns the rows of some jobs, in order.
func (p *picked) of(ctx context.Context, ids []string) ([]*job.Row, error) {
	if p.copied == nil {
		err := p.open(ctx)
		var rows []*job.Row
		if err == nil {
			rows, err = p.part.Jobs(ids)
		}
		if err == nil || !errors.Is(err, index.ErrWhole) {
			return rows, p.about(err)
		}
	}
	var rows []*job.Row
	for r, err := range p.all() {
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, r.ID) {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// about says of which snapshot an error speaks.
func (p *picked) about(err error) error {
	if errors.Is(err, index.ErrDamaged) {
		return fmt.Errorf("%s of %s: %w", snapshot.JobsName, p.m.ID, err)
	}
	return err
}

// few makes a sequence of rows that are at hand.
func few(rows []*job.Row) func() iter.Seq2[*job.Row, error] {
	return func() iter.Seq2[*job.Row, error] {
		return func(yield func(*job.Row, error) bool) {
			for _, r := range rows {
				own := *r // whoever restores a job changes its row
				own.Parts = slices.Clone(r.Parts)
				if !yield(&own, nil) {
					return
				}
			}
		}
	}
}

// members reads a list or set out of the dump. Where nobody but the whole dump tells who
// wrote it, that is verify.ErrWhole.
func (p *picked) members(ctx context.Context, kind keyspace.Kind, typ int32, offset, length int64) ([]string, error) {
	if p.cat.Distrusts() && p.m.Encryption == nil || length > maxMembers {
		return nil, verify.ErrWhole
	}
	format, err := keyspace.ParseFormat(p.m.Dump.Format)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", snapshot.ErrDamaged, err)
	}
	if p.values == nil {
		if p.values, err = p.cat.Values(ctx, p.m); err != nil {
			return nil, err
		}
	}
	raw, err := p.values.Read(ctx, offset, length)
	if err != nil {
		return nil, err
	}
	return source.Members(&keyspace.Record{Type: byte(typ), Kind: kind, Format: format, Raw: raw, Offset: offset})
}

// maxMembers bounds the list or set that is read for some jobs, in bytes as it stands in
// the dump: about 800,000 ids.
const maxMembers = 32 << 20

// children returns the ids in a job's set of dependents.
func (p *picked) children(ctx context.Context, r *job.Row) ([]string, error) {
	part := r.Part(job.DependentsPart)
	return p.members(ctx, keyspace.Set, part.Type, part.Offset, part.Length)
}

// order returns the ids of a queue, head first.
func (p *picked) order(ctx context.Context, db int32, queue string) ([]string, error) {
	err := p.open(ctx)
	var l index.ListAt
	if err == nil {
		l, err = p.part.List(db, queue)
	}
	if errors.Is(err, index.ErrWhole) {
		return nil, verify.ErrWhole
	}
	if err != nil {
		return nil, p.about(err)
	}
	return p.members(ctx, keyspace.List, l.Type, l.Offset, l.Length)
}
