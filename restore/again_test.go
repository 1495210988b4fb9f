package restore_test

import (
	"testing"

	"rqvault/internal/redistest"
	"rqvault/restore"
	"rqvault/verify"
)

// Between the two phases of a restore that was stopped, producers and operators go on.
func TestAStoppedRestoreDoesNotPushWhatChangedSince(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"queued", "finished"} {
		s := redistest.Start(t)
		enqueue(s, "a")
		d := take(t, s)
		s.Do("FLUSHALL")
		plan := d.plan(s, everything)
		c, calls := connect(t, s, ""), 0
		c.before = func() {
			if calls++; calls == 3 { // the release
				_ = c.s.Close()
			}
		}
		if out := d.apply(s, c, plan); out.err == nil {
			t.Fatal("it was not stopped")
		}
		hash(s, "a", status, "data", "newer", "enqueued_at", "2026-11-23T09:00:00.000000Z")
		want := []string{}
		if status == "queued" { // the producer enqueued it again
			s.Do("RPUSH", "rq:queue:q", "a")
			want = []string{"a"}
		}
		d.apply(s, connect(t, s, ""), plan)
		wantQueue(t, s, want...)
	}
}

func TestAnIDThatIsNoTextSurvivesThePlan(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a\xff", "b")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan, err := restore.ParsePlan(marshal(t, d.plan(s, everything)))
	if err != nil {
		t.Fatal(err)
	}
	if out := d.apply(s, connect(t, s, ""), plan); len(out.outcomes) != 2 {
		t.Errorf("got %+v", out.outcomes)
	}
	wantQueue(t, s, "a\xff", "b")
}

func TestAStepForNobodyIsReported(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a")
	d := take(t, s)
	out := d.apply(s, connect(t, s, ""), &restore.Plan{Steps: []restore.Step{{JobID: "nobody", Action: verify.Restore, Guard: verify.GuardAbsent}}})
	if len(out.with(restore.Failed)) != 1 {
		t.Errorf("got %+v, %v", out.outcomes, out.err)
	}
}

func TestAPlanOfNonsenseIsRefused(t *testing.T) {
	step := func(f func(map[string]any)) func(map[string]any) {
		return func(m map[string]any) { f(m["steps"].([]any)[0].(map[string]any)) }
	}
	for what, change := range map[string]func(map[string]any){
		"an unknown guard":      step(func(s map[string]any) { s["guard"] = "none" }),
		"no guard":              step(func(s map[string]any) { delete(s, "guard") }),
		"guard same to restore": step(func(s map[string]any) { s["guard"] = "same" }),
		"an unknown verdict":    step(func(s map[string]any) { s["verdict"] = "x" }),
		"an unknown status":     step(func(s map[string]any) { s["status"] = "x" }),
		"waiting nowhere":       step(func(s map[string]any) { delete(s, "home") }),
		"an unknown policy":     func(m map[string]any) { m["policy"] = "x" },
		"one job twice":         func(m map[string]any) { m["steps"] = append(m["steps"].([]any), m["steps"].([]any)[0]) },
		"a key to place":        func(m map[string]any) { m["steps"].([]any)[3].(map[string]any)["action"] = "place" },
	} {
		refused(t, what, sealed(t, change))
	}
}

func TestQueuesThatCannotBeRegistered(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	hash(s, "done", "finished")
	s.Do("ZADD", "rq:finished:q", 7, "done")
	s.Do("SADD", "rq:queues", "rq:queue:q")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	s.Do("SET", "rq:queues", "x")
	if out := d.apply(s, connect(t, s, ""), plan); out.err == nil {
		t.Errorf("nobody says so: %+v", out.outcomes)
	}
}

func TestAKeyThatExpiresMeanwhile(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		s.Do("SET", "k:soon", "x", "PX", 4102444800000)
		d := take(t, s)
		s.Do("FLUSHALL")
		out := d.restoreKeys(s, connect(t, s, user), func() { d.keys[0].ExpireAt = d.at.UnixMilli() - 1 })
		wantIDs(t, user+" skipped", out.with(restore.Skipped), "k:soon")
	}
}

// A job that stood in another queue's list was to be run by that queue's workers.
func TestAJobReturnsToTheListItStoodIn(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a")
	hash(s, "b", "queued", "origin", "elsewhere")
	s.Do("RPUSH", "rq:queue:q", "b")
	d := take(t, s)
	s.Do("FLUSHALL")
	d.restore(s)
	wantQueue(t, s, "a", "b")
}

// A worker that takes ids between two calls of a long restore takes them in order.
func TestOrderIsKeptOverManyCalls(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do("EVAL", `for i = 10000, 22499 do
		redis.call('hset', 'rq:job:'..i, 'data', 'x', 'status', 'queued', 'origin', 'q', 'created_at', ARGV[1], 'enqueued_at', ARGV[1])
		redis.call('rpush', 'rq:queue:q', tostring(i))
	end`, 0, created)
	d := take(t, s)
	for _, newer := range []int{0, 3, 9000} {
		s.Do("FLUSHALL")
		s.Do("EVAL", `for i = 1, tonumber(ARGV[1]) do redis.call('rpush', 'rq:queue:q', 'new'..i) end`, 0, newer)
		plan := d.plan(s, everything)
		c := connect(t, s, "")
		taken := []string{}
		releases := 0
		c.before = func() {
			if s.Do("HLEN", restore.LedgerKey).(int64) < 12500 || s.Do("LLEN", "rq:queue:q").(int64) == int64(newer) {
				return // nothing is released yet
			}
			ids, _ := s.Do("LPOP", "rq:queue:q", 7+999*(releases%2)).([]any) // a few, and more than a whole call's
			for _, id := range ids {
				taken = append(taken, id.(string))
			}
			releases++
		}
		if out := d.apply(s, c, plan); out.err != nil || len(out.with(restore.Restored)) != 12500 {
			t.Fatalf("%v, %d restored", out.err, len(out.with(restore.Restored)))
		}
		if releases < 2 {
			t.Fatalf("only %d calls placed ids: the test shows nothing", releases+1)
		}
		for _, id := range s.Do("LRANGE", "rq:queue:q", 0, -1).([]any) {
			taken = append(taken, id.(string))
		}
		if len(taken) != 12500+newer {
			t.Fatalf("%d new ids: %d ids in the end", newer, len(taken))
		}
		for i := range 12499 {
			if taken[i] >= taken[i+1] {
				t.Fatalf("%d new ids: %s comes before %s", newer, taken[i], taken[i+1])
			}
		}
	}
}

// Between plan and restore a worker takes an id whose hash is gone, and throws it away.
func TestAnIDThatWasThrownAwayComesBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b", "c")
	d := take(t, s)
	s.Do("DEL", "rq:job:a", "rq:job:b")
	plan := d.plan(s, everything)
	s.Do("LPOP", "rq:queue:q") // a
	out := d.apply(s, connect(t, s, ""), plan)
	if out.err != nil {
		t.Fatal(out.err)
	}
	wantIDs(t, "restored", out.with(restore.Restored), "a", "b")
	wantQueue(t, s, "a", "b", "c")
}
