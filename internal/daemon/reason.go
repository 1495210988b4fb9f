package daemon

import (
	"context"
	"errors"
	"syscall"

	"rqvault/internal/index"
	"rqvault/internal/lease"
	"rqvault/internal/live"
	"rqvault/internal/rdb"
	"rqvault/internal/replica"
	"rqvault/internal/snapshot"
	"rqvault/internal/watch"
	"rqvault/schedule"
)

// outcomes says under which of the metrics' few words a command's outcome counts.
var outcomes = map[Outcome]watch.Reason{Findings: watch.Differences, Damaged: watch.Damaged, Refused: watch.Refused, Locked: watch.Key}

// reasons says the same of an error. They are tried in order; the first cause that fits
// gives the word. Where the lease was lost or the daemon told to stop, that is why,
// whatever came of it.
var reasons = []struct {
	reason watch.Reason
	causes []error
}{
	{watch.LeaseLost, []error{lease.ErrLost}},
	{watch.Interrupted, []error{context.Canceled, schedule.ErrStopped}},
	{watch.Damaged, []error{snapshot.ErrDamaged, index.ErrDamaged, rdb.ErrDamaged}},
	{watch.NoSpace, []error{syscall.ENOSPC, live.ErrNoSpace}},
	{watch.RedisLoading, []error{live.ErrLoading, replica.ErrLoading}},
	{watch.RedisDenied, []error{live.ErrAuth, replica.ErrAuth, live.ErrTLS, replica.ErrTLS, live.ErrDenied, replica.ErrDenied}},
	{watch.RedisSave, []error{live.ErrSaveFailed, live.ErrSaveRunning, live.ErrSaveTimeout, live.ErrDumpUnreachable, replica.ErrFailed, replica.ErrNotReady, replica.ErrIdle}},
	{watch.RedisUnreachable, []error{live.ErrUnreachable, replica.ErrUnreachable, live.ErrNoMaster, live.ErrNotRedis}},
	{watch.StoreDenied, []error{snapshot.ErrDenied}},
	{watch.StoreUnreachable, []error{snapshot.ErrUnreachable, snapshot.ErrNoStore}},
	{watch.NoSnapshot, []error{snapshot.ErrNoSnapshot}},
	{watch.Timeout, []error{schedule.ErrTimeout, context.DeadlineExceeded}},
}

// reasonOf returns the word for an error, "" for none.
func reasonOf(err error) watch.Reason {
	if err == nil {
		return ""
	}
	for _, r := range reasons {
		for _, cause := range r.causes {
			if errors.Is(err, cause) {
				return r.reason
			}
		}
	}
	var f *failure
	if errors.As(err, &f) && outcomes[f.outcome] != "" {
		return outcomes[f.outcome]
	}
	return watch.Other
}
