package live

import (
	"context"
	"sync/atomic"
	"time"
)

// crowd tells whether other clients keep the server busy while keys are read. Then it is
// asked for little at a time, so that they wait for little; else for as much as makes the
// reading fast.
type crowd struct {
	sent  atomic.Int64 // commands of ours, ever
	quiet atomic.Bool  // hardly anybody else is there
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

// watchCrowd looks again and again at how much others ask of the server, until the function
// that it returns is called. Where that cannot be known, there is a crowd.
func (s *Server) watchCrowd(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer s.crowd.quiet.Store(false)
		total, ours := s.commands(ctx)
		for at, wait := time.Now(), crowdFirst; sleep(ctx, wait) == nil; wait = crowdEvery {
			t, o := s.commands(ctx)
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
	}
}

// commands returns how many commands the server has run since it started, 0 if it does not
// tell, and how many we have sent.
func (s *Server) commands(ctx context.Context) (total, ours int64) {
	in, err := s.info(ctx, "stats")
	if err != nil {
		return 0, 0
	}
	return in.num("total_commands_processed"), s.crowd.sent.Load()
}
