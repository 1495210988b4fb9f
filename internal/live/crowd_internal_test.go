package live

import (
	"errors"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

func TestStepsAreSmallInACrowd(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	target, err := ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Dial(t.Context(), target, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
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
	stop := s.watchCrowd(t.Context())
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
