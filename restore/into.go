package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// Target is a server that takes a whole snapshot. Unlike a Redis that is put right job by
// job it was empty before, and nobody but this restore writes to it.
type Target interface {
	// Pipeline runs commands in order and returns one reply or error value each.
	Pipeline(ctx context.Context, db int, commands [][]any) ([]any, error)
}

// IntoOptions say what Into puts where. All are needed but Mask and Progress.
type IntoOptions struct {
	Target Target
	Dump   io.Reader // the snapshot's dump, proven
	Size   int64     // of the dump, bytes
	Schema job.Schema
	Mask   bool             // blank the payloads of jobs
	Now    func() time.Time // by the target's clock
	// Progress is told how many bytes of the dump are done; it may be nil.
	Progress func(bytes int64)
}

// IntoCounts says what became of a snapshot's keys.
type IntoCounts struct {
	Keys    int64 `json:"keys"`    // put into the target
	Masked  int64 `json:"masked"`  // of these, with their payloads blanked
	Workers int64 `json:"workers"` // left out: workers, schedulers, locks, flags
	Running int64 `json:"running"` // left out: registries of running jobs
	Unknown int64 `json:"unknown"` // left out when masking: keys of the queue library in no known form
	Expired int64 `json:"expired"` // left out: their own expiry has passed
	Failed  int64 `json:"failed"`  // refused by the target
}

// LeftOut is how many keys were left out on purpose.
func (n *IntoCounts) LeftOut() int64 { return n.Workers + n.Running + n.Unknown + n.Expired }

// KeyFailure is one key that did not get into the target.
type KeyFailure struct {
	DB     int    `json:"db"`
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// IntoResult is what Into did.
type IntoResult struct {
	Counts    IntoCounts
	Failures  []KeyFailure // the first maxFailures
	Suspended []int        // databases whose workers were made to wait
	Functions int          // function libraries of the dump, which are not put back
	Whole     bool         // the target loaded it as a dump of its own
}

// maxFailures bounds how many failures are told one by one.
const maxFailures = 1000

// maxGathered is the largest value that RESTORE takes on a server with default settings.
const maxGathered = 512 << 20

// ErrTarget: the target refuses every write.
var ErrTarget = errors.New("the target refuses writes")

// Omitted reports whether a whole restore leaves the key out: workers, schedulers and
// locks, and registries of running jobs. None of it is true in the target, and RQ acts on
// it: it would fail or rerun jobs, or wait for ever.
func Omitted(schema job.Schema, name []byte, kind keyspace.Kind) bool {
	var n IntoCounts
	return n.omits(schema.Classify(name, kind), false)
}

// omits counts a key that is left out for what it is.
func (n *IntoCounts) omits(k job.Key, mask bool) bool {
	switch {
	case k.Role == job.Volatile || k.Role == job.WorkerHash:
		n.Workers++
	case k.Role == job.Registry && k.Place == job.InWip || k.Role == job.Owned && k.Part == job.ExecutionsPart:
		n.Running++
	case mask && k.Role == job.Unknown:
		n.Unknown++
	default:
		return false
	}
	return true
}

// takes counts a key of the dump, and reports whether it goes into the target.
func (n *IntoCounts) takes(k job.Key, expireAt, now int64, mask bool) bool {
	if n.omits(k, mask) {
		return false
	}
	if expireAt != 0 && expireAt <= now {
		n.Expired++ // RESTORE would answer OK and create nothing
		return false
	}
	n.Keys++
	if mask && masks(k) {
		n.Masked++
	}
	return true
}

// masks reports whether a key holds payloads.
func masks(k job.Key) bool {
	return k.Role == job.Hash || k.Role == job.Owned && k.Part == job.ResultsPart
}

// CountInto says what Into would do, from the snapshot's table of keys. now is in Unix ms.
func CountInto(keys Keys, schema job.Schema, mask bool, now int64) (IntoCounts, error) {
	var n IntoCounts
	for k, err := range keys() {
		if err != nil {
			return n, err
		}
		n.takes(schema.Classify(k.Name(), keyspace.ParseKind(k.Kind)), k.ExpireAt, now, mask)
	}
	return n, nil
}

// Into puts a whole snapshot into an empty target: every key of every database, exact by
// RESTORE, or where the target refuses that, command by command. Before the first key of
// the queue library gets into a database its workers are made to wait, so that nothing
// runs until somebody lifts that. A stop in the middle leaves a part of the snapshot;
// then the target has to be emptied and filled anew.
func Into(ctx context.Context, o IntoOptions) (IntoResult, error) {
	f := &filler{o: o, suspended: map[int]bool{}}
	err := f.walk(ctx)
	return f.result, err
}

// filler fills a target.
type filler struct {
	o          IntoOptions
	result     IntoResult
	suspended  map[int]bool
	byCommands bool // RESTORE is refused here altogether
	batch      []filling
	batchBytes int
	shipments  []*shipment // the oldest first
	large      *large
}

// filling is one key, or a piece of a large one, on its way into the target.
type filling struct {
	rec      keyspace.Record // with memory of its own
	commands [][]any
	exact    bool // by RESTORE
}

func (f *filler) walk(ctx context.Context) error {
	w := rdb.NewWalker(f.o.Dump, rdb.Options{Size: f.o.Size})
	for {
		c, err := w.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("walk the dump: %w", err)
		}
		for i := range c.Records {
			if err := f.record(ctx, &c.Records[i]); err != nil {
				return err
			}
		}
		if f.o.Progress != nil {
			f.o.Progress(c.Offset + int64(len(c.Data)))
		}
		c.Release()
	}
	f.result.Functions = w.Summary().Functions
	return f.flush(ctx)
}

