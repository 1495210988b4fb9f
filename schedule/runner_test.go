package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rqvault/schedule"
)

// memory is a State that outlives runners, as a store does.
type memory struct {
	mu   sync.Mutex
	last map[schedule.ID]time.Time
	done map[schedule.ID][]schedule.Outcome
	err  error // what it answers with while it is away
}

func newMemory() *memory {
	return &memory{last: map[schedule.ID]time.Time{}, done: map[schedule.ID][]schedule.Outcome{}}
}

func (m *memory) Last(_ context.Context, id schedule.ID) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[id], m.err
}

func (m *memory) Done(_ context.Context, id schedule.ID, o schedule.Outcome) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.last[id] = o.Slot
	m.done[id] = append(m.done[id], o)
	return nil
}

func (m *memory) away(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// diary is a Watcher that notes everything.
type diary struct {
	mu    sync.Mutex
	lines []string
	next  map[schedule.ID]time.Time
	ended []schedule.Outcome
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) Next(id schedule.ID, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == nil {
		d.next = map[schedule.ID]time.Time{}
	}
	d.next[id] = at
}
func (d *diary) Began(id schedule.ID, slot time.Time, try int) {
	d.note("%s began %s, try %d", id.Name, slot.Format(time.TimeOnly), try)
}
func (d *diary) Failed(id schedule.ID, slot time.Time, try int, err error, again time.Time) {
	d.note("%s failed: %v, again at %s", id.Name, err, again.UTC().Format(time.TimeOnly))
}
func (d *diary) Ended(id schedule.ID, o schedule.Outcome) {
	d.note("%s ended %s after %d: %v", id.Name, o.Slot.Format(time.TimeOnly), o.Tries, o.Err)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, o)
}
func (d *diary) Forgot(id schedule.ID, err error) { d.note("%s forgot: %v", id.Name, err) }

func times(t testing.TB, spec string) schedule.Times {
	t.Helper()
	ts, err := schedule.Parse(spec, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

// play runs tasks for as long as that, in a bubble's time, and then stops them.
func play(m *memory, d *diary, grace, length time.Duration, tasks ...schedule.Task) {
	r := schedule.New(schedule.Options{State: m, Watch: d, Grace: grace})
	r.Set(tasks)
	stop := make(chan struct{})
	time.AfterFunc(length, func() { close(stop) })
	r.Run(context.Background(), stop)
}

// A bubble's time begins at midnight UTC 2000-01-01.
func TestEachSlotOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slots []time.Time
		m, d := newMemory(), &diary{}
		play(m, d, 0, 59*time.Minute, schedule.Task{Source: "s", Name: "backup", Times: times(t, "@every 5m"), Run: func(_ context.Context, slot time.Time) error {
			slots = append(slots, slot)
			time.Sleep(90 * time.Second)
			return nil
		}})
		if len(slots) != 12 || len(m.done[schedule.ID{Source: "s", Name: "backup"}]) != 12 {
			t.Fatalf("%d slots: %v", len(slots), slots)
		}
		for i, s := range slots {
			if !s.Equal(time.Date(2000, 1, 1, 0, 5*i, 0, 0, time.UTC)) {
				t.Errorf("slot %d is %s", i, s)
			}
		}
	})
}

func TestMissedSlotsAreMadeUpForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := newMemory(), &diary{}
		m.last[schedule.ID{Source: "s", Name: "backup"}] = time.Now().Add(-time.Hour) // the daemon was away
		runs := 0
		play(m, d, 0, time.Minute, schedule.Task{Source: "s", Name: "backup", Times: times(t, "@every 5m"), Run: func(context.Context, time.Time) error { runs++; return nil }})
		if runs != 1 || d.ended[0].Missed != 11 {
			t.Errorf("%d runs, %+v", runs, d.ended)
		}
	})
}

// A run that outlasts its next time does not overlap with it.
func TestNoOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := newMemory(), &diary{}
		running, most := 0, 0
		play(m, d, time.Hour, 29*time.Minute, schedule.Task{Source: "s", Name: "drill", Times: times(t, "@every 5m"), Run: func(context.Context, time.Time) error {
			running++
			most = max(most, running)
			time.Sleep(12 * time.Minute)
			running--
			return nil
		}})
		if most != 1 || len(d.ended) != 3 || d.ended[1].Missed != 1 {
			t.Errorf("%d at once; %+v", most, d.ended)
		}
	})
}

func TestRetries(t *testing.T) {
	for name, c := range map[string]struct {
		spec    string
		retries int
		fails   int
		tries   []int // of each slot
	}{
		"it helps":           {"@every 5m", 3, 2, []int{3, 1}},
		"it does not":        {"@every 5m", 2, 9, []int{3, 3}},
		"until the next":     {"@every 1m", 30, 99, []int{4, 4}}, // after 0, 10, 30 and 70 s: the last would come too late
		"there are none":     {"@every 5m", 0, 9, []int{1, 1}},
		"it was never wrong": {"@every 5m", 3, 0, []int{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := newMemory(), &diary{}
				left := c.fails
				ts := times(t, c.spec)
				length := time.Until(ts.Next(time.Now()))*2 - time.Second
				play(m, d, 0, length, schedule.Task{Source: "s", Name: "x", Times: ts, Retries: c.retries, RetryAfter: 10 * time.Second, Run: func(context.Context, time.Time) error {
					if left > 0 {
						left--
						return errors.New("no")
					}
					return nil
				}})
				var tries []int
				for _, o := range d.ended {
					tries = append(tries, o.Tries)
				}
				if name == "until the next" {
					c.tries = []int{3, 3}
				}
				if !slices.Equal(tries, c.tries) {
					t.Errorf("tries %v, want %v: %q", tries, c.tries, d.lines)
				}
				if len(m.done[schedule.ID{Source: "s", Name: "x"}]) != len(c.tries) {
					t.Errorf("noted: %v", m.done)
				}
			})
		})
	}
}

