package daemon

import (
	"context"
	"errors"
	"time"

	"rqvault/internal/lease"
	"rqvault/internal/snapshot"
	"rqvault/internal/watch"
	"rqvault/schedule"
)

// A leader is the schedule's memory, which is in the store, and its watcher, which logs and
// measures.
var (
	_ schedule.State   = (*leader)(nil)
	_ schedule.Watcher = (*leader)(nil)
)

// errNoKeys: nothing can be done for a source without its keys.
var errNoKeys = errors.New("the keys of the source cannot be read")

// errNoSource: a source that the configuration does not name any more.
var errNoSource = errors.New("the source is not configured any more")

// Last returns the newest slot of a task that was done or given up.
func (l *leader) Last(ctx context.Context, id schedule.ID) (time.Time, error) {
	s := l.charge(id.Source)
	if s == nil {
		return time.Time{}, errNoSource
	}
	cat := s.catalog()
	if cat == nil {
		return time.Time{}, errNoKeys
	}
	last, _, err := cat.LastRuns(ctx, id.Name)
	if err != nil || id.Name != string(watch.Backup) {
		return last, err
	}
	// A leader can have died, or lost the lease, between a snapshot and its note.
	ids, err := cat.IDs(ctx)
	if err != nil {
		return last, err
	}
	m, err := s.newest(ctx, cat, ids)
	if m != nil && m.Slot.After(last) {
		last = m.Slot
	}
	return last, err
}

// Done notes in the store what became of a slot.
func (l *leader) Done(ctx context.Context, id schedule.ID, o schedule.Outcome) error {
	s := l.charge(id.Source)
	if s == nil {
		return errNoSource
	}
	if err := lease.Check(ctx); err != nil {
		return err
	}
	r := snapshot.Run{Task: id.Name, Slot: o.Slot, OK: o.Err == nil, Began: o.Began.UTC(), Ended: o.Ended.UTC(), Tries: o.Tries, Missed: o.Missed, Owner: owner()}
	if o.Err != nil {
		r.Why = string(reasonOf(o.Err)) // not its words: they may name what is nobody else's business
	}
	return s.catalog().NoteRun(ctx, r)
}

// Next implements schedule.Watcher.
func (l *leader) Next(id schedule.ID, at time.Time) {
	l.d.Metrics.NextRun(id.Source, watch.Task(id.Name), at)
}

// Began implements schedule.Watcher.
func (l *leader) Began(id schedule.ID, slot time.Time, try int) {
	l.d.Log.Debug("begun", "source", id.Source, "task", id.Name, "slot", slot.UTC(), "try", try)
	l.d.Metrics.RunStarted(id.Source, watch.Task(id.Name), l.d.Now())
}

// Failed implements schedule.Watcher.
func (l *leader) Failed(id schedule.ID, slot time.Time, try int, err error, again time.Time) {
	if reasonOf(err) == watch.NoSnapshot {
		l.d.Log.Info("waits for the first snapshot", "source", id.Source, "task", id.Name, "again_at", again.UTC())
		return
	}
	l.d.Log.Warn("failed, to be tried again", "source", id.Source, "task", id.Name, "slot", slot.UTC(), "try", try, "again_at", again.UTC(), "error", line(err))
	if s := l.charge(id.Source); s != nil {
		s.failed(watch.Task(id.Name), l.d.Now(), reasonOf(err))
	}
}

// Ended implements schedule.Watcher.
func (l *leader) Ended(id schedule.ID, o schedule.Outcome) {
	task := watch.Task(id.Name)
	why := reasonOf(o.Err)
	s := l.charge(id.Source)
	var on []watch.Phase
	if s != nil {
		on = s.spentOn(task)
	}
	l.d.Metrics.RunEnded(watch.Run{Source: id.Source, Task: task, Started: o.Began, Ended: o.Ended, Reason: why, Phases: on})
	if o.Missed > 0 {
		l.d.Log.Warn("made up for missed runs", "source", id.Source, "task", id.Name, "missed", o.Missed)
	}
	if o.Err == nil {
		l.d.Log.Info("done", "source", id.Source, "task", id.Name, "slot", o.Slot.UTC(), "took", o.Ended.Sub(o.Began).Round(time.Millisecond))
		if s != nil {
			s.succeeded(task, o.Ended)
		}
		return
	}
	if why == watch.NoSnapshot {
		l.d.Log.Warn("not done: there is no snapshot yet", "source", id.Source, "task", id.Name, "slot", o.Slot.UTC())
		return
	}
	l.d.Log.Error("failed", "source", id.Source, "task", id.Name, "slot", o.Slot.UTC(), "tries", o.Tries, "reason", why, "error", line(o.Err))
	if s != nil {
		s.failed(task, o.Ended, why)
	}
}

// Forgot implements schedule.Watcher.
func (l *leader) Forgot(id schedule.ID, err error) {
	l.d.Log.Error("the store does not tell, or does not take, what was done", "source", id.Source, "task", id.Name, "error", line(err))
}
