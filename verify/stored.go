package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"reflect"
	"slices"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
	"rqvault/internal/seekable"
	"rqvault/internal/snapshot"
)

// maxProblems bounds how much is said about one snapshot.
const maxProblems = 20

// StoredOptions say what to verify.
type StoredOptions struct {
	Catalog *snapshot.Catalog
	Schema  job.Schema
	TempDir string
	// Progress is told the bytes of the dump walked so far; may be nil.
	Progress func(bytes, keys, jobs int64)
}

// Stored reads every byte of a snapshot back and proves it: each object's SHA-256, each
// frame's checksum, the dump's CRC64, and then everything the manifest and the index
// say of the dump, by walking it again. It returns what is wrong, or an error if it
// could not look.
func Stored(ctx context.Context, m *snapshot.Manifest, o StoredOptions) ([]string, error) {
	v := &storedCheck{o: o, m: m}
	keys, keysSize, err := v.spool(ctx, snapshot.KeysName)
	if err != nil {
		return nil, err
	}
	defer closeFile(keys)
	jobs, jobsSize, err := v.spool(ctx, snapshot.JobsName)
	if err != nil {
		return nil, err
	}
	defer closeFile(jobs)
	v.builder = index.NewBuilder(o.Schema, index.Options{TempDir: o.TempDir, Keys: v.key})
	defer func() { _ = v.builder.Close() }()
	if keys != nil {
		next, stop := iter.Pull2(index.ReadKeys(keys, keysSize))
		v.nextKey = next
		defer stop()
	}
	whole, err := v.dump(ctx)
	if err != nil || !whole {
		return v.problems, err
	}
	v.keysEnd()
	v.jobs(jobs, jobsSize)
	v.parts(jobs, jobsSize)
	v.counts()
	return v.problems, nil
}

type storedCheck struct {
	o        StoredOptions
	m        *snapshot.Manifest
	builder  *index.Builder
	table    *seekable.Table
	nextKey  func() (*index.KeyRow, error, bool)
	keysBad  bool
	jobsSeen int64
	problems []string
}

func closeFile(f *os.File) {
	if f != nil {
		_ = f.Close()
	}
}

func (v *storedCheck) problem(format string, args ...any) {
	if len(v.problems) < maxProblems {
		v.problems = append(v.problems, fmt.Sprintf(format, args...))
	}
}

// isDamage reports whether err is about the bytes rather than about reaching them.
func isDamage(err error) bool {
	return errors.Is(err, snapshot.ErrDamaged) || errors.Is(err, rdb.ErrDamaged) || errors.Is(err, rdb.ErrNotRDB) ||
		errors.Is(err, rdb.ErrUnsupported) || errors.Is(err, index.ErrDamaged) || errors.Is(err, seekable.ErrDamaged)
}

func (v *storedCheck) spool(ctx context.Context, name string) (*os.File, int64, error) {
	f, n, err := v.o.Catalog.Spool(ctx, v.m, name, v.o.TempDir)
	if err != nil && isDamage(err) {
		v.problem("%v", err)
		return nil, 0, nil
	}
	return f, n, err
}

// dump walks the stored dump to its proven end. It reports false where the dump is
// damaged, so that nothing after it can be compared.
func (v *storedCheck) dump(ctx context.Context) (bool, error) {
	r, table, err := v.o.Catalog.OpenDump(ctx, v.m)
	if err == nil {
		v.table = table
		err = v.walk(ctx, r)
		closeErr := r.Close()
		if err == nil {
			err = closeErr
		}
	}
	if err != nil && isDamage(err) {
		v.problem("%v", err)
		v.digest(ctx)
		return false, nil
	}
	return err == nil, err
}

// digest adds what the whole object's SHA-256 says once a frame was found damaged:
// whether the stored bytes changed, or were wrong from the beginning.
func (v *storedCheck) digest(ctx context.Context) {
	r, err := v.o.Catalog.Open(ctx, v.m, snapshot.DumpName)
	if err != nil {
		return
	}
	_, err = io.Copy(io.Discard, r)
	if err == nil {
		v.problem("%s of %s has the SHA-256 it was stored with: it was damaged before it was stored", snapshot.DumpName, v.m.ID)
	}
	_ = r.Close()
}

func (v *storedCheck) walk(ctx context.Context, r io.Reader) error {
	w := rdb.NewWalker(r, rdb.Options{Size: v.m.Dump.Size})
	var keys int64
	for {
		c, err := w.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("walk the dump of %s: %w", v.m.ID, err)
		}
		if err := v.chunk(c); err != nil {
			return err
		}
		keys += int64(len(c.Records))
		if v.o.Progress != nil {
			v.o.Progress(c.Offset+int64(len(c.Data)), keys, v.jobsSeen)
		}
		c.Release()
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	sum := w.Summary()
	d := v.m.Dump
	if sum.Format.String() != d.Format || sum.Checksum.String() != d.Checksum || sum.Size != d.Size || sum.Keys != d.Keys || !maps.Equal(sum.Aux, d.Aux) {
		v.problem("the dump is not the one the manifest describes: %s of %d bytes with %d keys, the manifest says %s of %d bytes with %d keys",
			sum.Format, sum.Size, sum.Keys, d.Format, d.Size, d.Keys)
	}
	return nil
}

