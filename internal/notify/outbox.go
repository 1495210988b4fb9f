package notify

import (
	"context"
	"errors"
	"sync"
	"time"

	"rqvault/internal/alarm"
)

// What an outbox does with a target that does not answer: pauses that double up to an hour,
// for two days, and no more messages kept than somebody would read.
const (
	firstPause = 5 * time.Second
	maxPause   = time.Hour
	keepFor    = 48 * time.Hour
	maxWaiting = 200
)

// Outcome is what became of one attempt to send a notice.
type Outcome struct {
	Target  string
	Notice  alarm.Notice
	Err     error // nil: it was sent
	Dropped bool  // it failed and is not tried again
}

// Outbox sends notices to targets: to each in order, each at its own pace, again and again
// until it arrives. One that does not answer holds up no other.
type Outbox struct {
	report func(Outcome)
	queues []*queue
}

// NewOutbox returns an outbox. Report is called after each attempt, by several goroutines.
func NewOutbox(targets []Target, report func(Outcome)) *Outbox {
	o := &Outbox{report: report}
	for _, t := range targets {
		o.queues = append(o.queues, &queue{Target: t, more: make(chan struct{}, 1)})
	}
	return o
}

// Put takes notices over for sending, and returns at once.
func (o *Outbox) Put(notices []alarm.Notice) {
	for _, n := range notices {
		for _, q := range o.queues {
			if q.wants(n) {
				o.put(q, n)
			}
		}
	}
}

func (o *Outbox) put(q *queue, n alarm.Notice) {
	q.mu.Lock()
	var dropped *alarm.Notice
	if len(q.waiting) == maxWaiting {
		dropped = &q.waiting[0]
		q.waiting = append([]alarm.Notice{}, q.waiting[1:]...)
	}
	q.waiting = append(q.waiting, n)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default: // it knows
	}
	if dropped != nil {
		o.report(Outcome{q.Name, *dropped, errors.New("too many messages wait for this target"), true})
	}
}

// Run sends until ctx is done. Then each target gets one more chance for what waits, for as
// long as last, and Run returns.
func (o *Outbox) Run(ctx context.Context, last time.Duration) {
	var wg sync.WaitGroup
	for _, q := range o.queues {
		wg.Go(func() {
			o.work(ctx, q)
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), last)
			defer cancel()
			o.flush(end, q)
		})
	}
	wg.Wait()
}

// work sends what one target is to get, until ctx is done.
func (o *Outbox) work(ctx context.Context, q *queue) {
	pause := firstPause
	for ctx.Err() == nil {
		n, ok := q.first()
		if !ok {
			select {
			case <-ctx.Done():
			case <-q.more:
			}
			continue
		}
		err := q.Sender.Send(ctx, n)
		if err != nil && ctx.Err() != nil {
			return // the last chance is to come
		}
		if err == nil || errors.Is(err, ErrRefused) || q.tried > keepFor {
			o.done(q, n, err)
			pause = firstPause
			continue
		}
		o.report(Outcome{q.Name, n, err, false})
		asked := pause
		var later *Later
		if errors.As(err, &later) {
			asked = max(asked, later.After)
		}
		sleep(ctx, asked)
		q.tried += asked
		pause = min(2*pause, maxPause)
	}
}

// flush tries what waits once, and gives up at the first failure.
func (o *Outbox) flush(ctx context.Context, q *queue) {
	for {
		n, ok := q.first()
		if !ok {
			return
		}
		err := q.Sender.Send(ctx, n)
		o.done(q, n, err)
		if err != nil && !errors.Is(err, ErrRefused) {
			break
		}
	}
	for {
		n, ok := q.first()
		if !ok {
			return
		}
		o.done(q, n, errors.New("the program ended"))
	}
}

// done takes a notice out of its queue and tells what became of it.
func (o *Outbox) done(q *queue, n alarm.Notice, err error) {
	q.remove(n)
	q.tried = 0
	o.report(Outcome{q.Name, n, err, err != nil})
}

// queue is what one target is to get.
type queue struct {
	Target
	more  chan struct{}
	tried time.Duration // how long the first one has waited between attempts; only its goroutine knows

	mu      sync.Mutex
	waiting []alarm.Notice
}

func (q *queue) first() (alarm.Notice, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return alarm.Notice{}, false
	}
	return q.waiting[0], true
}

// remove takes the notice out, unless it was dropped meanwhile.
func (q *queue) remove(n alarm.Notice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 && q.waiting[0] == n {
		q.waiting = q.waiting[1:]
	}
}
