package command_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"rqvault/internal/redistest"
	"rqvault/internal/rq"
)

// TestVerdicts changes one thing in live data that is otherwise as the snapshot has it.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for n in 'abc': queue('q').enqueue('tasks.note', job_id=n)
queue('done').enqueue('tasks.answer', job_id='fin', result_ttl=-1)
queue('done').enqueue('tasks.fail', job_id='bad')
work('done')
queue('q').enqueue_in(timedelta(hours=1), 'tasks.note', job_id='later')
queue('q').enqueue('tasks.note', job_id='canceled').cancel()
queue('q').enqueue('tasks.note', job_id='child', depends_on=Job.fetch('a', connection=c))
w = SimpleWorker([queue('run')], connection=c, name='w')
run = queue('run').enqueue('tasks.note', job_id='run')
c.lpop('rq:queue:run')
w.prepare_job_execution(run)
`)
	v.backup()
	was := look(t, v.s)
	for _, c := range []struct {
		name, id, verdict, action string
		args                      []string
		change                    func()
	}{
		{"nothing", "a", "intact", "none", nil, func() {}},
		{"hash and place gone", "b", "lost", "restore", nil, func() { v.evict("b") }},
		{"only the hash gone", "b", "lost", "restore", nil, func() { v.s.Do("DEL", "rq:job:b") }},
		{"queued, but in no list", "b", "misplaced", "place", nil, func() { v.s.Do("LREM", "rq:queue:q", 0, "b") }},
		{"twice in a list", "b", "misplaced", "hold", nil, func() { v.s.Do("RPUSH", "rq:queue:q", "b") }},
		{"finished, but in no registry", "fin", "misplaced", "place", nil, func() { v.s.Do("ZREM", "rq:finished:done", "fin") }},
		{"failed, but in no registry", "bad", "misplaced", "place", nil, func() { v.s.Do("ZREM", "rq:failed:done", "bad") }},
		{"scheduled, but in no registry", "later", "misplaced", "place", nil, func() { v.s.Do("ZREM", "rq:scheduled:q", "later") }},
		{"deferred, but in no registry", "child", "misplaced", "place", nil, func() { v.s.Do("ZREM", "rq:deferred:q", "child") }},
		{"canceled, but in no registry", "canceled", "misplaced", "place", nil, func() { v.s.Do("ZREM", "rq:canceled:q", "canceled") }},
		{"running, and gone", "run", "in_flight", "hold", nil, func() { v.s.Do("DEL", "rq:job:run", "rq:wip:run") }},
		{"running, and its worker has signed since", "run", "in_flight", "hold", nil, func() {
			v.s.Do("DEL", "rq:job:run", "rq:wip:run")
			v.s.Do("HSET", "rq:job:run", "last_heartbeat", rq.FormatTime(time.Now()))
		}},
		{"queued, and a worker has signed since", "b", "in_flight", "hold", nil, func() {
			v.evict("b")
			v.s.Do("HSET", "rq:job:b", "last_heartbeat", rq.FormatTime(time.Now()))
		}},
		{"queued, and now running by a later worker", "b", "in_flight", "hold", nil, func() {
			v.evict("b")
			v.s.Do("ZADD", "rq:wip:q", 99999999999, "b:0123456789abcdef0123456789abcdef")
		}},
		{"had finished, and is queued again", "fin", "regressed", "hold", nil, func() {
			v.s.Do("HSET", "rq:job:fin", "status", "queued", "ended_at", "", "started_at", "", "last_heartbeat", "")
			v.s.Do("DEL", "rq:results:fin")
			v.s.Do("RPUSH", "rq:queue:done", "fin")
		}},
		{"had finished, and its bare id is queued again", "fin", "regressed", "hold", nil, func() {
			v.s.Do("DEL", "rq:job:fin", "rq:results:fin", "rq:finished:done")
			v.s.Do("RPUSH", "rq:queue:done", "fin")
		}},
		{"was canceled, and is listed again", "canceled", "regressed", "hold", nil, func() {
			v.s.Do("DEL", "rq:job:canceled", "rq:canceled:q")
			v.s.Do("RPUSH", "rq:queue:q", "canceled")
		}},
		{"ran, and its hash expired", "b", "completed", "none", nil, func() {
			v.evict("b")
			v.s.Do("XADD", "rq:results:b", "*", "type", "1")
		}},
		{"ran, and only its registry knows", "b", "completed", "none", nil, func() {
			v.evict("b")
			v.s.Do("ZADD", "rq:finished:q", 99999999999, "b")
		}},
		{"was canceled, and only its registry knows", "b", "completed", "none", nil, func() {
			v.evict("b")
			v.s.Do("ZADD", "rq:canceled:q", v.serverTime().Unix()+1, "b")
		}},
		{"another job under its id", "b", "advanced", "none", nil, func() {
			v.s.Do("HSET", "rq:job:b", "created_at", "2126-01-01T00:00:00.000000Z")
		}},
		{"an earlier job under its id", "b", "regressed", "hold", nil, func() {
			v.s.Do("HSET", "rq:job:b", "created_at", "2026-01-01T00:00:00.000000Z")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			was.load(t, v.s)
			c.change()
			changed := look(t, v.s)
			f := v.look(c.args...).verdict(t, c.id)
			if f.Verdict != c.verdict || f.Action != c.action {
				t.Errorf("got %s, %s (%s), want %s, %s", f.Verdict, f.Action, f.Reason, c.verdict, c.action)
			}
			v.restore(0, append([]string{"--job", c.id}, c.args...)...)
			after := look(t, v.s).without(ledger)
			if c.action == "restore" || c.action == "place" {
				same(t, "after the restore", after, was)
			} else {
				same(t, "after a restore that must do nothing", after, changed)
			}
		})
	}
}

func TestThePolicyDecidesWhatCannotBeKnown(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
queue('q').enqueue('tasks.note', job_id='taken')
queue('q').enqueue('tasks.note', job_id='waits')
c.lrem('rq:queue:q', 0, 'taken')   # a worker popped it, and was not seen since
`)
	v.backup()
	v.s.Do("FLUSHALL")
	if f := v.diff(3, "--policy", "at-most-once").verdict(t, "taken"); f.Verdict != "uncertain" || f.Action != "hold" {
		t.Errorf("at-most-once: got %+v, want held", f)
	}
	if f := v.look("--policy", "at-most-once").verdict(t, "waits"); f.Verdict != "uncertain" || f.Action != "hold" {
		t.Errorf("at-most-once: got %+v, want held: it may have run since the snapshot", f)
	}
	v.restore(0, "--policy", "at-most-once")
	v.wantList("q")
	v.restore(0, "--job", "waits")
	v.wantList("q", "waits")
	if f := v.diff(3).verdict(t, "taken"); f.Action != "restore" {
		t.Errorf("at-least-once: got %+v, want restore", f)
	}
	v.restore(0)
	v.wantList("q", "taken", "waits")
}

