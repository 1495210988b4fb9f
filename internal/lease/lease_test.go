package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rqvault/internal/lease"
)

const ttl = time.Minute

func contender(t testing.TB, cell lease.Cell, owner string, now func() time.Time) *lease.Lease {
	t.Helper()
	l, err := lease.New(cell, lease.Options{Owner: owner, TTL: ttl, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Six contenders with clocks that differ by hours and run up to four per cent too fast or
// too slow, over a network that loses messages, delays others by seconds or minutes and cuts
// contenders off for minutes, while they give the lease back now and then. Afterwards everything works again, and so must they.
func TestAtMostOneLeadsWhateverTheNetworkDoes(t *testing.T) {
	changes := 0
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { changes += storm(t, seed) })
		})
	}
	if changes < 20*20 {
		t.Errorf("the lease changed hands %d times in all: this shows little", changes)
	}
}

// storm runs one world for three bad hours and as many good ones, and returns how often the leader
// changed.
func storm(t *testing.T, seed uint64) int {
	w := newWorld(t, seed)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	links := make([]*link, 6)
	for i := range links {
		links[i] = &link{world: w}
		rate, offset := 1+0.04*(2*w.random.Float64()-1), time.Duration(w.random.IntN(48)-24)*time.Hour
		who := fmt.Sprint("contender ", i)
		l := contender(t, links[i], who, clock(rate, offset))
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = l.Keep(ctx, func(ctx context.Context) error {
					w.mu.Lock()
					turn := time.Duration(60+w.random.IntN(1200)) * time.Second
					if w.calm { // often enough that each has its turn
						turn = time.Duration(30+w.random.IntN(120)) * time.Second
					}
					w.mu.Unlock()
					ctx, stop := context.WithTimeout(ctx, turn)
					defer stop()
					return w.lead(ctx, l, who)
				})
			}
		})
	}
	for range 36 {
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		for _, l := range links {
			l.down = w.random.IntN(8) == 0
		}
		w.mu.Unlock()
	}
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	time.Sleep(3 * ttl)
	calm := time.Now()
	time.Sleep(3 * time.Hour)
	times, gap := w.leaders(calm)
	if gap > ttl/4 {
		t.Errorf("with all working, and leases given back, nobody led for %s", gap)
	}
	if len(times) != len(links) {
		t.Errorf("with all working only these led, so often: %v", times)
	}
	cancel()
	wg.Wait()
	w.judge()
	all, _ := w.leaders(time.Time{})
	n := 0
	for _, k := range all {
		n += k
	}
	return n
}

// A leader that is gone without a word is replaced after one ttl and a look.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		gone := errors.New("killed")
		a, b := contender(t, s, "a", time.Now), contender(t, &link{world: s.world}, "b", time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		defer wg.Wait()
		killed := make(chan time.Time, 1)
		wg.Go(func() {
			_ = a.Keep(ctx, func(ctx context.Context) error {
				time.Sleep(5 * ttl)
				if st := b.Status(); st.Leading || st.Holder != "a" || st.Generation != 1 || st.Err != nil {
					t.Errorf("who waits sees %+v", st)
				}
				if st := a.Status(); !st.Leading || st.Holder != "a" || st.Generation != 1 || st.Err != nil {
					t.Errorf("who leads sees %+v", st)
				}
				s.set(func(string, []byte) (string, error) { return "", errNetwork })
				killed <- time.Now()
				return gone
			})
		})
		time.Sleep(time.Second)
		_ = b.Keep(ctx, func(context.Context) error {
			took := time.Since(<-killed)
			if took < ttl/2 || took > ttl+ttl/6+time.Second {
				t.Errorf("the takeover took %s", took)
			}
			return nil
		})
	})
}

// script is a cell whose next answers a test writes.
type script struct {
	link
	swap func(tag string, value []byte) (string, error) // nil: as it is
}

func newScript(t testing.TB) *script {
	w := newWorld(t, 1)
	w.calm = true
	return &script{link: link{world: w}}
}

