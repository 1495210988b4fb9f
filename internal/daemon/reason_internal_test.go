package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"rqvault/internal/live"
	"rqvault/internal/snapshot"
	"rqvault/internal/watch"
)

func TestAnErrorCountsUnderOneWord(t *testing.T) {
	cases := map[watch.Reason]error{
		"":                     nil,
		watch.Interrupted:      fmt.Errorf("save: %w", errors.Join(context.Canceled, live.ErrUnreachable)),
		watch.RedisUnreachable: fmt.Errorf("connect: %w", live.ErrUnreachable),
		watch.RedisSave:        fmt.Errorf("save: %w", live.ErrSaveFailed),
		watch.NoSpace:          fmt.Errorf("%w: %w", live.ErrSaveFailed, live.ErrNoSpace),
		watch.StoreUnreachable: fmt.Errorf("put: %w: %w", snapshot.ErrUnreachable, context.DeadlineExceeded),
		watch.Damaged:          fmt.Errorf("verify: %w", snapshot.ErrDamaged),
		watch.Timeout:          fmt.Errorf("load: %w", context.DeadlineExceeded),
		watch.Other:            syscall.EIO,
	}
	for want, err := range cases {
		if got := reasonOf(err); got != want {
			t.Errorf("%v counts as %q, want %q", err, got, want)
		}
	}
}

// Every cause that the exit codes tell apart has its word: the word other is for surprises.
func TestEveryWordIsOneOfTheMetrics(t *testing.T) {
	for _, r := range reasons {
		if !slices.Contains(watch.Reasons, r.reason) {
			t.Errorf("%q is no word of the metrics", r.reason)
		}
		for _, cause := range r.causes {
			if got := reasonOf(fmt.Errorf("somewhere: %w", cause)); got != r.reason {
				t.Errorf("%v counts as %q, want %q: an earlier row takes it", cause, got, r.reason)
			}
		}
	}
}
