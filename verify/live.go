package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
)

// Live is a running Redis, as far as a comparison needs it. Nothing in it writes.
type Live interface {
	// Facts is what the server says of itself.
	Facts(ctx context.Context) (lineage.Facts, error)
	// Image reads the jobs that are there now; instants before the one given count for
	// its watermark.
	Image(ctx context.Context, before time.Time) (Image, error)
	// Restored returns the jobs that restores signed for since the snapshot: true where
	// nothing is left to do, false where one was stopped in the middle of a job.
	Restored(ctx context.Context) (map[JobKey]bool, error)
}

// Image is what a live Redis held.
type Image interface {
	Rows() Rows
	Watermark() time.Time
	// Atomic reports whether all of it is from one instant.
	Atomic() bool
	Close() error
}

// settle is how long a job on the move may seem to be nowhere: from its list to the
// registry of running jobs it takes a worker milliseconds.
const settle = 2 * time.Second

// Options say what to compare with what.
type Options struct {
	Live     Live
	Rows     func() Rows // the snapshot's index, from its beginning
	Past     lineage.Past
	Schema   job.Schema
	Policy   Policy
	Assume   lineage.Mode // what a person knows better than the evidence tells; "" to judge
	Now      func() time.Time
	Survivor func(db int32, queue string, position int64)
	Select   func(*Finding) bool // which findings to count; nil: all
}

// Result is what became of a snapshot's jobs.
type Result struct {
	Lineage  lineage.Judgement
	Facts    lineage.Facts
	Counts   map[Verdict]int // of those selected
	Findings []Finding       // all that are not intact
}

// Against compares a live Redis with a snapshot. If it finds anything to act on that may
// have been moving in an image that is no single instant, it looks a second time: only
// what both looks say counts.
func Against(ctx context.Context, o Options) (*Result, error) {
	first, atomic, err := o.look(ctx)
	if err != nil || !unsettled(first, atomic) {
		return first, err
	}
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	second, _, err := o.look(ctx)
	if err != nil {
		return nil, err
	}
	o.agree(first, second)
	return second, nil
}

// unsettled reports whether the look found anything to act on that may have been moving.
// A job that live knows nothing of at all is not on its way anywhere. One that a worker
// has just taken is in no list even at a single instant.
func unsettled(r *Result, atomic bool) bool {
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Action != None && f.Moving && (!atomic || f.Action == Place) {
			return true
		}
	}
	return false
}

// agree takes back what only the second look says.
func (o *Options) agree(first, second *Result) {
	said := map[JobKey]Finding{}
	for _, f := range first.Findings {
		if f.Action != None {
			said[f.Key()] = f
		}
	}
	for i := range second.Findings {
		f := &second.Findings[i]
		before, ok := said[f.Key()]
		if f.Action == None || ok && before.Verdict == f.Verdict && before.Action == f.Action {
			continue
		}
		counted := o.Select == nil || o.Select(f)
		if counted {
			second.Counts[f.Verdict]--
			second.Counts[Uncertain]++
		}
		f.Reason = fmt.Sprintf("it moved while it was looked at (%s); compare again", f.Verdict)
		f.Verdict, f.Action, f.Guard = Uncertain, Hold, ""
	}
}

func (o *Options) look(ctx context.Context) (r *Result, atomic bool, err error) {
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
	image, err := o.Live.Image(ctx, facts.Loaded())
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	// Rows come out of the image once it is complete, and only then is its watermark known.
	judgement, err := lineage.Judge(o.Past, facts, image.Watermark())
	if err != nil {
		return nil, false, err
	}
	if o.Assume != "" {
		judgement.Reasons = append(judgement.Reasons, "it was told so; the evidence alone says "+string(judgement.Mode))
		judgement.Mode, judgement.Unsure, judgement.Flushed = o.Assume, false, false
	}
	c := Context{Schema: o.Schema, Lineage: judgement, Policy: o.Policy, Now: o.Now(),
		Restored: func(k JobKey) bool { return restored[k] }, Survivor: o.Survivor,
		Halfway: func(k JobKey) bool { settled, signed := restored[k]; return signed && !settled }}
	r = &Result{Lineage: judgement, Facts: facts, Counts: map[Verdict]int{}}
	for f, err := range Compare(o.Rows(), image.Rows(), c) {
		if err != nil {
			return nil, false, err
		}
		if o.Select == nil || o.Select(&f) {
			r.Counts[f.Verdict]++
		}
		if f.Verdict != Intact {
			r.Findings = append(r.Findings, f)
		}
	}
	return r, image.Atomic(), nil
}
