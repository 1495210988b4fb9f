package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/verify"
)

// LedgerLife is how long the ledger remembers what a restore of one snapshot put back.
// It only has to outlive the repeated runs after one incident.
const LedgerLife = 7 * 24 * time.Hour

// LedgerKey is the hash in which restores sign what they put back, whichever snapshot it
// came from: an older one must not bring back what ran meanwhile. It lives beside the
// data it speaks of, so a flush or an older dump takes both.
const LedgerKey = "rqvault:ledger"

// Result is what became of one step.
type Result string

// The results. Restored: put back whole. Repaired: only its place was missing. Skipped:
// nothing to do any more. Refused: a reviewed plan's job has changed since, and was left.
// Held: left for a person. Failed: Redis refused.
const (
	Restored Result = "restored"
	Repaired Result = "repaired"
	Skipped  Result = "skipped"
	Refused  Result = "refused"
	Held     Result = "held"
	Failed   Result = "failed"
)

// Results lists them all.
var Results = []Result{Restored, Repaired, Skipped, Refused, Held, Failed}

// Outcome is the result of one step.
type Outcome struct {
	DB     int32         `json:"db"`
	JobID  string        `json:"job_id"`
	RawID  []byte        `json:"job_id_raw,omitempty"` // where the id is no UTF-8
	Key    string        `json:"key,omitempty"`
	Queue  string        `json:"queue"`
	Action verify.Action `json:"action"`
	Result Result        `json:"result"`
	Reason string        `json:"reason"`
}

// Options are what Apply works with. All are needed but Progress and Registered.
type Options struct {
	Redis      Redis
	Values     Values
	Schema     job.Schema
	Format     keyspace.Format     // of the snapshot's dump
	Rows       func() verify.Rows  // the snapshot's index, from its beginning
	Registered map[string][]string // lists that the snapshot's queues were registered under, by database
	TakenAt    time.Time           // the instant of the snapshot, by the server's clock
	Now        func() time.Time    // by the server's clock
	Reviewed   bool                // the plan comes from a file that a person has read
	Pace       Pace
	Suspend    bool                    // keep workers from taking new jobs meanwhile
	Suspended  func(db int, ours bool) // told of each database; not ours: somebody else had suspended it; may be nil
	Outcome    func(Outcome)           // told once for each step
	Progress   func(done, total int)
}

// Apply carries out a plan's steps. It can be stopped at any moment and run again with
// the same or a newly made plan: the end is the same. An error means that it stopped in
// the middle; refusals of single steps are outcomes.
func Apply(ctx context.Context, p *Plan, o Options) (err error) {
	a := &applier{o: o, queued: map[queueKey][]queued{}, waiting: map[queueKey][]*task{}, w: newWriter(p, o)}
	a.tasks = newTasks(p.Steps, func(s *Step) { a.outcome(s, Held, s.Reason) })
	if err := settle(ctx, p, o); err != nil {
		return err
	}
	a.total = len(a.tasks.all)
	if a.total == 0 {
		return nil
	}
	if o.Suspend {
		lift, err2 := a.suspend(ctx)
		defer func() { err = errors.Join(err, lift()) }()
		if err2 != nil {
			return err2
		}
	}
	if err := a.registerQueues(ctx); err != nil {
		return err
	}
	if err := a.writeJobs(ctx); err != nil {
		return a.unplaced(cmp.Or(err, a.landAll(ctx)))
	}
	if err := a.release(ctx); err != nil {
		return err
	}
	if err := a.enqueueReady(ctx); err != nil {
		return err
	}
	return a.triggerChildren(ctx)
}

func newWriter(p *Plan, o Options) writer {
	return writer{schema: o.Schema, values: o.Values, format: o.Format, ledger: LedgerKey,
		life: int64(LedgerLife / time.Second), since: o.TakenAt.UnixMilli(), now: o.Now().UnixMilli(), present: o.Now}
}

