package restore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"rqvault/internal/redistest"
	"rqvault/restore"
)

// paced restores with a pace and returns the ids in the order in which they came to be
// placed.
func paced(ctx context.Context, d *taken, s *redistest.Server, plan *restore.Plan, p restore.Pace) ([]string, error) {
	o := d.options(s, connect(d.t, s, ""), &told{})
	o.Pace = p
	var placed []string
	o.Outcome = func(x restore.Outcome) {
		if x.Result == restore.Restored {
			placed = append(placed, x.JobID)
		}
	}
	err := restore.Apply(ctx, plan, o)
	return placed, err
}

func TestARateIsKeptAndShared(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var want []string
	for i := range 12 {
		enqueue(s, fmt.Sprintf("q%02d", i))
		want = append(want, fmt.Sprintf("q%02d", i))
	}
	for i := range 2 {
		id := fmt.Sprintf("r%d", i)
		hash(s, id, "queued", "origin", "r")
		s.Do("RPUSH", "rq:queue:r", id)
	}
	d := take(t, s)
	s.Do("FLUSHALL")
	got, err := paced(t.Context(), d, s, d.plan(s, everything), restore.Pace{PerSecond: 6})
	if err != nil {
		t.Fatal(err)
	}
	// Half for each queue as long as both have any, then all for the one that is left.
	if order := []string{"q00", "q01", "q02", "r0", "r1", "q03"}; !slices.Equal(got[:6], order) {
		t.Errorf("the first second placed %q, want %q", got[:6], order)
	}
	wantQueue(t, s, want...)
}

func TestALongQueueGetsNoMore(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b", "c", "d", "e")
	d := take(t, s)
	s.Do("FLUSHALL")
	enqueue(s, "new1", "new2")
	waited := 0
	got, err := paced(t.Context(), d, s, d.plan(s, everything), restore.Pace{MaxDepth: 4, Waiting: func(left int, deepest string, depth int64) {
		if waited++; left != 3 || deepest != "q" || depth != 4 {
			t.Errorf("told of %d ids, %s with %d, want 3, q with 4", left, deepest, depth)
		}
		wantQueue(t, s, "a", "b", "new1", "new2")
		for range 4 { // workers
			s.Do("LPOP", "rq:queue:q")
		}
	}})
	if err != nil || waited != 1 {
		t.Fatalf("%v, waited %d times", err, waited)
	}
	if !slices.Equal(got, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("placed %q", got)
	}
	wantQueue(t, s, "c", "d", "e")
}

// Stopped in the middle, the same command goes on.
func TestASlowReturnThatIsStopped(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b", "c", "d")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	ctx, stop := context.WithCancel(t.Context())
	got, err := paced(ctx, d, s, plan, restore.Pace{MaxDepth: 3, Waiting: func(int, string, int64) { stop() }})
	if !errors.Is(err, context.Canceled) || !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("%v, placed %q", err, got)
	}
	s.Do("LPOP", "rq:queue:q")
	out := d.apply(s, connect(t, s, ""), plan)
	if out.err != nil {
		t.Fatal(out.err)
	}
	wantIDs(t, "restored", out.with(restore.Restored), "d")
	wantQueue(t, s, "b", "c", "d")
}

// What the first run brought forward stands before what the second puts behind it.
func TestAPlanFollowedAgainKeepsTheOrder(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	laterStates(s)
	d := take(t, s)
	olderStates(s)
	plan := d.plan(s, everything)
	ctx, stop := context.WithCancel(t.Context())
	o := d.options(s, connect(t, s, ""), &told{})
	o.Pace = restore.Pace{PerSecond: 1}
	o.Outcome = func(x restore.Outcome) {
		if x.JobID == "child" {
			stop()
		}
	}
	if err := restore.Apply(ctx, plan, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	wantQueue(t, s, "first", "child", "last")
	if out := d.apply(s, connect(t, s, ""), plan); out.err != nil {
		t.Fatal(out.err)
	}
	wantQueue(t, s, "first", "child", "due", "requeued", "last")
}
