package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
)

// ErrWhole says that jobs cannot be judged, or put back, by themselves: everything has to be
// compared.
var ErrWhole = errors.New("these jobs cannot be judged alone")

// Wanted says what to read of a live Redis for some jobs.
type Wanted struct {
	IDs     []string
	Parents []string // jobs whose sets of dependents may name them
	Queues  []string // whose lists and registries may, besides those that are registered
	Groups  []string
}

// Few are some jobs to compare alone. Its functions are not called at once. Each may return
// ErrWhole.
type Few struct {
	IDs    []string // the jobs asked for
	Queues []string // that the snapshot knows
	// Rows returns the snapshot's rows of those ids, of all databases, in order.
	Rows func(ctx context.Context, ids []string) ([]*job.Row, error)
	// Children returns the ids in the snapshot's set of the job's dependents.
	Children func(ctx context.Context, r *job.Row) ([]string, error)
	// Order returns the ids of a queue at the snapshot, head first.
	Order func(ctx context.Context, db int32, queue string) ([]string, error)
	// Image reads some jobs of live, as Live.Image does all.
	Image func(ctx context.Context, w Wanted) (Image, error)
	// Listed returns the ids that stand in a queue of live.
	Listed func(ctx context.Context, db int32, queue string) (map[string]bool, error)
	// Signed returns what Live.Restored does of some jobs.
	Signed func(ctx context.Context, ids []string) (map[JobKey]bool, error)

	rows map[JobKey]*job.Row // of the snapshot: all that was read
	core map[string]bool     // the jobs asked for, and those they wait for
	near map[string]bool     // those that wait for one of them
}

// How many jobs are looked at, and how often anew.
const (
	mostFew   = 1000
	mostMoved = 3 // times that live names other parents
)

