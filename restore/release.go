package restore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"rqvault/internal/job"
	"rqvault/verify"
)

// releaseIDs is how many ids one call of release.lua places: their order among each
// other is then seen by no worker half done.
const releaseIDs = 5000

// release places what was prepared, queue by queue and from the head on: each chunk goes
// behind the one before it. So a worker that is waiting takes the first id first, however
// many calls it takes.
func (a *applier) release(ctx context.Context) error {
	keys := slices.SortedFunc(maps.Keys(a.waiting), func(x, y queueKey) int {
		return cmp.Or(cmp.Compare(x.db, y.db), cmp.Compare(x.name, y.name))
	})
	for _, k := range keys {
		steps := a.waiting[k]
		slices.SortFunc(steps, func(x, y *Step) int {
			return cmp.Or(cmp.Compare(x.Order, y.Order), cmp.Compare(x.JobID, y.JobID))
		})
		last := ""
		for start := 0; start < len(steps); {
			end := start + 1
			for end < len(steps) && end-start < releaseIDs && steps[end].After == steps[start].After {
				end++
			}
			pivot, instead := steps[start].After, last
			if start > 0 && steps[start-1].After == pivot { // the same gap goes on
				pivot, instead = last, ""
			}
			placed, err := a.place(ctx, k, steps[start:end], pivot, instead)
			if err != nil {
				return a.unplaced(err)
			}
			last = cmp.Or(placed, last)
			start = end
		}
		delete(a.waiting, k)
	}
	return nil
}

// unplaced says how many jobs wait for their place when a restore stops between.
func (a *applier) unplaced(err error) error {
	n := 0
	for _, steps := range a.waiting {
		n += len(steps)
	}
	if n == 0 {
		return err
	}
	return fmt.Errorf("%d jobs are written, but not all of them stand in their queues yet: %w", n, err)
}

// place puts ids that belong together into their queue, behind pivot or, if that has left
// it, behind the other. It returns the last that is in its place.
func (a *applier) place(ctx context.Context, k queueKey, steps []*Step, pivot, instead string) (last string, err error) {
	names := a.o.Schema.VersionFields()
	c := Call{Keys: []string{a.w.ledger, a.o.Schema.PlaceKey(job.InQueue, k.name)},
		Args: []any{pivot, instead, a.o.Now().UnixMilli(), len(names)}}
	for _, n := range names {
		c.Args = append(c.Args, n)
	}
	for _, s := range steps {
		key := a.o.Schema.PartKey(s.JobID, job.HashPart)
		c.Keys = append(c.Keys, key)
		c.Args = append(c.Args, JobEntry(s.JobID), s.JobID, key)
	}
	replies, err := a.o.Redis.Run(ctx, int(k.db), releaseScript, []Call{c})
	if err != nil {
		return "", fmt.Errorf("place the jobs of queue %s: %w", k.name, err)
	}
	list, ok := replies[0].([]any)
	if !ok || len(list) != len(steps) {
		reason := errReply.Error()
		if err, ok := replies[0].(error); ok {
			reason = plain(err.Error())
		}
		for _, s := range steps {
			a.outcome(s, Failed, "its data is back, but not its place: "+reason)
		}
		return "", nil
	}
	for i, s := range steps {
		switch list[i] {
		case statePlaced:
			a.finished(s)
			last = s.JobID
		case "gone":
			a.outcome(s, Skipped, "its own expiry passed while it was put back")
		case "changed":
			a.outcome(s, Skipped, "somebody else has had it since its data came back: live wins")
		default:
			a.outcome(s, Skipped, "another run has placed it")
			last = s.JobID
		}
	}
	return last, nil
}

// enqueueReady triggers deferred jobs whose parents have all ended: in RQ that happens
// when a parent ends, which will not happen again.
func (a *applier) enqueueReady(ctx context.Context) error {
	if len(a.ready) == 0 {
		return nil
	}
	for i := 0; i < len(a.ready); {
		db := a.ready[i].DB
		var calls []Call
		for ; i < len(a.ready) && a.ready[i].DB == db && len(calls) < batchCalls; i++ {
			calls = append(calls, a.readyCall(a.ready[i]))
		}
		replies, err := a.o.Redis.Run(ctx, int(db), readyScript, calls)
		if err != nil {
			return fmt.Errorf("enqueue deferred jobs: %w", err)
		}
		for _, r := range replies {
			if err, ok := r.(error); ok {
				return fmt.Errorf("enqueue deferred jobs: %w", err)
			}
		}
	}
	return nil
}

func (a *applier) readyCall(row *job.Row) Call {
	list := a.o.Schema.PlaceKey(job.InQueue, row.Queue)
	c := Call{Keys: []string{a.w.ledger, a.o.Schema.PartKey(row.ID, job.HashPart), a.o.Schema.PlaceKey(job.InDeferred, row.Queue), list, a.o.Schema.QueuesKey()}}
	allow, front := 0, 0
	if row.AllowParentFailed {
		allow = 1
	}
	if row.AtFront {
		front = 1
	}
	fields := a.o.Schema.Queue(a.o.Now())
	c.Args = append(c.Args, JobEntry(row.ID), sign(statePlaced, a.o.Now().UnixMilli()), row.ID, front, allow, len(fields))
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		c.Args = append(c.Args, f, fields[f])
	}
	c.Args = append(c.Args, len(row.Parents))
	var awaited []string
	if s := a.steps[verify.JobKey{DB: row.DB, ID: row.ID}]; s != nil {
		awaited = s.WaitsFor
	}
	for _, parent := range row.Parents {
		optional := 1
		if slices.Contains(awaited, parent) {
			optional = 0 // held back or not selected: missing, but it has not ended
		}
		key := a.o.Schema.PartKey(parent, job.HashPart)
		c.Keys = append(c.Keys, key)
		c.Args = append(c.Args, key, optional)
	}
	return c
}

// parentsFirst orders deferred jobs so that each comes after those it waits for. A
// cycle, which RQ itself could never run, keeps the order given.
func parentsFirst(rows []*job.Row) []*job.Row {
	byKey := make(map[verify.JobKey]*job.Row, len(rows))
	for _, r := range rows {
		byKey[verify.JobKey{DB: r.DB, ID: r.ID}] = r
	}
	out := make([]*job.Row, 0, len(rows))
	seen := make(map[*job.Row]bool, len(rows))
	for _, r := range rows {
		stack := []*job.Row{r}
		for len(stack) > 0 {
			top := stack[len(stack)-1]
			next := unseenParent(top, byKey, seen)
			if !seen[top] && next != nil && !slices.Contains(stack, next) {
				stack = append(stack, next)
				continue
			}
			if !seen[top] {
				seen[top] = true
				out = append(out, top)
			}
			stack = stack[:len(stack)-1]
		}
	}
	return out
}

func unseenParent(r *job.Row, byKey map[verify.JobKey]*job.Row, seen map[*job.Row]bool) *job.Row {
	for _, id := range r.Parents {
		if p := byKey[verify.JobKey{DB: r.DB, ID: id}]; p != nil && p != r && !seen[p] {
			return p
		}
	}
	return nil
}
