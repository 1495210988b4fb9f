// Package schedule does things again and again at their times. It knows when, and is told
// what. Of the past it knows only what its State has, so that it can be stopped at any
// moment and go on elsewhere: a time that was missed is made up for once, and one that was
// done is not done again.
package schedule

import (
	"context"
	"errors"
	"hash/fnv"
	"time"
	_ "time/tzdata" // a machine without time zones, as a container is, has those of cron expressions all the same
)

// Errors that a run can end with, besides its own.
var (
	// ErrTimeout: the run took longer than it may.
	ErrTimeout = errors.New("took longer than it may")
	// ErrStopped: the run was stopped because the runner was.
	ErrStopped = errors.New("stopped")
)

// Task is something to do at certain times.
type Task struct {
	Source, Name string // together they name the task
	Times        Times
	Jitter       time.Duration // it begins up to this much later, by a part that its name fixes
	Retries      int           // how often it is tried again after a failure, before its next time
	RetryAfter   time.Duration // before the first of these; each further one waits twice as long
	Timeout      time.Duration // of one try; 0: none
	Run          func(ctx context.Context, slot time.Time) error
}

// ID names the task among all.
func (t *Task) ID() ID { return ID{t.Source, t.Name} }

// ID names a task.
type ID struct{ Source, Name string }

// late is the task's part of the jitter.
func (t *Task) late() time.Duration {
	if t.Jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Source + "\x00" + t.Name))
	return time.Duration(h.Sum64() % uint64(t.Jitter))
}

// Outcome is what became of a slot, which is one of a task's times.
type Outcome struct {
	Slot         time.Time
	Missed       int // slots before this one for which nobody was there
	Tries        int
	Began, Ended time.Time // of the last try
	Err          error     // nil: done
}

// State remembers what was done, for all that ever run these tasks. Its methods may be
// called for several tasks at once.
type State interface {
	// Last is the newest slot of the task that was done or given up; zero if there is none.
	Last(ctx context.Context, id ID) (time.Time, error)
	// Done notes an outcome.
	Done(ctx context.Context, id ID, o Outcome) error
}

// Watcher is told what happens. Its methods may be called for several tasks at once, and
// must not take long.
type Watcher interface {
	// Next: the task will begin then.
	Next(id ID, at time.Time)
	// Began: a try of a slot has begun; the first is 1.
	Began(id ID, slot time.Time, try int)
	// Failed: a try has failed, and there will be another one.
	Failed(id ID, slot time.Time, try int, err error, again time.Time)
	// Ended: the slot is done or given up.
	Ended(id ID, o Outcome)
	// Forgot: the state could not be read, or not written.
	Forgot(id ID, err error)
}

// Options are what a Runner works with. State and Watch are needed.
type Options struct {
	State State
	Watch Watcher
	Grace time.Duration // how long runs may go on once the runner is to stop
}