func (s *script) Swap(ctx context.Context, tag string, value []byte) (string, error) {
	s.mu.Lock()
	swap := s.swap
	s.mu.Unlock()
	if swap != nil {
		return swap(tag, value)
	}
	return s.link.Swap(ctx, tag, value)
}

// set puts a function in the way of all further writings.
func (s *script) set(swap func(tag string, value []byte) (string, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swap = swap
}

// A renewal that is done, and whose answer says anything else, is found by reading back.
func TestARenewalWhoseAnswerIsLostIsOne(t *testing.T) {
	for _, said := range []error{errNetwork, lease.ErrMoved} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t)
			l := contender(t, s, "a", time.Now)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := l.Keep(ctx, func(ctx context.Context) error {
				s.set(func(tag string, value []byte) (string, error) {
					if _, err := s.link.Swap(ctx, tag, value); err != nil {
						t.Error(err)
					}
					return "", said
				})
				time.Sleep(10 * ttl)
				s.set(nil)
				return lease.Check(ctx)
			})
			if err != nil {
				t.Errorf("answered %v: %v", said, err)
			}
			if g := l.Status().Generation; g != 1 {
				t.Errorf("answered %v: generation %d, want 1", said, g)
			}
		})
	}
}

// A leader that cannot write stops before one ttl has gone by since it last could, and
// leads again, in a new generation, when the store is back.
func TestALeaderThatCannotWriteStopsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		l := contender(t, s, "a", time.Now)
		turns := 0
		err := l.Keep(t.Context(), func(ctx context.Context) error {
			turns++
			if turns == 2 {
				return nil
			}
			start := time.Now() // just after the first writing
			s.set(func(string, []byte) (string, error) { return "", errNetwork })
			<-ctx.Done()
			if took := time.Since(start); took < ttl/2 || took >= ttl-ttl/20 {
				t.Errorf("it led for %s without a renewal", took)
			}
			if context.Cause(ctx) != lease.ErrLost {
				t.Errorf("it ended with %v", context.Cause(ctx))
			}
			if err := lease.Check(context.WithoutCancel(ctx)); !errors.Is(err, lease.ErrLost) {
				t.Errorf("a check says %v", err)
			}
			if st := l.Status(); st.Leading || !errors.Is(st.Err, errNetwork) {
				t.Errorf("status %+v", st)
			}
			s.set(nil)
			return nil
		})
		if err != nil || turns != 2 {
			t.Errorf("%d turns, error %v", turns, err)
		}
		if st := l.Status(); st.Generation != 2 || st.Holder != "" {
			t.Errorf("status after release %+v", st)
		}
	})
}

// A leader counts from before it asked, however long the answer took: others may have
// seen what it wrote at once. So it is with the first writing and with those after it.
func TestSlowAnswersDoNotProlongALease(t *testing.T) {
	for _, answered := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t)
			var written time.Time
			n := 0
			s.set(func(tag string, value []byte) (string, error) {
				if n++; n > answered {
					return "", errNetwork
				}
				now, err := s.link.Swap(context.Background(), tag, value)
				written = time.Now()
				time.Sleep(8 * time.Second)
				return now, err
			})
			l := contender(t, s, "a", time.Now)
			ctx, cancel := context.WithCancel(t.Context())
			_ = l.Keep(ctx, func(ctx context.Context) error {
				<-ctx.Done()
				if held := time.Since(written); held > ttl-ttl/10 || held < ttl/2 {
					t.Errorf("after writing %d it led for %s", answered, held)
				}
				cancel()
				return nil
			})
		})
	}
}

// A machine that slept wakes with a clock of its own that saw nothing of it. The clock on
// the wall did.
func TestCheckSeesThatTheMachineSlept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var slept time.Duration
		now := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			if slept == 0 {
				return time.Now()
			}
			return time.Now().Round(0).Add(slept)
		}
		l := contender(t, newScript(t), "a", now)
		turns := 0
		err := l.Keep(t.Context(), func(ctx context.Context) error {
			if turns++; turns == 2 {
				return nil
			}
			if err := lease.Check(ctx); err != nil {
				t.Error(err)
			}
			mu.Lock()
			slept = time.Hour
			mu.Unlock()
			if err := lease.Check(ctx); !errors.Is(err, lease.ErrLost) {
				t.Errorf("a check says %v", err)
			}
			if ctx.Err() == nil {
				t.Error("the check did not end the context")
			}
			return ctx.Err()
		})
		if err != nil || turns != 2 {
			t.Errorf("%d turns, error %v", turns, err)
		}
	})
}

