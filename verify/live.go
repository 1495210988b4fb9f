package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/lineage"
)

// Live is a running Redis, as far as a comparison needs it. Nothing in it writes.
type Live interface {
	// Facts is what the server says of itself.
	Facts(ctx context.Context) (lineage.Facts, error)
	// Image reads the jobs that are there now.
	Image(ctx context.Context, l Look) (Image, error)
	// Restored returns the jobs that restores signed for since the snapshot: true where
	// nothing is left to do, false where one was stopped in the middle of a job.
	Restored(ctx context.Context) (map[JobKey]bool, error)
	// Settled returns the jobs about which restores since the snapshot had nothing to do.
	Settled(ctx context.Context) (*Settled, error)
}

// Look is what an image is for.
type Look struct {
	Before time.Time // instants before it count for the watermark
	// Versions says that of a job's hash only what tells its version is asked, and nothing of
	// whether the rest of it can be read: what it waits for where it is deferred, its worker
	// where it runs, and its expiry where a registry must have it.
	Versions bool
}

// Image is what a live Redis held.
type Image interface {
	Rows() Rows // may be read again
	Watermark() time.Time
	Workers() []job.Worker
	Marks() *Marks                   // of the queue library's keys; nil unless they were asked for
	Registered() map[string][]string // names in the set of queues, by database
	// Atomic reports whether all of it is from one instant.
	Atomic() bool
	Close() error
}

// How long a job on the move may seem to be nowhere. From its list to the registry of
// running jobs it takes a worker milliseconds (settle); one that is short of memory or
// still imports its modules may hold a job that it has taken for much longer (patience).
const (
	settle   = 2 * time.Second
	patience = 2 * time.Minute
)

// Options say what to compare with what.
type Options struct {
	Live      Live
	Rows      func() Rows // the snapshot's index, from its beginning
	Past      lineage.Past
	Schema    job.Schema
	Policy    Policy
	Started   OnStarted         // "" leaves it to the policy
	Queues    map[string]Policy // of single queues, before Policy
	ExtendTTL bool              // see Context
	Assume    lineage.Mode      // what a person knows better than the evidence tells; "" to judge
	Now       func() time.Time
	Survivor  func(db int32, queue string, position int64)
	Few       *Few                // see AgainstFew; nil: everything is compared
	Select    func(*Finding) bool // which findings to count; nil: all
	// Patience is how long a job that is in no list is given while workers are alive; 0
	// is two minutes. Waiting is told before such a wait; it may be nil.
	Patience time.Duration
	Brief    bool // without the evidence of each finding
	Pieces   bool // let the result have Pieces in place of Findings
	Waiting  func(d time.Duration, jobs int)
}

// Result is what became of a snapshot's jobs.
type Result struct {
	Lineage  lineage.Judgement
	Facts    lineage.Facts
	Counts   map[Verdict]int // of those selected
	Findings []Finding       // all that are not intact
	// Pieces are the findings one after the other, where they were asked for so: whoever
	// goes through millions of them can let go of those that are done with.
	Pieces [][]Finding
	Intact map[Queue]int // those selected that are, by queue
	// Settled are, where live lost anything, the jobs of the snapshot that need nothing.
	Settled *Settled
	// Deleted counts the jobs, of those selected, that are gone though RQ would still have
	// the record of their end, from a server that seems to have lost nothing.
	Deleted int
	found   pieces
}

// Against compares a live Redis with a snapshot.
func Against(ctx context.Context, o Options) (*Result, error) {
	r, err := o.against(ctx)
	if err != nil {
		return nil, err
	}
	if o.Pieces {
		r.Pieces = r.found
	} else {
		r.Findings = slices.Concat(r.found...)
	}
	r.found = nil
	return r, nil
}

// against looks at live as often as it takes. If it finds anything to act on that may
// have been moving in an image that is no single instant, it looks a second time: only
// what both looks say counts.
func (o *Options) against(ctx context.Context) (*Result, error) {
	first, atomic, err := o.look(ctx)
	if err != nil {
		return nil, err
	}
	wait, _ := o.unsettled(first, atomic)
	if wait == 0 {
		return first, nil
	}
	second, err := o.again(ctx, first, min(wait, settle))
	if err != nil {
		return nil, err
	}
	_, popped := o.unsettled(second, atomic)
	if popped == 0 || wait <= settle {
		return second, nil
	}
	if o.Waiting != nil {
		o.Waiting(wait-settle, popped)
	}
	return o.again(ctx, second, wait-settle)
}

