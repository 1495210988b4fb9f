package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Runner runs tasks. Set says which, Run does it.
type Runner struct {
	o       Options
	mu      sync.Mutex
	tasks   []Task
	changed chan struct{} // closed when Set has been called
}

// New returns a runner without tasks.
func New(o Options) *Runner { return &Runner{o: o, changed: make(chan struct{})} }

// Set replaces the tasks. Runs that have begun go on; a task of the same name begins only
// when the one before has ended.
func (r *Runner) Set(tasks []Task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tasks = tasks
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Runner) current() ([]Task, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tasks, r.changed
}

// Run runs the tasks until stop is closed, and then waits for those that have begun, at
// most as long as Options.Grace says. Where ctx ends, they are stopped at once. It returns
// when nothing runs any more.
func (r *Runner) Run(ctx context.Context, stop <-chan struct{}) {
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	var all sync.WaitGroup
	before := map[ID]<-chan struct{}{} // closed when the task's last loop has ended
	for {
		tasks, changed := r.current()
		pause := make(chan struct{})
		for i := range tasks {
			l := &loop{o: r.o, task: &tasks[i], pause: pause}
			prev, done := before[l.task.ID()], make(chan struct{})
			before[l.task.ID()] = done
			all.Go(func() {
				defer close(done)
				if prev != nil {
					<-prev
				}
				l.run(ctx)
			})
		}
		over := false
		select {
		case <-changed:
		case <-stop:
			over = true
		case <-ctx.Done():
			over = true
		}
		close(pause)
		if over {
			break
		}
	}
	r.drain(ctx, &all, abort)
}

// drain waits for what runs.
func (r *Runner) drain(ctx context.Context, all *sync.WaitGroup, abort context.CancelCauseFunc) {
	idle := make(chan struct{})
	go func() {
		all.Wait()
		close(idle)
	}()
	grace := time.NewTimer(r.o.Grace)
	defer grace.Stop()
	select {
	case <-idle:
		return
	case <-ctx.Done():
	case <-grace.C:
	}
	abort(ErrStopped)
	<-idle
}

// loop runs one task.
type loop struct {
	o     Options
	task  *Task
	pause <-chan struct{} // closed: begin nothing more
	last  time.Time       // the newest slot that is settled, as far as this loop knows
}

func (l *loop) run(ctx context.Context) {
	if !l.recall(ctx) {
		return
	}
	late := l.task.late()
	for {
		now := time.Now()
		slot, missed := Due(l.task.Times, l.last, now.Add(-late))
		if !slot.IsZero() {
			if l.paused(ctx) {
				return
			}
			if l.last.IsZero() {
				missed = 1 // nobody was ever to do it
			}
			l.perform(ctx, slot, missed-1)
			continue
		}
		next := l.task.Times.Next(later(l.last, now.Add(-late)))
		if next.IsZero() {
			return // its times are over
		}
		next = next.Add(late)
		l.o.Watch.Next(l.task.ID(), next)
		if !l.wait(ctx, time.Until(next)) {
			return
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// The pauses between looks at a state that cannot be read.
const (
	recallAfter = time.Second
	recallMost  = time.Minute
)

// recall asks the state what was done last, until it answers.
func (l *loop) recall(ctx context.Context) bool {
	for after := recallAfter; ; after = min(2*after, recallMost) {
		last, err := l.o.State.Last(ctx, l.task.ID())
		if err == nil {
			l.last = last
			return !l.paused(ctx)
		}
		if l.paused(ctx) {
			return false
		}
		l.o.Watch.Forgot(l.task.ID(), err)
		if !l.wait(ctx, after) {
			return false
		}
	}
}

func (l *loop) paused(ctx context.Context) bool {
	select {
	case <-l.pause:
		return true
	default:
		return ctx.Err() != nil
	}
}

// wait reports whether the time passed, and nothing is to stop.
func (l *loop) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return !l.paused(ctx)
	case <-l.pause:
	case <-ctx.Done():
	}
	return false
}

// perform tries a slot until it is done, or its tries are used up, or the next one is due.
func (l *loop) perform(ctx context.Context, slot time.Time, missed int) {
	o := Outcome{Slot: slot, Missed: missed}
	deadline := l.task.Times.Next(slot).Add(l.task.late())
	after := l.task.RetryAfter
	for {
		o.Tries++
		o.Began = time.Now()
		l.o.Watch.Began(l.task.ID(), slot, o.Tries)
		o.Err = l.try(ctx, slot)
		o.Ended = time.Now()
		if o.Err == nil || ctx.Err() != nil || o.Tries > l.task.Retries {
			break
		}
		again := o.Ended.Add(after)
		if l.task.Times.Next(slot).IsZero() || again.Before(deadline) {
			l.o.Watch.Failed(l.task.ID(), slot, o.Tries, o.Err, again)
			if l.wait(ctx, after) {
				after *= 2
				continue
			}
		}
		break
	}
	if o.Err != nil && l.paused(ctx) {
		// It was stopped, or cannot be tried again here: whoever comes next finds it due.
		l.last = slot
		l.o.Watch.Ended(l.task.ID(), o)
		return
	}
	l.last = slot
	l.o.Watch.Ended(l.task.ID(), o)
	if err := l.o.State.Done(context.WithoutCancel(ctx), l.task.ID(), o); err != nil {
		l.o.Watch.Forgot(l.task.ID(), err)
	}
}

// try runs the task once. A panic is its error: other tasks go on.
func (l *loop) try(ctx context.Context, slot time.Time) (err error) {
	if l.task.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, l.task.Timeout, ErrTimeout)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s of %s panicked: %v", l.task.Name, l.task.Source, p)
		}
	}()
	err = l.task.Run(ctx, slot)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return err
}
