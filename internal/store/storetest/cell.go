package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"rqvault/internal/lease"
)

// RunCell checks a cell against its contract. Each call of open returns the same cell, which
// is empty, as another process would open it.
func RunCell(t *testing.T, open func(t testing.TB) lease.Cell) {
	ctx := t.Context()
	c := open(t)
	if v, tag, err := c.Load(ctx); v != nil || tag != "" || err != nil {
		t.Fatalf("of an empty cell: got %q, tag %q, error %v", v, tag, err)
	}
	if _, err := c.Swap(ctx, "no such tag", []byte("x")); !errors.Is(err, lease.ErrMoved) {
		t.Errorf("a condition on an empty cell: got error %v, want %v", err, lease.ErrMoved)
	}
	first := swap(t, c, "", "1")
	second := swap(t, open(t), first, "2")
	if first == second || first == "" {
		t.Errorf("tags %q and %q of two values", first, second)
	}
	for _, stale := range []string{"", first, "no such tag"} {
		if _, err := c.Swap(ctx, stale, []byte("3")); !errors.Is(err, lease.ErrMoved) {
			t.Errorf("with tag %q: got error %v, want %v", stale, err, lease.ErrMoved)
		}
	}
	loaded(t, open(t), "2", second)

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Swap(cancelled, second, []byte("4")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v", err)
	}
	if _, _, err := c.Load(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v", err)
	}
	raceForCell(t, open)
}

// raceForCell lets many replace the same value at once, again and again: one succeeds.
func raceForCell(t *testing.T, open func(t testing.TB) lease.Cell) {
	ctx := t.Context()
	const rounds, racers = 20, 8
	_, tag, err := open(t).Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		var wg sync.WaitGroup
		var won atomic.Int32
		var next atomic.Value
		for racer := range racers {
			c := open(t)
			wg.Go(func() {
				got, err := c.Swap(ctx, tag, fmt.Appendf(nil, "round %d, racer %d", round, racer))
				switch {
				case err == nil:
					won.Add(1)
					next.Store(got)
				case !errors.Is(err, lease.ErrMoved):
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d of %d succeeded", round, won.Load(), racers)
		}
		tag = next.Load().(string)
	}
	if _, now, err := open(t).Load(ctx); now != tag || err != nil {
		t.Errorf("after the race: tag %q, want %q; error %v", now, tag, err)
	}
}

func swap(t testing.TB, c lease.Cell, tag, value string) string {
	t.Helper()
	next, err := c.Swap(t.Context(), tag, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	loaded(t, c, value, next)
	return next
}

func loaded(t testing.TB, c lease.Cell, value, tag string) {
	t.Helper()
	if v, now, err := c.Load(t.Context()); string(v) != value || now != tag || err != nil {
		t.Errorf("got %q, tag %q, error %v; want %q, tag %q", v, now, err, value, tag)
	}
}
