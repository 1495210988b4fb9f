// Package backup takes one snapshot, end to end: a dump comes in as a stream and is
// walked once; checksum, digests, index, compression and upload all happen on the way.
// Nothing exists in the store before everything was proven, and then all of it at once.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/internal/rdb"
	"rqvault/internal/seekable"
	"rqvault/internal/snapshot"
)

// ErrTryAgain: a dump could not be read to its end, and another one, which the source would
// take in another way, may be.
var ErrTryAgain = errors.New("the dump broke off")

// Source opens dumps of one Redis.
type Source interface {
	// Open makes Redis produce a dump and returns it, ready to be read. It may take as
	// long as a save takes. After ErrTryAgain it may be called once more.
	Open(ctx context.Context) (*Dump, error)
}

// Dump is an RDB stream and what is known about it.
type Dump struct {
	Body     io.ReadCloser
	Size     int64 // bytes, -1 if not known yet
	Via      string
	Reason   string // why this way was taken
	Atomic   bool   // false where keys were read one after another
	Trailing bool   // Body may not end with the dump; Close then says if more came
	At       time.Time
	Before   lineage.Facts
	Warnings []string
	// After is asked once the dump was read: the facts then, and what to warn of that
	// showed only on the way.
	After func(ctx context.Context) (lineage.Facts, []string)
}

// Progress is told how far a backup is. Update may be called from several goroutines.
type Progress interface {
	// Begin names what is being done; total is in bytes, -1 if unknown.
	Begin(what string, total int64)
	// Update gives the bytes of the dump, the keys and the jobs seen so far.
	Update(bytes, keys, jobs int64)
}

type quiet struct{}

func (quiet) Begin(string, int64)        {}
func (quiet) Update(int64, int64, int64) {}

// Options say what to save where. Catalog, Source, Schema, Now and Random are needed.
type Options struct {
	Catalog     *snapshot.Catalog
	Source      Source
	Schema      job.Schema
	Now         func() time.Time
	Random      io.Reader
	ToolVersion string
	TempDir     string   // for the index's sort; "" is the system's
	Fast        bool     // compress for speed rather than size
	Guard       Guard    // when to freeze retention; zero is DefaultGuard
	Progress    Progress // may be nil
	// Slot is the time it was scheduled for, zero if a person asked for it. Check is asked
	// right before the commit whether that may still be done; it may be nil.
	Slot  time.Time
	Check func(ctx context.Context) error
}

// Save takes one snapshot and returns its manifest. On any error nothing is committed
// and what was stored so far is removed.
func Save(ctx context.Context, o Options) (*snapshot.Manifest, error) {
	if o.Progress == nil {
		o.Progress = quiet{}
	}
	for tries := 1; ; tries++ {
		m, err := save(ctx, o)
		if !errors.Is(err, ErrTryAgain) || tries == maxTries || ctx.Err() != nil {
			return m, err
		}
	}
}

// maxTries bounds how often another dump is tried: read beside its being written, after
// that, and in another way.
const maxTries = 3

func save(ctx context.Context, o Options) (*snapshot.Manifest, error) {
	draft, err := o.Catalog.Begin(ctx, o.Now(), o.Random)
	if err != nil {
		return nil, err
	}
	defer draft.Abort()
	prev := previous(ctx, o.Catalog)
	if prev != nil && prev.Encryption != nil && !draft.Encrypted() {
		return nil, fmt.Errorf("%w: %s is encrypted, and the store's keys are gone", snapshot.ErrPlain, prev.ID)
	}
	o.Progress.Begin("redis writes its dump", -1)
	dump, err := o.Source.Open(ctx)
	if err != nil {
		return nil, err
	}
	s := &saver{o: o, draft: draft, dump: dump, prev: prev, closeDump: sync.OnceValue(dump.Body.Close)}
	m, err := s.run(ctx)
	_ = s.closeDump() // after a success it has been closed
	if err != nil {
		return nil, err
	}
	if o.Check != nil {
		if err := o.Check(ctx); err != nil {
			return nil, fmt.Errorf("the snapshot is not committed: %w", err)
		}
	}
	if err := s.guard(ctx, m); err != nil {
		return nil, err
	}
	m.FinishedAt, m.Slot = o.Now().UTC(), o.Slot
	if err := draft.Commit(ctx, m); err != nil {
		return nil, err
	}
	return m, nil
}