// The end of ctx gives a leader time to wind up, for as long as it takes.
func TestALeaderThatWindsUpStillLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		l := contender(t, s, "a", time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		ended := errors.New("ended in order")
		err := l.Keep(ctx, func(ctx context.Context) error {
			cancel()
			time.Sleep(5 * ttl)
			if err := lease.Check(ctx); err != nil {
				t.Error(err)
			}
			return ended
		})
		if !errors.Is(err, ended) {
			t.Errorf("got error %v", err)
		}
		if !strings.Contains(string(s.value), `"released": true`) {
			t.Errorf("not given back: %s", s.value)
		}
	})
}

// What is no lease is not written over.
func TestForeignValues(t *testing.T) {
	for _, value := range []string{"", "{", `{"format":2,"generation":1,"nonce":"x","ttl_ms":1000}`,
		`{"format":1,"nonce":"x","ttl_ms":1000}`, `{"format":1,"generation":1,"nonce":"x","ttl_ms":9999999999}`,
		`{"format":1,"generation":1,"ttl_ms":1000}`, `{"format":1,"generation":1,"nonce":"x"}`} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t)
			s.value, s.version = []byte(value), 7
			l := contender(t, s, "a", time.Now)
			err := l.Keep(t.Context(), func(context.Context) error {
				t.Errorf("%q: it leads", value)
				return nil
			})
			if !errors.Is(err, lease.ErrForeign) || s.version != 7 {
				t.Errorf("%q: error %v, version %d", value, err, s.version)
			}
		})
	}
}

// Nobody leads by a store that writes whatever the condition says.
func TestAStoreThatIgnoresConditions(t *testing.T) {
	for _, held := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t)
			if held {
				_ = contender(t, s, "a", time.Now).Keep(t.Context(), func(context.Context) error { return nil })
			}
			s.set(func(_ string, value []byte) (string, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.value = value
				s.version++
				return s.tag(), nil
			})
			err := contender(t, s, "b", time.Now).Keep(t.Context(), func(context.Context) error {
				t.Error("it leads")
				return nil
			})
			if !errors.Is(err, lease.ErrUnconditional) {
				t.Errorf("got error %v", err)
			}
		})
	}
}

// Whoever saw a lease and then finds none waits: its holder does not know yet.
func TestARemovedLeaseIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		a, b := contender(t, s, "a", time.Now), contender(t, s, "b", time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		for _, l := range []*lease.Lease{a, b} {
			wg.Go(func() {
				_ = l.Keep(ctx, func(ctx context.Context) error { return s.lead(ctx, l, fmt.Sprintf("%p", l)) })
			})
		}
		for range 20 {
			time.Sleep(5*ttl + 7*time.Second)
			s.mu.Lock()
			s.value, s.version = nil, 0
			s.mu.Unlock()
			time.Sleep(2 * ttl) // versions begin anew: the world's tags may not be those of before
			s.mu.Lock()
			s.version += 1000
			s.mu.Unlock()
		}
		cancel()
		wg.Wait()
		s.judge()
	})
}

func TestOptions(t *testing.T) {
	for _, o := range []lease.Options{
		{Now: time.Now}, {Owner: "a"}, {Owner: "a", Now: time.Now, TTL: time.Millisecond}, {Owner: "a", Now: time.Now, TTL: 2 * time.Hour},
	} {
		if _, err := lease.New(newScript(t), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	for name, want := range map[string]string{"schedule": "leases/schedule.json", "": "", "a/b": "", "..": "", "A": ""} {
		if got, err := lease.Key(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, error %v", name, got, err)
		}
	}
	if err := lease.Check(t.Context()); err != nil {
		t.Errorf("who is under no lease: %v", err)
	}
}