func (v *storedCheck) chunk(c *rdb.Chunk) error {
	for i := range c.Records {
		rec := &c.Records[i]
		frame := 0
		if rec.Part.Starts() {
			f, err := v.frame(rec)
			if err != nil {
				return err
			}
			frame = f
		}
		if err := v.builder.Add(rec, frame); err != nil {
			return fmt.Errorf("index the dump of %s: %w", v.m.ID, err)
		}
	}
	return nil
}

func (v *storedCheck) frame(rec *keyspace.Record) (int, error) {
	return v.table.Find(rec.Offset)
}

// key compares one key of the dump with its row in keys.parquet; both are in order of
// the dump.
func (v *storedCheck) key(got *index.KeyRow) error {
	if got.Role == string(job.HashPart) {
		v.jobsSeen++
	}
	if v.nextKey == nil || v.keysBad {
		return nil
	}
	want, err, ok := v.nextKey()
	switch {
	case err != nil && isDamage(err):
		v.keysBad = true
		v.problem("%s of %s: %v", snapshot.KeysName, v.m.ID, err)
	case err != nil:
		return err
	case !ok:
		v.keysBad = true
		v.problem("%s of %s ends before the dump does", snapshot.KeysName, v.m.ID)
	default:
		g, w := *got, *want
		g.Key, g.Raw, w.Key, w.Raw = string(got.Name()), nil, string(want.Name()), nil
		if !reflect.DeepEqual(g, w) {
			v.keysBad = true
			v.problem("%s of %s disagrees with the dump about the key at byte %d", snapshot.KeysName, v.m.ID, got.Offset)
		}
	}
	return nil
}

func (v *storedCheck) keysEnd() {
	if v.nextKey == nil || v.keysBad {
		return
	}
	if _, err, ok := v.nextKey(); ok || err != nil {
		v.problem("%s of %s goes on after the dump's last key", snapshot.KeysName, v.m.ID)
	}
}

// jobs compares the rows that the dump gives with those of jobs.parquet.
func (v *storedCheck) jobs(f *os.File, size int64) {
	next := func() (*job.Row, error, bool) { return nil, nil, false }
	if f != nil {
		pull, stop := iter.Pull2(index.ReadJobs(f, size))
		defer stop()
		next = pull
	}
	good := f != nil
	for got, err := range v.builder.Jobs() {
		if err != nil {
			v.problem("index the dump of %s: %v", v.m.ID, err)
			return
		}
		if !good {
			continue
		}
		want, err, ok := next()
		if err != nil || !ok || !sameRow(got, want) {
			good = false
			v.problem("%s of %s disagrees with the dump", snapshot.JobsName, v.m.ID)
		}
	}
	if good {
		if _, err, ok := next(); ok || err != nil {
			v.problem("%s of %s holds jobs that the dump does not", snapshot.JobsName, v.m.ID)
		}
	}
}

// parts proves what one job's rows are read and proven by, where the manifest says how
// jobs.parquet ends.
func (v *storedCheck) parts(f *os.File, size int64) {
	o, err := v.m.Object(snapshot.JobsName)
	if f == nil || err != nil || o.Tail == nil {
		return
	}
	var lists []index.ListAt
	p, err := index.OpenPart(func(offset, length int64) ([]byte, error) {
		b := make([]byte, length)
		_, err := f.ReadAt(b, offset)
		return b, err
	}, size, (*index.Tail)(o.Tail))
	if err == nil {
		err = p.Prove()
	}
	if err == nil {
		lists, err = p.Lists()
	}
	if errors.Is(err, index.ErrWhole) {
		return // another version wrote it, in columns of its own
	}
	if err != nil {
		v.problem("%s of %s cannot be read in parts: %v", snapshot.JobsName, v.m.ID, err)
	} else if !slices.EqualFunc(lists, v.builder.Lists(), func(a, b index.ListAt) bool { return reflect.DeepEqual(a, b) }) {
		v.problem("%s of %s says of queues' lists that they lie elsewhere than they do", snapshot.JobsName, v.m.ID)
	}
}

func sameRow(a, b *job.Row) bool {
	x, y := *a, *b
	for _, r := range []*job.Row{&x, &y} {
		if len(r.Parents) == 0 {
			r.Parents = nil
		}
		if len(r.Places) == 0 {
			r.Places = nil
		}
		if len(r.Parts) == 0 {
			r.Parts = nil
		}
	}
	return reflect.DeepEqual(x, y)
}

// plain takes a value through JSON.
func plain[T any](v *T) error {
	b, err := json.Marshal(*v)
	if err != nil {
		return err
	}
	var out T
	err = json.Unmarshal(b, &out)
	*v = out
	return err
}

// counts compares what was counted now with what the manifest says.
func (v *storedCheck) counts() {
	c, want := v.builder.Counts(), v.m.Counts
	dbs := map[string]int64{}
	for db, n := range c.DBs {
		dbs[fmt.Sprint(db)] = n
	}
	got := snapshot.Counts{Keys: c.Keys, Jobs: c.Jobs, Rows: c.Rows, ByKind: c.Kinds, ByDB: dbs, Status: c.Status, Queues: c.Queues, Unknown: c.Unknown}
	registered := v.builder.Registered()
	// The manifest went through JSON, which has no bytes that are not UTF-8.
	if plain(&got) != nil || plain(&registered) != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(registered, v.m.Registered) {
		v.problem("the manifest of %s counts other keys or jobs than the dump holds (%d keys and %d jobs, %d and %d in the dump)",
			v.m.ID, want.Keys, want.Jobs, got.Keys, got.Jobs)
	}
}