// again looks once more, after that time.
func (o *Options) again(ctx context.Context, before *Result, wait time.Duration) (*Result, error) {
	if err := pause(ctx, wait); err != nil {
		return nil, err
	}
	r, _, err := o.look(ctx)
	if err != nil {
		return nil, err
	}
	o.agree(before, r)
	return r, nil
}

// unsettled returns how long to wait before what the look found counts, 0 if at once,
// and how many of the findings a worker may have in hand. A job that live knows nothing
// of at all is not on its way anywhere. One that a worker has just taken is in no list
// even at a single instant.
func (o *Options) unsettled(r *Result, atomic bool) (wait time.Duration, popped int) {
	for f := range r.found.all() {
		if f.Action != None && f.Moving && (!atomic || f.Action == Place) {
			wait = max(wait, settle)
		}
		if f.Popped {
			popped++
		}
	}
	if popped > 0 {
		wait = max(settle, cmp.Or(o.Patience, patience))
	}
	return wait, popped
}

func (o *Options) counts(f *Finding) bool { return o.Select == nil || o.Select(f) }

// agree takes back what only the second look says.
func (o *Options) agree(first, second *Result) {
	said := map[JobKey]*Finding{}
	for f := range first.found.all() {
		if f.Action != None {
			said[f.Key()] = f
		}
	}
	for f := range second.found.all() {
		before, ok := said[f.Key()]
		if f.Action == None || ok && before.Verdict == f.Verdict && before.Action == f.Action {
			continue
		}
		now, act := Uncertain, Hold
		if !ok {
			now, act = Advanced, None // the first look saw nothing wrong: it lives
		}
		if o.counts(f) {
			second.Counts[f.Verdict]--
			second.Counts[now]++
		}
		f.Reason = fmt.Sprintf("it moved while it was looked at (%s)", f.Verdict)
		f.Verdict, f.Action, f.Guard, f.DecidedBy = now, act, "", ""
	}
}

func (o *Options) look(ctx context.Context) (r *Result, atomic bool, err error) {
	if o.Few != nil {
		return o.lookAtFew(ctx)
	}
	facts, err := o.Live.Facts(ctx)
	if err != nil {
		return nil, false, err
	}
	if facts.Persistence.Loading || facts.Persistence.AsyncLoading {
		return nil, false, lineage.ErrLoading
	}
	restored, err := o.Live.Restored(ctx)
	if err != nil {
		return nil, false, err
	}
	settled, err := o.Live.Settled(ctx)
	if err != nil {
		return nil, false, err
	}
	begun := *o
	var stop func()
	begun.Rows, stop = early(o.Rows)
	defer stop()
	o = &begun
	// Whether the rest of a hash can be read is asked only where live came back from older
	// data, which one that has been running since cannot have done.
	image, err := o.Live.Image(ctx, Look{Before: facts.Loaded(), Versions: o.Assume == "" && o.Past.Same(facts)})
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	// Rows come out of the image once it is complete, and only then is its watermark known.
	judgement, err := lineage.Judge(o.Past, facts, image.Watermark())
	if err != nil && !(o.Assume != "" && errors.Is(err, lineage.ErrForeign)) {
		return nil, false, err
	}
	if o.Assume != "" {
		judgement = judgement.Assume(o.Assume)
	}
	c := Context{Schema: o.Schema, Lineage: judgement, Policy: o.Policy, Now: o.clock(facts), Manned: Manned(image.Workers()),
		Workers: image.Workers(), Taken: o.Past.CreatedAt, Started: o.Started, Queues: o.Queues, ExtendTTL: o.ExtendTTL, Brief: o.Brief,
		Restored: func(k JobKey) bool { return restored[k] }, Survivor: o.Survivor, Settled: settled,
		Halfway: func(k JobKey) bool { settled, signed := restored[k]; return signed && !settled }}
	if judgement.Flushed || judgement.Blind || judgement.Unsure {
		if c.Kept, c.Gone, err = o.survey(image.Rows(), restored); err != nil {
			return nil, false, err
		}
		if judgement.Unsure && judgement.StartedAt.After(o.Past.CreatedAt) && len(c.Kept) == 0 && len(c.Gone) > 0 {
			judgement.Mode, judgement.Unsure = lineage.Older, false
			judgement.Reasons = append(judgement.Reasons, "records of ended jobs are gone before their time, and no job is as it was at the snapshot")
			c.Lineage = judgement
		}
	}
	if r, err = o.compare(&c, facts, image.Rows()); err != nil {
		return nil, false, err
	}
	return r, image.Atomic(), r.orphans(o, image.Rows())
}