func TestWhatExpiredDuringTheOutageStaysAway(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
queue('q').enqueue('tasks.note', job_id='short', ttl=1)
queue('q').enqueue('tasks.note', job_id='long', ttl=600)
`)
	v.backup()
	expiry, err := v.s.Client().Do(t.Context(), "PEXPIRETIME", "rq:job:short").Int64()
	if err != nil {
		t.Fatal(err)
	}
	v.s.Do("FLUSHALL")
	err = redistest.Poll(5*time.Second, func() error {
		if v.serverTime().UnixMilli() <= expiry {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if f := v.diff(3).verdict(t, "short"); f.Verdict != "expired" || f.Action != "none" {
		t.Errorf("got %+v, want expired", f)
	}
	v.restore(0)
	v.wantList("q", "long")
}

// A worker that waits in its pop is served the moment an id shows. It must find the job.
func TestAWorkerThatWaitsTakesEachRestoredJob(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`for i in range(30): queue('q').enqueue('tasks.note', i, job_id='o%02d' % i)`)
	v.backup()
	v.s.Do("FLUSHALL")
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.rq(`SimpleWorker([queue('q')], connection=c).work(max_jobs=30, logging_level='CRITICAL')`)
	}()
	err := redistest.Poll(20*time.Second, func() error {
		if v.s.Info("clients", "blocked_clients") != "1" {
			return errors.New("no worker waits")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v.restore(0)
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("the worker still waits for more; it ran %q", v.ran())
	}
	var want []string
	for i := range 30 {
		want = append(want, "0 q o"+string(rune('0'+i/10))+string(rune('0'+i%10)))
	}
	got := v.ran()
	if !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
}

func TestTwoRestorersAtOnceDoWhatOneDoes(t *testing.T) {
	t.Parallel()
	v := several(t)
	v.s.Do("FLUSHALL")
	v.restore(0)
	want := comparable(t, v)
	for range 5 {
		v.s.Do("FLUSHALL")
		done := make(chan result)
		for range 2 {
			go func() { done <- v.run("restore", "--apply", "--via", "sync") }()
		}
		for range 2 {
			if r := <-done; r.code != 0 {
				t.Errorf("one of two restorers: exit %d\n%s%s", r.code, r.out, r.err)
			}
		}
		end := comparable(t, v)
		sound(t, end)
		same(t, "after two restorers at once", end, want)
	}
}
