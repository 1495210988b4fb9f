package restore

import (
	"context"
	"errors"
	"fmt"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// large is a value that comes in parts. Where its elements can be added one after the
// other it is never held whole.
type large struct {
	rec     keyspace.Record // the key; Raw gathers what is not written yet
	skip    bool            // it does not go into the target, or no more
	mask    job.PartName
	pieces  bool // its elements are added as they come
	written bool // some are in the target
}

func newLarge(rec *keyspace.Record, takes bool, mask job.PartName) *large {
	l := &large{rec: own(rec), skip: !takes, mask: mask}
	l.rec.Raw = nil
	switch rec.Kind {
	case keyspace.List, keyspace.Set, keyspace.ZSet, keyspace.Hash:
		// Types from 22 on may have fields that expire, which elements do not tell.
		l.pieces = mask == "" && rec.Type <= 20 && len(rec.Meta) == 0
	}
	return l
}

// part takes the next part of a large value.
func (f *filler) part(ctx context.Context, rec *keyspace.Record) error {
	l := f.large
	if l.skip {
		return nil
	}
	ends := rec.Part.Ends()
	if len(l.rec.Raw)+len(rec.Raw) > maxGathered {
		return f.giveUp(ctx, fmt.Sprintf("a value, or an element of it, of more than %d bytes", maxGathered))
	}
	if l.pieces && !rec.Opaque && len(l.rec.Raw) > 0 {
		if err := f.piece(ctx, false); err != nil || l.skip { // cuts through one element, together whole again
			return err
		}
	}
	l.rec.Raw = append(l.rec.Raw, rec.Raw...)
	switch {
	case ends && !l.written:
		l.rec.Part, l.rec.Opaque = keyspace.Whole, false
		return f.whole(ctx, &l.rec, l.mask)
	case l.pieces && (!rec.Opaque || ends):
		return f.piece(ctx, ends)
	}
	return nil
}

// piece writes the elements gathered.
func (f *filler) piece(ctx context.Context, last bool) error {
	l := f.large
	rec := l.rec
	rec.Part = keyspace.Middle
	if !l.written {
		rec.Part = keyspace.First
	}
	l.rec.Raw, l.written = nil, true
	if err := f.flush(ctx); err != nil { // what fails from here on is about this key
		return err
	}
	failed := f.result.Counts.Failed
	p := &pieces{f: f, ctx: ctx, rec: &rec}
	err := rdb.Elements(&rec, p.element)
	if err == nil {
		err = p.flush()
	}
	if errors.Is(err, errRefused) {
		err = nil // it is noted, and what was written of the key is removed
	}
	if err == nil && last && rec.ExpireAt != 0 && f.result.Counts.Failed == failed {
		err = f.add(ctx, filling{rec: rec, commands: [][]any{{"PEXPIREAT", rec.Key, rec.ExpireAt}}})
		if err == nil {
			err = f.flush(ctx)
		}
	}
	l.skip = f.result.Counts.Failed > failed
	return err
}

// giveUp leaves a large value out after all.
func (f *filler) giveUp(ctx context.Context, reason string) error {
	l := f.large
	l.skip, l.rec.Raw = true, nil
	f.fail(&l.rec, reason)
	if !l.written {
		return nil
	}
	if err := f.flush(ctx); err != nil {
		return err
	}
	if _, err := f.o.Target.Pipeline(ctx, l.rec.DB, [][]any{{"DEL", l.rec.Key}}); err != nil {
		return fmt.Errorf("remove key %q, which is too large: %w", l.rec.Key, err)
	}
	return nil
}

// errRefused ends the writing of one key.
var errRefused = errors.New("the target refused a piece of the value")

// pieces sends elements, some at a time.
type pieces struct {
	f     *filler
	ctx   context.Context
	rec   *keyspace.Record
	args  []any
	bytes int
}

func (p *pieces) element(e rdb.Element) error {
	member := string(e.Member) // its bytes are valid during this call only
	p.bytes += len(e.Member) + len(e.Value)
	switch p.rec.Kind {
	case keyspace.ZSet:
		p.args = append(p.args, scoreText(e.Score), member)
	case keyspace.Hash:
		p.args = append(p.args, member, string(e.Value))
	default:
		p.args = append(p.args, member)
	}
	if len(p.args) < membersPerStep && p.bytes < batchBytes {
		return nil
	}
	return p.flush()
}

func (p *pieces) flush() error {
	if len(p.args) == 0 {
		return nil
	}
	word := map[keyspace.Kind]string{keyspace.List: "RPUSH", keyspace.Set: "SADD", keyspace.ZSet: "ZADD", keyspace.Hash: "HSET"}[p.rec.Kind]
	command := append([]any{word, p.rec.Key}, p.args...)
	p.args, p.bytes = nil, 0
	failed := p.f.result.Counts.Failed
	if err := p.f.add(p.ctx, filling{rec: *p.rec, commands: [][]any{command}}); err != nil {
		return err
	}
	if err := p.f.flush(p.ctx); err != nil {
		return err
	}
	if p.f.result.Counts.Failed > failed {
		return errRefused
	}
	return nil
}
