package lease_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"rqvault/internal/lease"
)

// world is a cell behind a bad network, and a record of all that leaders did. It is used
// inside a synctest bubble: its seconds take no time.
type world struct {
	t  testing.TB
	mu sync.Mutex

	random  *rand.Rand
	value   []byte
	version int
	calm    bool // nothing goes wrong any more

	deeds []deed
}

// deed is something that only a leader may do.
type deed struct {
	at         time.Time // by the world's clock
	generation uint64
	who        string
}

var errNetwork = errors.New("the network failed")

func newWorld(t testing.TB, seed uint64) *world {
	return &world{t: t, random: rand.New(&shared{source: rand.NewPCG(seed, 1)})}
}

// link is one contender's way to the cell.
type link struct {
	*world
	down bool      // nothing passes
	cut  time.Time // nothing passes before
}

func (w *world) tag() string {
	if w.version == 0 {
		return ""
	}
	return fmt.Sprint("v", w.version)
}

// message decides the fate of one message: how long it takes, and whether it arrives.
func (l *link) message(writes bool) (delay time.Duration, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calm {
		return time.Duration(l.random.IntN(50)) * time.Millisecond, false
	}
	lost = l.down || time.Now().Before(l.cut) || l.random.IntN(16) == 0
	delay = time.Duration(l.random.IntN(300)) * time.Millisecond
	switch l.random.IntN(16) {
	case 0: // slow
		delay = time.Duration(l.random.IntN(10_000)) * time.Millisecond
	case 1: // slow, and the last for a while: this is when mistakes show
		delay = time.Duration(l.random.IntN(10_000)) * time.Millisecond
		if writes {
			l.cut = time.Now().Add(time.Duration(60+l.random.IntN(60)) * time.Second)
		}
	case 2: // long after everybody has given it up
		delay = time.Duration(l.random.IntN(100)) * time.Second
	}
	return delay, lost
}

// call carries do to the server and its end back. What was sent is done when it arrives,
// also if nobody waits for the answer any more.
func (l *link) call(ctx context.Context, writes bool, do func()) error {
	there, lost := l.message(writes)
	back, lostBack := l.message(writes)
	answered := make(chan struct{})
	if !lost {
		time.AfterFunc(there, func() {
			l.mu.Lock()
			do()
			l.mu.Unlock()
			if !lostBack {
				time.AfterFunc(back, func() { close(answered) })
			}
		})
	}
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNetwork, ctx.Err())
	}
}

func (l *link) Load(ctx context.Context) (value []byte, tag string, err error) {
	var v []byte
	var tg string
	if err := l.call(ctx, false, func() { v, tg = l.value, l.tag() }); err != nil {
		return nil, "", err
	}
	return v, tg, nil
}

func (l *link) Swap(ctx context.Context, tag string, value []byte) (string, error) {
	var now string
	moved := false
	err := l.call(ctx, true, func() {
		if moved = l.tag() != tag; !moved {
			l.value = value
			l.version++
			now = l.tag()
		}
	})
	switch {
	case err != nil:
		return "", err
	case moved:
		return "", lease.ErrMoved
	}
	return now, nil
}

// lead does what only a leader may, and notes it, until it is told to stop.
func (w *world) lead(ctx context.Context, l *lease.Lease, who string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		if at := time.Now(); lease.Check(ctx) == nil {
			w.mu.Lock()
			w.deeds = append(w.deeds, deed{at, l.Status().Generation, who})
			w.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return context.Cause(ctx)
}

// judge checks that leaders did not overlap: in the order of time generations rise, and
// each is one contender's.
func (w *world) judge() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := 1; i < len(w.deeds); i++ {
		a, b := w.deeds[i-1], w.deeds[i]
		if b.generation < a.generation || b.generation == a.generation && a.who != b.who {
			w.t.Fatalf("at %s %s acts in generation %d, and %s later %s in %d",
				a.at.Format("15:04:05.000"), a.who, a.generation, b.at.Sub(a.at), b.who, b.generation)
		}
	}
}

// leaders returns how often each contender led since a moment, and the longest time in
// which nobody did.
func (w *world) leaders(since time.Time) (times map[string]int, gap time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	times = map[string]int{}
	last, generation := since, uint64(0)
	for _, d := range w.deeds {
		if d.at.Before(since) {
			continue
		}
		if d.generation != generation {
			times[d.who]++
			generation = d.generation
		}
		gap = max(gap, d.at.Sub(last))
		last = d.at
	}
	return times, max(gap, time.Since(last))
}

// clock runs at a rate of its own and shows another time of day than all others.
func clock(rate float64, offset time.Duration) func() time.Time {
	start := time.Now()
	return func() time.Time {
		return start.Add(offset + time.Duration(rate*float64(time.Since(start)))).Round(0)
	}
}

// shared is a source of random numbers for several goroutines.
type shared struct {
	mu     sync.Mutex
	source rand.Source
}

func (s *shared) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source.Uint64()
}
