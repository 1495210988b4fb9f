package live

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"
)

// crowd tells whether other clients keep the server busy while keys are read. Then it is
// asked for little at a time, so that they wait for little; else for as much as makes the
// reading fast.
type crowd struct {
	sent    atomic.Int64 // commands of ours, ever
	quiet   atomic.Bool  // hardly anybody else is there
	watched atomic.Bool
}

const (
	// crowdStep is how many keys are asked for at once where others are there: some tens
	// of microseconds of the server's time.
	crowdStep = 4
	// crowdRate is how many commands per second of others make a crowd. What is under way of
	// ours at the time of a look, a few hundred, must not.
	crowdRate  = 2000
	crowdFirst = 100 * time.Millisecond // between the first two looks
	crowdEvery = 500 * time.Millisecond
)

// step is how many keys to ask for at once instead of so many.
func (c *crowd) step(most int) int {
	if c.quiet.Load() {
		return most
	}
	return min(most, crowdStep)
}

// Crowded reports whether others keep the server busy, as far as WatchCrowd has seen.
func (s *Server) Crowded() bool { return !s.crowd.quiet.Load() }

// WatchCrowd looks again and again at how much others ask of the server, until the function
// that it returns is called. Where that cannot be known, there is a crowd. Reading keys
// watches by itself; who does that several times in a row may watch all the while.
func (s *Server) WatchCrowd(ctx context.Context) (stop func()) {
	if s.crowd.watched.Swap(true) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer s.crowd.quiet.Store(false)
		total, ours, rate := s.commands(ctx)
		s.crowd.quiet.Store(total > 0 && rate >= 0 && rate < crowdRate) // nothing was asked yet: see commands
		if rate >= crowdRate {
			s.opts.Crowded()
		}
		for at, wait := time.Now(), crowdFirst; sleep(ctx, wait) == nil; wait = crowdEvery {
			t, o, _ := s.commands(ctx)
			now := time.Now()
			others := float64(t-total-(o-ours)) / now.Sub(at).Seconds()
			known := total > 0 && t > 0
			s.crowd.quiet.Store(known && others < crowdRate)
			if known && others >= crowdRate {
				s.opts.Crowded()
			}
			total, ours, at = t, o, now
		}
	}()
	return func() {
		cancel()
		<-over
		s.crowd.watched.Store(false)
	}
}

// commands returns how many commands the server has run since it started, 0 if it does not
// tell, how many we have sent, and how many per second it ran of late, -1 if it does not
// tell: with those that we may just have sent, so it is no less than what others ask.
func (s *Server) commands(ctx context.Context) (total, ours, rate int64) {
	in, err := s.info(ctx, "stats")
	if err != nil {
		return 0, 0, -1
	}
	return in.num("total_commands_processed"), s.crowd.sent.Load(), ofLate(in)
}

func ofLate(in infoFields) int64 {
	n, err := strconv.ParseInt(in.str("instantaneous_ops_per_sec"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}