// early lets the first reading of rows begin beside what is done until they are asked for:
// they are opened, and the first of them unpacked, while the server is at work. What it
// returns is used by one goroutine.
func early(rows func() Rows) (_ func() Rows, stop func()) {
	begun, stop := index.Begin(rows)
	return func() Rows {
		first := begun
		if begun = nil; first == nil {
			return rows()
		}
		return first
	}, stop
}

// compare judges every job, and once more where the first time shows that single keys
// vanished from a database that seemed to have lost nothing.
func (o *Options) compare(c *Context, facts lineage.Facts, live Rows) (*Result, error) {
	c.signs = newSigns()
	r, err := o.judge(c, facts, live)
	if err != nil {
		return nil, err
	}
	cut, sure, reasons := c.cuts()
	if o.Assume == lineage.Vanished {
		cut, sure = c.signs.dbs, c.signs.dbs
	}
	maps.DeleteFunc(cut, func(db int32, _ bool) bool { return c.lossy(db) })
	if len(cut) > 0 {
		c.Cut, c.sure, c.gone, c.again = cut, sure, c.signs.unlisted, c.signs.again
		c.Lineage.Mode = lineage.Vanished
		c.Lineage.Reasons = append(slices.Clip(c.Lineage.Reasons), reasons...)
		c.signs = newSigns()
		if r, err = o.judge(c, facts, live); err != nil {
			return nil, err
		}
	}
	r.outlived(o, c)
	return r, nil
}

func (o *Options) judge(c *Context, facts lineage.Facts, live Rows) (*Result, error) {
	r := newResult(c, facts)
	for f, err := range Compare(o.Rows(), live, *c) {
		if err != nil {
			return nil, err
		}
		r.take(o, c, &f)
	}
	return r, nil
}

func newResult(c *Context, facts lineage.Facts) *Result {
	return &Result{Lineage: c.Lineage, Facts: facts, Counts: map[Verdict]int{}, Intact: map[Queue]int{}, Settled: &Settled{}}
}

// take adds the finding about one job.
func (r *Result) take(o *Options, c *Context, f *Finding) {
	counts := o.counts(f)
	r.settle(c, f)
	if f.created != 0 {
		c.signs.dbs[f.DB] = true
	}
	if counts {
		r.Counts[f.Verdict]++
		if f.deleted {
			r.Deleted++
		}
	}
	if f.Verdict != Intact {
		r.found.add(*f)
	} else if counts {
		r.Intact[f.In()]++
	}
}

// settle notes a job that needs nothing, where live lost something: once it has left, no
// comparison can know that any more, but for those that the ledger has. One that tells that
// keys vanished will tell so again, and would then seem to have lost them since.
func (r *Result) settle(c *Context, f *Finding) {
	if f.Action == None && f.created != 0 && !f.torn && (c.lossy(f.DB) || c.Cut[f.DB]) && !c.signed(f.Key()) {
		r.Settled.insert(f.DB, fingerprint(f.JobID, f.created))
	}
}

// outlived settles the findings about jobs whose children tell that they ended.
func (r *Result) outlived(o *Options, c *Context) {
	if len(c.signs.ended) == 0 {
		return
	}
	for f := range r.found.all() {
		child, ok := c.signs.ended[f.Key()]
		if !ok || f.Status.Ended() || f.Action == None || f.Seen != nil || f.Verdict == Misplaced {
			continue
		}
		if o.counts(f) {
			r.Counts[f.Verdict]--
			r.Counts[Completed]++
		}
		f.Verdict, f.Action, f.Guard, f.Home, f.ExpireAt, f.DecidedBy = Completed, None, "", nil, 0, ""
		f.Reason = "job " + child + " waited for it alone, and has been started since"
		if !o.Brief {
			f.Evidence = append(f.Evidence, "live: "+f.Reason)
		}
		r.settle(c, f)
	}
}

// clock is the present by the server's clock, which decides what has expired.
func (o *Options) clock(f lineage.Facts) time.Time {
	if f.ServerTime.IsZero() {
		return o.Now()
	}
	return f.ServerTime
}

// Manned reports whether any of the workers is alive.
func Manned(workers []job.Worker) bool {
	return slices.ContainsFunc(workers, func(w job.Worker) bool { return !w.Dead })
}