// record takes the next key, or the next part of one.
func (f *filler) record(ctx context.Context, rec *keyspace.Record) error {
	if !rec.Part.Starts() {
		return f.part(ctx, rec)
	}
	k := f.o.Schema.Classify(rec.Key, rec.Kind)
	takes := f.result.Counts.takes(k, rec.ExpireAt, f.o.Now().UnixMilli(), f.o.Mask)
	if takes && k.Role != job.Foreign {
		if err := f.suspend(ctx, rec.DB); err != nil {
			return err
		}
	}
	mask := job.PartName("")
	if f.o.Mask && masks(k) {
		mask = k.Part
	}
	if rec.Part != keyspace.Whole {
		f.large = newLarge(rec, takes, mask)
		return f.part(ctx, rec)
	}
	if !takes {
		return nil
	}
	return f.whole(ctx, rec, mask)
}

// own returns the record with a key and bytes of its own.
func own(rec *keyspace.Record) keyspace.Record {
	r := *rec
	r.Key, r.Raw, r.Meta = slices.Clone(rec.Key), slices.Clone(rec.Raw), slices.Clone(rec.Meta)
	return r
}

// suspend makes the workers of a database wait.
func (f *filler) suspend(ctx context.Context, db int) error {
	if f.suspended[db] {
		return nil
	}
	replies, err := f.o.Target.Pipeline(ctx, db, [][]any{{"SET", f.o.Schema.SuspendKey(), "1"}})
	if err == nil {
		err, _ = replies[0].(error)
		if fatal(err) {
			err = fmt.Errorf("%w: %w", ErrTarget, err)
		}
	}
	if err != nil {
		return fmt.Errorf("make the workers of db %d wait: %w", db, err)
	}
	f.suspended[db] = true
	f.result.Suspended = append(f.result.Suspended, db)
	return nil
}

// whole adds a key whose value is at hand, and valid during this call.
func (f *filler) whole(ctx context.Context, rec *keyspace.Record, mask job.PartName) error {
	var p []byte
	if mask == "" && !f.byCommands {
		p = payload(rec)
	}
	if p != nil && len(p) <= maxGathered {
		r := *rec
		r.Key, r.Meta = slices.Clone(rec.Key), slices.Clone(rec.Meta)
		r.Raw = p[1+len(rec.Meta):][:len(rec.Raw)] // should RESTORE be refused
		command := []any{"RESTORE", r.Key, r.ExpireAt, p}
		if r.ExpireAt != 0 {
			command = append(command, "ABSTTL")
		}
		return f.add(ctx, filling{rec: r, commands: [][]any{command}, exact: true})
	}
	e := filling{rec: own(rec)}
	var err error
	if mask != "" {
		e.commands, err = masked(string(rec.Key), &e.rec, f.o.Schema, mask)
	} else {
		e.commands, err = logical(string(rec.Key), &e.rec)
	}
	if err != nil {
		f.fail(rec, err.Error())
		return nil
	}
	return f.add(ctx, e)
}

// fail notes a key that does not get into the target.
func (f *filler) fail(rec *keyspace.Record, reason string) {
	f.result.Counts.Keys--
	f.result.Counts.Failed++
	if len(f.result.Failures) < maxFailures {
		f.result.Failures = append(f.result.Failures, KeyFailure{DB: rec.DB, Key: string(rec.Key), Reason: reason})
	}
}
