package lease

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrLost: this process does not lead any more, or cannot know that it does.
var ErrLost = errors.New("the lease was lost: another process may lead by now")

// holdKey is where a context carries the hold under which it was given.
type holdKey struct{}

// Check reports ErrLost if ctx comes from Keep and its lease is not ours any more. It
// compares clocks rather than looks at ctx: a process that was stopped and goes on learns
// it here before any timer of its own has fired. Call it right before whatever only a
// leader should do. A context that is under no lease passes: a person needs none.
func Check(ctx context.Context) error {
	h, _ := ctx.Value(holdKey{}).(*hold)
	if h == nil {
		return nil
	}
	return h.check()
}

// hold is one time of leading. Once lost it stays so.
type hold struct {
	now    func() time.Time
	length time.Duration // how long one writing is good for

	mu     sync.Mutex
	from   time.Time // before the last writing that is known to be done
	lost   bool
	cancel context.CancelCauseFunc // of the leader's context
	alarm  *time.Timer             // fires at the deadline
}

// begin starts the alarm that ends the leader's context.
func (h *hold) begin(cancel context.CancelCauseFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cancel = cancel
	h.alarm = time.AfterFunc(h.length-h.elapsed(), h.ring)
}

// end stops the alarm and reports whether the lease had been lost. Check fails from then on.
func (h *hold) end() (lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alarm.Stop()
	lost = !h.valid()
	h.lost = true
	return lost
}

// ring is called at what was the deadline when the alarm was set.
func (h *hold) ring() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.valid() {
		h.alarm.Reset(max(h.length-h.elapsed(), time.Millisecond))
	}
}

// check reports ErrLost once the deadline has passed or the lease was seen to be another's.
func (h *hold) check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.valid() {
		return ErrLost
	}
	return nil
}

// extend counts anew from the moment before a writing. One whose answer came after the
// deadline comes too late: the leader has been told to stop.
func (h *hold) extend(from time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.valid() {
		h.from = from
		h.valid()
	}
}

// lose ends the hold at once.
func (h *hold) lose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = true
	h.valid()
}

// age is the time since the last writing.
func (h *hold) age() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.elapsed()
}

// valid reports whether the lease is held, and ends the leader's context if it is not. The
// caller has the lock.
func (h *hold) valid() bool {
	if !h.lost && h.elapsed() < h.length {
		return true
	}
	h.lost = true
	if h.cancel != nil {
		h.cancel(ErrLost)
	}
	return false
}

// elapsed is the time since from by the process' own clock, or by the clock on the wall if
// that went further: the first stands still while a machine sleeps. The caller has the lock.
func (h *hold) elapsed() time.Duration {
	now := h.now()
	return max(now.Sub(h.from), now.Round(0).Sub(h.from.Round(0)))
}
