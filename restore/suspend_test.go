package restore_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"rqvault/internal/redistest"
	"rqvault/restore"
)

const flag = "rq:suspended"

func TestWorkersAreSuspendedWhileARestoreRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		other bool // somebody else has suspended them
		stop  bool // in the middle
		clock time.Duration
	}{"to its end": {}, "stopped": {stop: true}, "suspended before": {other: true}, "for a long time": {clock: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, limited())
			enqueue(s, "a", "b", "c")
			d := take(t, s)
			s.Do("FLUSHALL")
			if c.other {
				s.Do("SET", flag, "1")
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			conn, calls := connect(t, s, "limited"), 0
			lives := []int64{}
			conn.before = func() {
				if calls++; calls > 1 {
					lives = append(lives, s.Do("PTTL", flag).(int64))
					s.Do("PEXPIRE", flag, 1000000) // a call that renews sets it back
				}
				if c.stop && calls == 3 {
					cancel()
				}
			}
			o := d.options(s, conn, &told{})
			now := o.Now()
			o.Now = func() time.Time { now = now.Add(c.clock); return now }
			told := []bool{}
			o.Suspend, o.Suspended = true, func(_ int, ours bool) { told = append(told, ours) }
			err := restore.Apply(ctx, d.plan(s, everything), o)
			if (err != nil) != c.stop {
				t.Fatal(err)
			}
			if !slices.Equal(told, []bool{!c.other}) {
				t.Errorf("told %v", told)
			}
			life := restore.SuspendLife.Milliseconds()
			renewed := slices.ContainsFunc(lives[1:], func(ms int64) bool { return ms > 0 && ms <= life })
			switch {
			case c.other:
				if slices.ContainsFunc(lives, func(ms int64) bool { return ms != -1 && ms < 900000 }) || s.Do("GET", flag) != "1" {
					t.Errorf("somebody else's flag was touched: %v", lives)
				}
			case lives[0] <= 0 || lives[0] > life:
				t.Errorf("the flag lives %v ms", lives)
			case renewed != (c.clock > 0):
				t.Errorf("renewed: %v; it lives %v ms", renewed, lives)
			case s.Do("EXISTS", flag) != int64(0):
				t.Error("the flag is still there")
			}
		})
	}
}
