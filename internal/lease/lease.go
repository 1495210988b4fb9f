// Package lease lets one of several processes lead, through nothing but a cell in the
// store that they share.
//
// The cell holds who leads, in which generation and for how long without another word (the
// ttl). The leader writes it anew every third of that. No clock is compared between hosts:
//
//   - whoever waits takes over once the cell's tag has not changed for one ttl, counted on
//     its own clock from the moment the answer with that tag had come;
//   - the leader counts from the moment before it sent the request that wrote the tag, and
//     stops a margin before one ttl is over. That moment came before the other, so the
//     leader has stopped when the next one starts, if their clocks run equally fast within
//     that margin, a tenth.
//
// A request whose answer is lost may have been done, or be done later. So each writing
// carries a nonce of its own, and reading back tells whether it was ours; what is done
// later cannot succeed once the tag is another. A lease is given back by writing that, never
// by removing it: not all services honour a condition on a removal, and generations, which
// rise with each leader, would start again.
//
// A lease saves work and does not guard data: a process that is stopped between a Check and
// what it does then may do that after another has begun to lead. What must not be done
// twice needs a condition of its own, such as that no object is ever replaced.
package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// DefaultTTL is how long a leader may be silent before another takes over.
const DefaultTTL = time.Minute

// Parts of a ttl.
const (
	marginPart   = 10 // how much earlier a leader stops than others may start
	renewPart    = 3  // after which a leader writes again
	patiencePart = 6  // for one request
	pollPart     = 6  // between two looks of who waits, at most
	retryPart    = 12 // between two tries of a leader to write
)

// Options says who contends, and how. Owner and Now are required.
type Options struct {
	Owner string           // names this process to people: host and pid
	TTL   time.Duration    // DefaultTTL if 0, an hour at most
	Now   func() time.Time // time.Now
	// Stop, once closed, ends the contest; nil never does. One that leads then goes on until
	// its run returns.
	Stop <-chan struct{}
}

// ErrStopped: Options.Stop was closed before the lease was won.
var ErrStopped = errors.New("no more contest for the lease")

func (o Options) checked() (Options, error) {
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	switch {
	case o.Owner == "" || len(o.Owner) > 1<<10:
		return o, errors.New("an owner's name of up to 1024 bytes is needed")
	case o.Now == nil:
		return o, errors.New("a clock is needed")
	case o.TTL < 100*time.Millisecond || o.TTL > maxTTL:
		return o, fmt.Errorf("the ttl is %s, want between 100ms and %s", o.TTL, maxTTL)
	}
	return o, nil
}

// Lease is one contender.
type Lease struct {
	cell Cell
	o    Options

	// Of the goroutine that runs Keep.
	seen    sighting
	tried   []attempt // against seen.tag, without a clear answer
	highest uint64    // generation that was ever seen
	proven  bool      // that the cell keeps to conditions

	mu     sync.Mutex
	status Status
	hold   *hold // the last one
}

// Status is what is known of a lease.
type Status struct {
	Leading    bool
	Holder     string    // who leads, as far as we know; "" if nobody
	Generation uint64    // of that holder or the last one
	Since      time.Time // by our clock, when we first saw that generation
	Err        error     // why the last request failed, nil if it did not
}

// New returns a contender for the lease in that cell.
func New(cell Cell, o Options) (*Lease, error) {
	o, err := o.checked()
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	return &Lease{cell: cell, o: o}, nil
}

// Status may be called at any time.
func (l *Lease) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Leading = l.hold != nil && l.hold.check() == nil
	return s
}

// Keep calls run whenever this contender has come to lead. The context of run ends when ctx
// does, or with the cause ErrLost when the lease may be another's; run should return then,
// and is called again once the lease is won again. While run winds up after the end of ctx
// the lease is still renewed.
//
// Keep returns, and has given the lease back, when run returned without having lost the
// lease, with run's error; or when ctx has ended, with its cause; or with ErrStopped. It also
// returns when the cell holds something else (ErrForeign), or is none (ErrUnconditional). All other errors
// show in Status, and pass. Keep must not be called again before it has returned.
func (l *Lease) Keep(ctx context.Context, run func(ctx context.Context) error) error {
	for {
		h, err := l.contend(ctx)
		if err != nil {
			return err
		}
		lost, err := l.lead(ctx, h, run)
		if !lost || ctx.Err() != nil {
			return err
		}
	}
}

// contend waits for the lease until ctx ends or Options.Stop is closed.
func (l *Lease) contend(ctx context.Context) (*hold, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-l.o.Stop:
			cancel(ErrStopped)
		case <-ctx.Done():
		}
	}()
	return l.acquire(ctx)
}

// lead calls run and renews the lease until it returns. It reports whether the lease was
// lost meanwhile, and run's error.
func (l *Lease) lead(ctx context.Context, h *hold, run func(ctx context.Context) error) (lost bool, err error) {
	inner, cancel := context.WithCancelCause(context.WithValue(ctx, holdKey{}, h))
	defer cancel(nil)
	h.begin(cancel)
	done := make(chan error, 1)
	go func() { done <- run(inner) }()

	detached := context.WithoutCancel(ctx)
	beat := time.NewTimer(l.o.TTL/renewPart - h.age())
	defer beat.Stop()
	for {
		select {
		case err := <-done:
			lost := h.end()
			if !lost {
				l.release(detached)
			}
			return lost, err
		case <-beat.C:
			if h.check() != nil {
				continue // run has been told
			}
			pause := l.o.TTL / retryPart
			if l.renew(detached, h) == nil {
				pause = max(pause, l.o.TTL/renewPart-h.age())
			}
			beat.Reset(pause)
		}
	}
}

// renew writes the lease again. What its failure means is found out by reading back.
func (l *Lease) renew(ctx context.Context, h *hold) error {
	next := l.seen.record
	before, err := l.write(ctx, next)
	if err == nil {
		h.extend(before)
		return nil
	}
	now, tag, readErr := l.load(ctx)
	switch {
	case readErr != nil && !errors.Is(readErr, ErrForeign):
		return err // nothing is known; the deadline stands
	case readErr == nil && l.confirm(now, tag, h):
		return nil
	case tag != l.seen.tag:
		h.lose()
	}
	return err
}

// confirm reports whether the record that was read back is one that we wrote without
// hearing of it, and takes it for ours then.
func (l *Lease) confirm(r record, tag string, h *hold) bool {
	for _, a := range l.tried {
		if a.nonce == r.Nonce {
			l.own(r, tag)
			h.extend(a.before)
			return true
		}
	}
	return false
}

// release tells the others that they need not wait. If it fails they wait for one ttl.
func (l *Lease) release(ctx context.Context) {
	next := l.seen.record
	next.Released = true
	_, _ = l.write(ctx, next)
}