// saver is one run of the pipeline.
type saver struct {
	o         Options
	draft     *snapshot.Draft
	dump      *Dump
	closeDump func() error       // may be called again
	prev      *snapshot.Manifest // the snapshot before this one, nil if there is none
	builder   *index.Builder
	keys      *index.KeysWriter
	jobs      atomic.Int64
	stored    []snapshot.Stored
}

func (s *saver) run(ctx context.Context) (*snapshot.Manifest, error) {
	s.o.Progress.Begin("reading the dump", s.dump.Size)
	keysObject, err := s.draft.Create(ctx, snapshot.KeysName)
	if err != nil {
		return nil, err
	}
	defer keysObject.Abort()
	s.keys = index.NewKeysWriter(keysObject)
	defer s.keys.Stop()
	s.builder = index.NewBuilder(s.o.Schema, index.Options{TempDir: s.o.TempDir, Keys: s.keyRow, Before: instant(s.dump.Before.Loaded())})
	defer func() { _ = s.builder.Close() }()

	dumpObject, err := s.draft.Create(ctx, snapshot.DumpName)
	if err != nil {
		return nil, err
	}
	defer dumpObject.Abort()
	summary, err := s.walk(ctx, dumpObject)
	if err != nil {
		return nil, err
	}
	if err := s.closeDump(); err != nil {
		return nil, fmt.Errorf("close the dump: %w", err)
	}
	after := lineage.Facts{}
	if s.dump.After != nil {
		var late []string
		after, late = s.dump.After(ctx)
		s.dump.Warnings = append(s.dump.Warnings, late...)
	}
	if err := s.keys.Close(); err != nil {
		return nil, err
	}
	if err := s.finish(ctx, dumpObject, keysObject); err != nil {
		return nil, err
	}
	return s.manifest(summary, after)
}

// finish writes the last object while the others are made durable.
func (s *saver) finish(ctx context.Context, written ...*snapshot.ObjectWriter) error {
	committed := make(chan error, 1)
	go func() {
		for _, w := range written {
			entry, err := w.Commit(ctx)
			if err != nil {
				committed <- err
				return
			}
			s.stored = append(s.stored, entry)
		}
		committed <- nil
	}()
	jobs, err := s.writeJobs(ctx)
	if err := first(<-committed, err); err != nil {
		return err
	}
	s.stored = append(s.stored, jobs)
	return nil
}

func (s *saver) keyRow(k *index.KeyRow) error {
	if k.Role == string(job.HashPart) {
		s.jobs.Add(1)
	}
	return s.keys.Write(k)
}

// maxPackers is how many frames are packed at once, at most: as fast as any server writes a
// dump. Each takes some memory, and with large values much.
const maxPackers = 4

// walk reads the dump once. One goroutine walks and checks, a crew indexes, and the frame
// writer's workers compress; each chunk is shared by the last two and given back when
// both are done with it.
func (s *saver) walk(ctx context.Context, object io.Writer) (*rdb.Summary, error) {
	frames, err := seekable.NewWriter(object, seekable.Options{Fast: s.o.Fast, Workers: min(runtime.GOMAXPROCS(0), maxPackers)})
	if err != nil {
		return nil, err
	}
	crew := index.NewCrew(s.builder, 0)
	walker := rdb.NewWalker(s.dump.Body, rdb.Options{Size: max(s.dump.Size, 0), Trailing: s.dump.Trailing})
	err = s.feed(ctx, walker, frames, crew)
	indexErr := crew.Close()
	if indexErr != nil {
		indexErr = fmt.Errorf("index the dump: %w", indexErr)
	}
	closeErr := frames.Close()
	if err := first(context.Cause(ctx), indexErr, err, closeErr); err != nil {
		return nil, err
	}
	if n := len(walker.Rest()); n > 0 {
		return nil, fmt.Errorf("read the dump: %d bytes follow its end", n)
	}
	sum := walker.Summary()
	return &sum, nil
}