// AgainstFew compares some jobs alone, with those that they wait for and that wait for them,
// where a person says that live is older. Of these it gives the same verdicts as Against,
// which then rest on nothing else: no other job is evidence of what became of them. It
// tells o.Survivor of what a restore needs to find their places, and returns their rows and
// those of such neighbours, in order.
//
// ErrWhole is for jobs of which that is not so: that run or may run, that stand in a wrong
// place or in none, or whose neighbours are not found.
func AgainstFew(ctx context.Context, o Options, f *Few) (*Result, []*job.Row, error) {
	if o.Assume != lineage.Older {
		return nil, nil, ErrWhole
	}
	f.rows, f.core = map[JobKey]*job.Row{}, map[string]bool{}
	survivor := o.Survivor
	o.Few, o.Survivor = f, nil
	if err := f.gather(ctx, f.IDs); err != nil {
		return nil, nil, err
	}
	r, err := Against(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if survivor != nil {
		if err := f.neighbours(ctx, r, survivor); err != nil {
			return nil, nil, err
		}
	}
	return r, f.sorted(func(r *job.Row) bool { return !f.near[r.ID] || f.core[r.ID] }), nil
}

// gather reads the rows of more jobs, of all they wait for, and of what waits for those.
func (f *Few) gather(ctx context.Context, ids []string) error {
	for len(ids) > 0 {
		for _, id := range ids {
			f.core[id] = true
		}
		rows, err := f.read(ctx, ids)
		if err != nil {
			return err
		}
		ids = nil
		for _, r := range rows {
			ids = append(ids, f.unknown(r.Parents)...)
		}
	}
	f.near = map[string]bool{}
	for _, r := range f.sorted(func(r *job.Row) bool { return f.core[r.ID] }) {
		if r.Part(job.DependentsPart) == nil {
			continue
		}
		children, err := f.Children(ctx, r)
		if err != nil {
			return err
		}
		for _, id := range children {
			f.near[id] = true
		}
	}
	_, err := f.read(ctx, slices.Sorted(maps.Keys(f.near)))
	return err
}

func (f *Few) unknown(ids []string) (out []string) {
	for _, id := range ids {
		if !f.core[id] {
			out = append(out, id)
		}
	}
	return out
}

func (f *Few) read(ctx context.Context, ids []string) ([]*job.Row, error) {
	if len(f.core)+len(f.near) > mostFew {
		return nil, ErrWhole
	}
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := f.Rows(ctx, ids)
	for _, r := range rows {
		f.rows[JobKey{r.DB, r.ID}] = r
	}
	return rows, err
}

// sorted returns the rows that fit, in order.
func (f *Few) sorted(fits func(*job.Row) bool) []*job.Row {
	var all []*job.Row
	for _, r := range f.rows {
		if fits(r) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, job.Compare)
	return all
}

// wanted says what to read of live.
func (f *Few) wanted() Wanted {
	ids, parents, queues, groups := maps.Clone(f.core), map[string]bool{}, map[string]bool{}, map[string]bool{}
	maps.Copy(ids, f.near)
	for _, q := range f.Queues {
		queues[q] = true
	}
	for k, r := range f.rows {
		if !ids[k.ID] {
			continue
		}
		if r.Queue != "" {
			queues[r.Queue] = true
		}
		if r.Group != "" {
			groups[r.Group] = true
		}
		for _, p := range slices.Concat(r.Parents, r.ListedBy) {
			parents[p] = true
		}
		for _, p := range r.Places {
			switch p.Kind {
			case job.InGroup:
				groups[p.Queue] = true
			case job.InRateLimited, job.InRateAllowed, job.InCompact:
			default:
				queues[p.Queue] = true
			}
		}
	}
	sorted := func(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
	return Wanted{IDs: sorted(ids), Parents: sorted(parents), Queues: sorted(queues), Groups: sorted(groups)}
}

// lookAtFew is look for some jobs alone.
func (o *Options) lookAtFew(ctx context.Context) (r *Result, atomic bool, err error) {
	facts, err := o.Live.Facts(ctx)
	if err != nil {
		return nil, false, err
	}
	if facts.Persistence.Loading || facts.Persistence.AsyncLoading {
		return nil, false, lineage.ErrLoading
	}
	image, err := o.Few.image(ctx)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	signed, err := o.Few.Signed(ctx, o.Few.wanted().IDs)
	if err != nil {
		return nil, false, err
	}
	settled, err := o.Live.Settled(ctx)
	if err != nil {
		return nil, false, err
	}
	c := &Context{Schema: o.Schema, Policy: o.Policy, Now: o.clock(facts), Taken: o.Past.CreatedAt, Started: o.Started, Queues: o.Queues,
		ExtendTTL: o.ExtendTTL, Brief: o.Brief, Settled: settled, signs: newSigns(),
		Lineage: lineage.Judgement{Mode: o.Assume, StartedAt: facts.StartedAt(),
			Reasons: []string{"it was told so, and nothing was looked at but the jobs asked for and what they depend on"}},
		Restored: func(k JobKey) bool { return signed[k] },
		Halfway:  func(k JobKey) bool { settled, ok := signed[k]; return ok && !settled }}
	r, err = o.judgeFew(c, facts, image)
	return r, image.Atomic(), err
}

// image reads live, and once more where a job there waits for others than in the snapshot.
func (f *Few) image(ctx context.Context) (Image, error) {
	for range mostMoved {
		image, err := f.Image(ctx, f.wanted())
		if err != nil {
			return nil, err
		}
		var more []string
		for row, err := range image.Rows() {
			if err != nil {
				return nil, errors.Join(err, image.Close())
			}
			if f.core[row.ID] {
				more = append(more, f.unknown(row.Parents)...)
			}
		}
		if len(more) == 0 {
			return image, nil
		}
		if err := errors.Join(image.Close(), f.gather(ctx, more)); err != nil {
			return nil, err
		}
	}
	return nil, ErrWhole
}

func (o *Options) judgeFew(c *Context, facts lineage.Facts, image Image) (*Result, error) {
	f := o.Few
	r := newResult(c, facts)
	ids := o.Few.wanted().IDs
	snap := f.sorted(func(r *job.Row) bool { _, ok := slices.BinarySearch(ids, r.ID); return ok })
	for p, err := range merge(inOrder(snap), image.Rows()) {
		if err != nil {
			return nil, err
		}
		found := c.find(p)
		if !f.core[found.JobID] {
			continue // it only told what became of those it waits for
		}
		if !alone(p.snap) || !alone(p.live) || !settles(&found) {
			return nil, fmt.Errorf("job %q: %w", found.JobID, ErrWhole)
		}
		r.take(o, c, &found)
	}
	r.outlived(o, c)
	return r, nil
}

func inOrder(rows []*job.Row) Rows {
	return func(yield func(*job.Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// alone reports whether no worker, and no rate limit, has anything to say about the job.
func alone(r *job.Row) bool {
	return r == nil || r.Status != job.Started && r.Status != job.RateLimited && r.Status != job.Ready && !r.Stub && !running(r) &&
		!slices.ContainsFunc(r.Places, func(p job.Place) bool { return p.Kind == job.InRateLimited || p.Kind == job.InCompact })
}

// settles reports whether the finding would be the same with everything in view. That an
// id is in no list takes all lists, and what is to be brought forward all workers.
func settles(f *Finding) bool {
	return !f.Popped && f.Verdict != Misplaced && f.Verdict != Regressed && f.Verdict != InFlight
}
