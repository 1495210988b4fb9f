package restore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/verify"
)

// releaseIDs is how many ids one call of release.lua places: their order among each
// other is then seen by no worker half done, and nobody waits for longer than some
// milliseconds.
const releaseIDs = 1000

// Pace slows the return of ids into their queues. Its zero value is as fast as Redis.
type Pace struct {
	PerSecond int   // ids per second, over all queues; 0 for no limit
	MaxDepth  int64 // a queue this long gets no more until it has shrunk; 0 for no limit
	// Waiting is told when all queues that are left are too long; it may be nil.
	Waiting func(left int, deepest string, depth int64)
}

func (p Pace) set() bool { return p.PerSecond > 0 || p.MaxDepth > 0 }

// returning is a queue on its way back.
type returning struct {
	key   queueKey
	steps []*task
	next  int    // the first that is not placed
	last  string // the id placed last, by this run
	after string // the one that next has to follow: a survivor, or one placed by whichever run
}

// release places what was prepared from the head on: each chunk goes behind the one before
// it. So a worker that is waiting takes the first id first, however many calls it takes.
// Without a pace, the longest queues first; with one, a little of each in turn.
func (a *applier) release(ctx context.Context) error {
	var queues []*returning
	for _, k := range slices.SortedFunc(maps.Keys(a.waiting), queueKey.compare) {
		steps := a.waiting[k]
		slices.SortFunc(steps, func(x, y *task) int {
			return cmp.Or(cmp.Compare(x.Order, y.Order), cmp.Compare(x.JobID, y.JobID))
		})
		queues = append(queues, &returning{key: k, steps: steps})
	}
	if a.o.Pace.set() {
		return a.releaseSlowly(ctx, queues)
	}
	return a.unplaced(a.releaseAll(ctx, queues))
}

// releaseAll places all of them. Calls about two queues are on their way at once, so that the
// server need not wait; of one queue only one, since each goes by the one before it.
func (a *applier) releaseAll(ctx context.Context, queues []*returning) (err error) {
	slices.SortStableFunc(queues, func(x, y *returning) int { return cmp.Compare(len(y.steps), len(x.steps)) })
	var under []*placing
	for {
		for err == nil && len(queues) > 0 && len(under) < maxFlights {
			q := queues[0]
			for q.next < len(q.steps) && a.passed(q) {
			}
			if queues = queues[1:]; q.next < len(q.steps) {
				under = append(under, a.place(ctx, q, releaseIDs))
			}
		}
		if len(under) == 0 {
			return err
		}
		q := under[0].q
		err = cmp.Or(err, a.placed(under[0]))
		under, queues = under[1:], slices.Insert(queues, 0, q)
	}
}

// releaseSome places at most so many ids of one queue that belong behind the same id.
func (a *applier) releaseSome(ctx context.Context, q *returning, most int) error {
	if a.passed(q) {
		return nil
	}
	return a.placed(a.place(ctx, q, most))
}

// passed notes what the next id has to follow. It reports whether that id stands there
// already, and is done with.
func (a *applier) passed(q *returning) bool {
	s := q.steps[q.next]
	if q.next == 0 || q.steps[q.next-1].After != s.After { // another gap among the survivors
		q.after = s.After
	}
	if !s.placed {
		return false
	}
	a.outcome(s.Step, Skipped, map[bool]string{false: putBack, true: liveHas}[s.others])
	q.after = s.JobID
	q.next++
	a.left(q)
	return true
}

// left notes what of a queue still has to be placed.
func (a *applier) left(q *returning) {
	if a.waiting[q.key] = q.steps[q.next:]; q.next == len(q.steps) {
		delete(a.waiting, q.key)
	}
}

// releaseSlowly places what the pace allows, second by second, until all are placed.
func (a *applier) releaseSlowly(ctx context.Context, queues []*returning) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		queues = slices.DeleteFunc(queues, func(q *returning) bool { return q.next == len(q.steps) })
		if len(queues) == 0 {
			return nil
		}
		if err := a.releaseRound(ctx, queues); err != nil {
			return a.unplaced(err)
		}
		if len(a.waiting) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return a.unplaced(context.Cause(ctx))
		}
	}
}

// releaseRound is one second's worth, in equal shares as far as they go.
func (a *applier) releaseRound(ctx context.Context, queues []*returning) error {
	budget, left, placed := cmp.Or(a.o.Pace.PerSecond, math.MaxInt), 0, 0
	deepest, depth := "", int64(0)
	for i, q := range queues {
		share := min(budget/(len(queues)-i), len(q.steps)-q.next)
		if budget > 0 && share == 0 {
			share = 1
		}
		if a.o.Pace.MaxDepth > 0 {
			n, err := a.depth(ctx, q.key)
			if err != nil {
				return err
			}
			if n > depth {
				deepest, depth = q.key.name, n
			}
			share = int(min(int64(share), max(a.o.Pace.MaxDepth-n, 0)))
		}
		for share > 0 {
			before := q.next
			if err := a.releaseSome(ctx, q, min(share, releaseIDs)); err != nil {
				return err
			}
			n := q.next - before
			share, budget, placed = share-n, budget-n, placed+n
		}
		left += len(q.steps) - q.next
		if budget <= 0 {
			break
		}
	}
	if placed == 0 && a.o.Pace.Waiting != nil {
		a.o.Pace.Waiting(left, deepest, depth)
	}
	return nil
}

func (a *applier) depth(ctx context.Context, k queueKey) (int64, error) {
	replies, err := a.o.Redis.Pipeline(ctx, int(k.db), [][]any{{"LLEN", a.o.Schema.PlaceKey(job.InQueue, k.name)}})
	if err == nil {
		err, _ = replies[0].(error)
	}
	if err != nil {
		return 0, fmt.Errorf("look how long queue %s is: %w", k.name, err)
	}
	n, _ := replies[0].(int64)
	return n, nil
}

// unplaced says how many jobs wait for their place when a restore stops between.
func (a *applier) unplaced(err error) error {
	if err == nil {
		return nil
	}
	n := 0
	for _, steps := range a.waiting {
		n += len(steps)
	}
	if n == 0 {
		return err
	}
	return fmt.Errorf("%d jobs are written, but not all of them stand in their queues yet: %w", n, err)
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
		if err := a.all(ctx, int(db), readyScript, calls); err != nil {
			return fmt.Errorf("enqueue deferred jobs: %w", err)
		}
	}
	return nil
}

// all runs calls of which none may fail.
func (a *applier) all(ctx context.Context, db int, script Script, calls []Call) error {
	if len(calls) == 0 {
		return nil
	}
	replies, err := a.o.Redis.Run(ctx, db, script, calls)
	if err != nil {
		return err
	}
	for _, r := range replies {
		if err, ok := r.(error); ok {
			return err
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
	if t := a.tasks.of(row.DB, row.ID); t != nil {
		awaited = t.WaitsFor
	}
	for _, parent := range row.Parents {
		optional := 1
		if slices.Contains(awaited, parent) {
			optional = 0 // held back or not selected: missing, but it has not ended
		}
		key := a.o.Schema.PartKey(parent, job.HashPart)
		family := a.o.Schema.PartKey(parent, job.DependentsPart)
		c.Keys = append(c.Keys, key, family)
		c.Args = append(c.Args, key, optional, family)
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