// first returns the error that began it all; the others are its echo.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// feed drives the walker to the proven end of the dump.
func (s *saver) feed(ctx context.Context, w *rdb.Walker, frames *seekable.Writer, crew *index.Crew) error {
	between, keys := newFlight(), int64(0)
	for ctx.Err() == nil {
		chunk, err := w.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the dump: %w", err)
		}
		c := between.share(chunk)
		keys += int64(len(c.Records))
		seen, end := keys, c.Offset+int64(len(c.Data))
		if err := frames.WriteFrame(c.Data, c.release); err != nil {
			return fmt.Errorf("store the dump: %w", err)
		}
		err = crew.Add(c.Chunk, func() {
			c.release()
			s.o.Progress.Update(end, seen, s.jobs.Load())
		})
		if err != nil {
			return fmt.Errorf("index the dump: %w", err)
		}
	}
	return context.Cause(ctx)
}

func (s *saver) writeJobs(ctx context.Context) (snapshot.Stored, error) {
	s.o.Progress.Begin("sorting the jobs", -1)
	object, err := s.draft.Create(ctx, snapshot.JobsName)
	if err != nil {
		return snapshot.Stored{}, err
	}
	defer object.Abort()
	w := index.NewJobsWriter(object)
	defer w.Stop()
	if err := s.builder.WriteJobs(w); err != nil {
		return snapshot.Stored{}, err
	}
	if err := w.Close(); err != nil {
		return snapshot.Stored{}, err
	}
	stored, err := object.Commit(ctx)
	if err == nil && stored.Encrypted == nil {
		tail := snapshot.Tail(w.Tail())
		stored.Tail = &tail
	}
	return stored, err
}

func (s *saver) manifest(sum *rdb.Summary, after lineage.Facts) (*snapshot.Manifest, error) {
	c := s.builder.Counts()
	if c.Keys != sum.Keys {
		return nil, fmt.Errorf("the walker saw %d keys, the index %d: this is a fault in rqvault, please report it", sum.Keys, c.Keys)
	}
	m := &snapshot.Manifest{
		CreatedAt: createdAt(s.dump, sum), ToolVersion: s.o.ToolVersion,
		Via: s.dump.Via, ViaReason: s.dump.Reason, Atomic: s.dump.Atomic,
		Dump: snapshot.Dump{Format: sum.Format.String(), Checksum: sum.Checksum.String(), Size: sum.Size, Keys: sum.Keys, Aux: sum.Aux},
		Counts: snapshot.Counts{Keys: c.Keys, Jobs: c.Jobs, Rows: c.Rows, ByKind: c.Kinds, ByDB: map[string]int64{},
			Status: c.Status, Queues: c.Queues, Unknown: c.Unknown},
		Registered: s.builder.Registered(),
		Objects:    s.stored,
		Lineage:    snapshot.Lineage{Before: s.dump.Before, After: after},
		Warnings:   append([]string{}, s.dump.Warnings...),
	}
	for db, n := range c.DBs {
		m.Counts.ByDB[fmt.Sprint(db)] = n
	}
	s.tear(m)
	if sum.Checksum == rdb.Absent {
		m.Warnings = append(m.Warnings, "the dump carries no checksum (rdbchecksum is off on the server): damage on its way from Redis to rqvault would go unseen")
	}
	if c.Oversized > 0 {
		m.Warnings = append(m.Warnings, fmt.Sprintf("%d ids longer than any job's were left out of the index", c.Oversized))
	}
	return m, nil
}