type applier struct {
	o           Options
	w           writer
	tasks       *tasks
	total, done int
	parcels     load                  // what goes by bulk.lua
	blocks      load                  // what goes by restore.lua
	sent        int                   // jobs
	flights     []*flight             // what is not landed yet, the oldest first
	launched    [maxFlights]*flight   // the last of all, landed or not
	inOrder     bool                  // one batch is done with before the next is sent
	broken      bool                  // one broke off
	queued      map[queueKey][]queued // to be written in their order
	deferred    []*job.Row
	waiting     map[queueKey][]*task // prepared, to be placed
	ready       []*job.Row           // deferred jobs put back
	ended       []*job.Row           // jobs that waited again and have ended once more
}

// guardOnce demands nothing but that the ledger does not say it was done.
const guardOnce verify.Guard = "once"

func (a *applier) outcome(s *Step, r Result, reason string) {
	a.o.Outcome(Outcome{DB: s.DB, JobID: s.JobID, RawID: verify.Raw(s.JobID), Key: s.Key, Queue: s.Queue, Action: s.Action, Result: r, Reason: reason})
}

func (a *applier) progress() {
	a.done++
	if a.o.Progress != nil {
		a.o.Progress(a.done, a.total)
	}
}

// registerQueues puts back the queues' names, where any of their jobs come back.
func (a *applier) registerQueues(ctx context.Context) error {
	for _, db := range a.tasks.dbs() {
		names := a.o.Registered[fmt.Sprint(db)]
		if len(names) == 0 {
			continue
		}
		key := a.o.Schema.QueuesKey()
		b := &block{entry: "queues", key: key, plain: true}
		a.w.head(b, statePlaced, guardOnce, "", value{how: "steps"})
		for chunk := range slices.Chunk(names, membersPerStep) {
			args := []any{"SADD", key}
			for _, n := range chunk {
				args = append(args, n)
			}
			b.step(nil, args...)
		}
		replies, err := a.o.Redis.Run(ctx, int(db), restoreScript, []Call{a.w.call(b)})
		if err != nil {
			return fmt.Errorf("register the queues: %w", err)
		}
		word, detail, err := words(replies[0], 0)
		if err == nil && word != "done" && word != "ledger" {
			err = errors.New(plain(detail))
		}
		if err != nil {
			return fmt.Errorf("register the queues: %w", err)
		}
	}
	return nil
}

// alone copies a row that is kept: rows are made many at once, and any of them would keep
// all of those.
func alone(row *job.Row) *job.Row {
	r := *row
	return &r
}

// writeJobs puts back everything but places in queues: first all jobs that wait for
// nobody, then deferred ones, parents before children, since a parent that is missing
// counts as ended.
func (a *applier) writeJobs(ctx context.Context) error {
	for row, err := range a.o.Rows() {
		if err != nil {
			return err
		}
		t := a.tasks.at(row)
		if t == nil {
			continue
		}
		t.found = true
		if t.Action == verify.Start {
			a.ended = append(a.ended, alone(row))
			continue
		}
		if row.Status == job.Deferred {
			a.deferred = append(a.deferred, alone(row))
			continue
		}
		if onlyQueued(row, t.Step) {
			a.keep(row, t)
			continue
		}
		if err := a.add(ctx, row, t); err != nil {
			return err
		}
	}
	if err := a.writeQueued(ctx); err != nil {
		return err
	}
	if err := a.flush(ctx); err != nil {
		return err
	}
	a.inOrder = true
	for _, row := range parentsFirst(a.deferred) {
		if err := a.add(ctx, row, a.tasks.of(row.DB, row.ID)); err != nil {
			return err
		}
	}
	if err := a.flush(ctx); err != nil {
		return err
	}
	for i := range a.tasks.all {
		if t := &a.tasks.all[i]; !t.found {
			a.outcome(t.Step, Failed, "the snapshot has no such job")
			a.progress()
		}
	}
	return nil
}
