package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rqvault/internal/alarm"
	"rqvault/internal/notify"
)

// faulty is a target that fails as it is told, and notes what arrived and when it was asked.
type faulty struct {
	mu      sync.Mutex
	fail    func(attempt int) error
	asked   []time.Time
	arrived []string
}

func (f *faulty) Send(ctx context.Context, n alarm.Notice) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, time.Now())
	if err := errors.Join(f.fail(len(f.asked)), ctx.Err()); err != nil {
		return err
	}
	f.arrived = append(f.arrived, n.Alarm.Source)
	return nil
}

// soFar is what arrived and how often it was asked, for a look while others work.
func (f *faulty) soFar() (arrived []string, asked int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.arrived), len(f.asked)
}

func never(int) error { return nil }

func about(source string, s alarm.Severity) alarm.Notice {
	return alarm.Notice{State: alarm.Firing, Alarm: alarm.Alarm{Name: alarm.JobsLost, Source: source, Severity: s}, Peak: s, At: noon}
}

// run lets an outbox work until the test's function returns, in time that is not real.
func run(t *testing.T, targets []notify.Target, last time.Duration, act func(o *notify.Outbox)) (outcomes []notify.Outcome) {
	var mu sync.Mutex
	synctest.Test(t, func(t *testing.T) {
		o := notify.NewOutbox(targets, func(r notify.Outcome) {
			mu.Lock()
			defer mu.Unlock()
			outcomes = append(outcomes, r)
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			o.Run(ctx, last)
			close(done)
		}()
		act(o)
		stop()
		<-done
	})
	return outcomes
}

// pass lets time pass; nothing but timers counts in there.
func pass(d time.Duration) { <-time.After(d) }

func TestEachTargetGetsWhatItWantsAtItsOwnPace(t *testing.T) {
	gone := errors.New("no route to host")
	good, slow, calm := &faulty{fail: never}, &faulty{fail: func(n int) error {
		if n <= 4 {
			return gone
		}
		return nil
	}}, &faulty{fail: never}
	targets := []notify.Target{{Name: "good", Sender: good}, {Name: "slow", Sender: slow}, {Name: "calm", Least: alarm.Critical, Sender: calm}}
	outcomes := run(t, targets, time.Second, func(o *notify.Outbox) {
		o.Put([]alarm.Notice{about("a", alarm.Warning), about("b", alarm.Critical)})
		synctest.Wait()
		first, _ := good.soFar()
		if second, _ := slow.soFar(); !slices.Equal(first, []string{"a", "b"}) || len(second) != 0 {
			t.Errorf("at once: good got %v, slow %v", first, second)
		}
		pass(time.Hour)
	})
	if !slices.Equal(slow.arrived, []string{"a", "b"}) || !slices.Equal(calm.arrived, []string{"b"}) {
		t.Errorf("slow got %v, calm %v", slow.arrived, calm.arrived)
	}
	var pauses []time.Duration
	for i := 1; i < 5; i++ {
		pauses = append(pauses, slow.asked[i].Sub(slow.asked[i-1]))
	}
	if want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second}; !slices.Equal(pauses, want) {
		t.Errorf("pauses %v, want %v", pauses, want)
	}
	failed := slices.DeleteFunc(outcomes, func(o notify.Outcome) bool { return o.Err == nil })
	if len(failed) != 4 || failed[0].Target != "slow" || failed[0].Dropped || !errors.Is(failed[0].Err, gone) {
		t.Errorf("failures: %+v", failed)
	}
}

func TestWhatIsRefusedIsDroppedAtOnce(t *testing.T) {
	f := &faulty{fail: func(n int) error {
		if n == 1 {
			return fmt.Errorf("%w: gone", notify.ErrRefused)
		}
		return nil
	}}
	outcomes := run(t, []notify.Target{{Name: "x", Sender: f}}, time.Second, func(o *notify.Outbox) {
		o.Put([]alarm.Notice{about("a", alarm.Critical), about("b", alarm.Critical)})
		synctest.Wait()
	})
	if len(outcomes) != 2 || !outcomes[0].Dropped || outcomes[1].Err != nil || !slices.Equal(f.arrived, []string{"b"}) {
		t.Errorf("outcomes %+v, arrived %v", outcomes, f.arrived)
	}
}

func TestATargetThatIsGoneForDays(t *testing.T) {
	f := &faulty{fail: func(int) error { return errors.New("away") }}
	outcomes := run(t, []notify.Target{{Name: "x", Sender: f}}, time.Second, func(o *notify.Outbox) {
		o.Put([]alarm.Notice{about("a", alarm.Critical)})
		pass(40 * time.Hour)
		if _, n := f.soFar(); n < 40 || n > 60 {
			t.Errorf("asked %d times in 40 hours", n)
		}
		pass(20 * time.Hour)
	})
	last := outcomes[len(outcomes)-1]
	if !last.Dropped || slices.ContainsFunc(outcomes[:len(outcomes)-1], func(o notify.Outcome) bool { return o.Dropped }) {
		t.Errorf("it has to be dropped once, in the end: %+v", last)
	}
}