func TestGraceAndAbort(t *testing.T) {
	for name, c := range map[string]struct {
		grace time.Duration
		err   error
		noted int
	}{
		"it may finish": {time.Hour, nil, 1},
		"it may not":    {time.Second, schedule.ErrStopped, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			m, d := newMemory(), &diary{}
			play(m, d, c.grace, time.Minute, schedule.Task{Source: "s", Name: "x", Times: times(t, "@hourly"), Retries: 3, RetryAfter: time.Second, Run: func(ctx context.Context, _ time.Time) error {
				select {
				case <-time.After(10 * time.Minute):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}})
			if len(d.ended) != 1 || !errors.Is(d.ended[0].Err, c.err) || d.ended[0].Tries != 1 {
				t.Errorf("%s: %+v", name, d.ended)
			}
			if n := len(m.done[schedule.ID{Source: "s", Name: "x"}]); n != c.noted {
				t.Errorf("%s: %d outcomes noted, want %d: what was stopped is due for whoever comes next", name, n, c.noted)
			}
		})
	}
}

func TestTimeoutAndPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := newMemory(), &diary{}
		play(m, d, 0, time.Minute,
			schedule.Task{Source: "s", Name: "slow", Times: times(t, "@hourly"), Timeout: 10 * time.Second, Run: func(ctx context.Context, _ time.Time) error { <-ctx.Done(); return ctx.Err() }},
			schedule.Task{Source: "s", Name: "wild", Times: times(t, "@hourly"), Run: func(context.Context, time.Time) error { panic("oh") }})
		if len(d.ended) != 2 {
			t.Fatalf("ended: %+v", d.ended)
		}
		for _, o := range d.ended {
			if !errors.Is(o.Err, schedule.ErrTimeout) && o.Err.Error() != "wild of s panicked: oh" {
				t.Errorf("got %v", o.Err)
			}
		}
	})
}

// While the state cannot be read nothing is done; while it cannot be written, nothing twice.
func TestStateAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := newMemory(), &diary{}
		m.away(errors.New("the store is away"))
		time.AfterFunc(2*time.Minute, func() { m.away(nil) })
		time.AfterFunc(11*time.Minute, func() { m.away(errors.New("again")) })
		runs := map[time.Time]int{}
		play(m, d, 0, 31*time.Minute, schedule.Task{Source: "s", Name: "x", Times: times(t, "@every 5m"), Run: func(_ context.Context, slot time.Time) error { runs[slot]++; return nil }})
		if len(runs) != 7 {
			t.Errorf("runs: %v", runs)
		}
		for slot, n := range runs {
			if n != 1 {
				t.Errorf("%s was done %d times", slot, n)
			}
		}
	})
}

func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := newMemory(), &diary{}
		r := schedule.New(schedule.Options{State: m, Watch: d, Grace: time.Hour})
		var log []string
		task := func(version string) schedule.Task {
			return schedule.Task{Source: "s", Name: "x", Times: times(t, "@every 5m"), Run: func(_ context.Context, slot time.Time) error {
				log = append(log, version+" begins "+slot.Format("15:04"))
				time.Sleep(2 * time.Minute)
				log = append(log, version+" ends")
				return nil
			}}
		}
		r.Set([]schedule.Task{task("old")})
		stop := make(chan struct{})
		time.AfterFunc(6*time.Minute, func() { r.Set([]schedule.Task{task("new")}) }) // in the middle of a run
		time.AfterFunc(11*time.Minute, func() { r.Set(nil) })
		time.AfterFunc(20*time.Minute, func() { close(stop) })
		r.Run(t.Context(), stop)
		want := []string{"old begins 00:00", "old ends", "old begins 00:05", "old ends", "new begins 00:10", "new ends"}
		if !slices.Equal(log, want) {
			t.Errorf("got %q, want %q", log, want)
		}
	})
}

// Whatever stops a daemon, and whenever: the next one misses no slot and repeats none that
// was noted. Seeded.
func TestRestarts(t *testing.T) {
	for seed := range int64(200) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewSource(seed))
			m := newMemory()
			begun, ended := map[time.Time]int{}, map[time.Time]int{}
			task := schedule.Task{Source: "s", Name: "x", Times: times(t, "@every 5m"), Jitter: 30 * time.Second, Retries: 2, RetryAfter: 5 * time.Second,
				Run: func(ctx context.Context, slot time.Time) error {
					begun[slot]++
					select {
					case <-time.After(time.Duration(rnd.Intn(200)) * time.Second):
					case <-ctx.Done():
						return ctx.Err()
					}
					ended[slot]++
					return nil
				}}
			begin := time.Now()
			for time.Since(begin) < 6*time.Hour {
				play(m, &diary{}, time.Duration(rnd.Intn(100))*time.Second, time.Duration(rnd.Intn(2000))*time.Second, task)
				time.Sleep(time.Duration(rnd.Intn(120)) * time.Second)
			}
			noted := m.done[task.ID()]
			for i, o := range noted {
				if ended[o.Slot] != 1 {
					t.Errorf("seed %d: %s ended %d times", seed, o.Slot, ended[o.Slot])
				}
				if i > 0 && !o.Slot.Equal(noted[i-1].Slot.Add(time.Duration(o.Missed+1)*5*time.Minute)) {
					t.Errorf("seed %d: %s follows %s, and %d were missed", seed, o.Slot, noted[i-1].Slot, o.Missed)
				}
			}
			if len(noted) < 20 {
				t.Errorf("seed %d: only %d slots were done", seed, len(noted))
			}
		})
	}
}
