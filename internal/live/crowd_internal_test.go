package live

import (
	"errors"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

func startAndDial(t *testing.T) (*redistest.Server, *Server) {
	t.Helper()
	r := redistest.Start(t)
	target, err := ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Dial(t.Context(), target, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return r, s
}

func TestStepsAreSmallInACrowd(t *testing.T) {
	t.Parallel()
	r, s := startAndDial(t)
	becomes := func(what string, want int) {
		t.Helper()
		if err := redistest.Poll(10*time.Second, func() error {
			if got := s.crowd.step(64); got != want {
				return errors.New("not yet")
			}
			return nil
		}); err != nil {
			t.Errorf("%s: steps are not of %d keys", what, want)
		}
	}
	becomes("before anything is known", crowdStep)
	stop := s.WatchCrowd(t.Context())
	becomes("alone", 64)
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-over:
				return
			default:
				r.Do("EVAL", "for i = 1, 1000 do redis.call('ping') end", 0)
			}
		}
	}()
	becomes("among others", crowdStep)
	close(over)
	<-done
	becomes("alone again", 64)
	if s.crowd.step(3) != 3 {
		t.Error("a step is more than was asked for")
	}
	stop()
	becomes("when nobody looks", crowdStep)
}

// What the server itself says of the last seconds is believed until there are two looks to
// compare; a server that does not say it has a crowd.
func TestTheFirstLookKnowsACrowd(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"": -1, "instantaneous_ops_per_sec:\r\n": -1, "instantaneous_ops_per_sec:many\r\n": -1,
		"instantaneous_ops_per_sec:0\r\n": 0, "instantaneous_ops_per_sec:2001\r\n": 2001} {
		if got := ofLate(parseInfo(text)); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
	r, s := startAndDial(t)
	if total, _, rate := s.commands(t.Context()); total == 0 || rate < 0 || rate >= crowdRate {
		t.Errorf("alone: got %d commands and %d per second", total, rate)
	}
	r.Do("EVAL", "for i = 1, 100000 do redis.call('ping') end", 0)
	if err := redistest.Poll(10*time.Second, func() error {
		if _, _, rate := s.commands(t.Context()); rate < crowdRate {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		t.Error("after many commands of others: there is no crowd")
	}
	stop := s.WatchCrowd(t.Context())
	s.WatchCrowd(t.Context())() // one within it ends nothing
	if !s.crowd.watched.Load() {
		t.Error("nobody watches any more")
	}
	if stop(); s.crowd.watched.Load() {
		t.Error("somebody watches still")
	}
}