func TestOnlySoManyWait(t *testing.T) {
	f := &faulty{fail: func(n int) error {
		if n == 1 {
			return errors.New("away")
		}
		return nil
	}}
	outcomes := run(t, []notify.Target{{Name: "x", Sender: f}}, time.Second, func(o *notify.Outbox) {
		for i := range 250 {
			o.Put([]alarm.Notice{about(fmt.Sprintf("%03d", i), alarm.Critical)})
		}
		synctest.Wait()
		pass(time.Minute)
	})
	dropped := 0
	for _, o := range outcomes {
		if o.Dropped {
			dropped++
		}
	}
	if dropped != 50 || len(f.arrived) != 200 || f.arrived[0] != "050" || f.arrived[199] != "249" {
		t.Errorf("%d dropped, %d arrived, from %s", dropped, len(f.arrived), f.arrived[0])
	}
}

func TestTheLastChance(t *testing.T) {
	flaky := &faulty{fail: func(n int) error {
		if n == 1 {
			return errors.New("away")
		}
		return nil
	}}
	dead := &faulty{fail: func(int) error { return errors.New("away") }}
	outcomes := run(t, []notify.Target{{Name: "flaky", Sender: flaky}, {Name: "dead", Sender: dead}}, time.Second, func(o *notify.Outbox) {
		o.Put([]alarm.Notice{about("a", alarm.Critical), about("b", alarm.Critical)})
		synctest.Wait() // both pause now
	})
	if !slices.Equal(flaky.arrived, []string{"a", "b"}) || len(dead.asked) != 2 {
		t.Errorf("flaky got %v, dead was asked %d times", flaky.arrived, len(dead.asked))
	}
	dropped := map[string]int{}
	for _, o := range outcomes {
		if o.Dropped {
			dropped[o.Target]++
		}
	}
	if dropped["flaky"] != 0 || dropped["dead"] != 2 {
		t.Errorf("dropped: %v", dropped)
	}
}

func TestAReceiverThatAsksForTimeGetsIt(t *testing.T) {
	f := &faulty{fail: func(n int) error {
		if n == 1 {
			return fmt.Errorf("send: %w", &notify.Later{Err: errors.New("busy"), After: 30 * time.Minute})
		}
		return nil
	}}
	run(t, []notify.Target{{Name: "x", Sender: f}}, time.Second, func(o *notify.Outbox) {
		o.Put([]alarm.Notice{about("a", alarm.Critical)})
		pass(time.Hour)
	})
	if len(f.asked) != 2 || f.asked[1].Sub(f.asked[0]) != 30*time.Minute {
		t.Errorf("asked at %v", f.asked)
	}
}

// A hook that is away for a moment, over real HTTP and to the end.
func TestAMessageArrives(t *testing.T) {
	hook, got := receiver(t, 500, 200)
	ctx, stop := context.WithCancel(t.Context())
	var outcomes []notify.Outcome
	o := notify.NewOutbox([]notify.Target{{Name: "x", Sender: notify.Slack{URL: hook}}}, func(r notify.Outcome) {
		outcomes = append(outcomes, r)
		stop()
	})
	o.Put([]alarm.Notice{about("a", alarm.Critical)})
	o.Run(ctx, 5*time.Second)
	if len(got()) != 2 || len(outcomes) != 2 || outcomes[0].Err == nil || outcomes[0].Dropped || outcomes[1].Err != nil {
		t.Errorf("%d requests, outcomes %+v", len(got()), outcomes)
	}
}

func TestHeartbeat(t *testing.T) {
	hook, got := receiver(t, 200)
	if err := (notify.Heartbeat{URL: hook}).Beat(t.Context()); err != nil || len(got()) != 1 {
		t.Errorf("a beat: %v, %d requests", err, len(got()))
	}
	gone, asked := receiver(t, 404)
	err := (notify.Heartbeat{URL: gone}).Beat(t.Context())
	if !errors.Is(err, notify.ErrRefused) || len(asked()) != 1 || strings.Contains(err.Error(), password) {
		t.Errorf("nobody there: %v, %d requests", err, len(asked()))
	}
}

func TestABeatIsTriedAgain(t *testing.T) {
	hook, got := receiver(t, 500, 200)
	if err := (notify.Heartbeat{URL: hook}).Beat(t.Context()); err != nil || len(got()) != 2 {
		t.Errorf("%v after %d requests", err, len(got()))
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := (notify.Heartbeat{URL: hook}).Beat(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
}
