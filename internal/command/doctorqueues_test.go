package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

// noWorker is what is found where jobs wait and nobody runs them, and more.
func noWorker(more ...string) []string { return append(more, "workers fail") }

// onQueues stages with real RQ.
func onQueues(script string) func(t *testing.T) staged {
	return func(t *testing.T) staged {
		v := rqPatient(t)
		v.rq(script)
		return staged{url: v.redis}
	}
}

var faultsOfQueues = []fault{
	{"the data is gone", func(t *testing.T) staged { return staged{url: redistest.Start(t, saves()).URL()} },
		[]string{"queues warn"}, "queues: no queue"},
	{"many jobs and no worker", onQueues(`
queue('q').enqueue_many([queue('q').prepare_data('tasks.note', ('` + marker + `',), job_id='j%d' % i) for i in range(150)])
`), noWorker(), "workers: 150 jobs waiting"},
	{"a worker vanished", onQueues(`
SimpleWorker([queue('q')], connection=c, name='gone').register_birth()
c.sadd('rq:queues', 'rq:queue:q')
c.delete('rq:worker:gone')
`), []string{"workers warn"}, "workers: gone"},
	{"a worker's heartbeat ended", onQueues(`
SimpleWorker([queue('q')], connection=c, name='old').register_birth()
c.sadd('rq:queues', 'rq:queue:q')
c.hset('rq:worker:old', 'last_heartbeat', '2026-01-01T00:00:00.000000Z')
c.persist('rq:worker:old')
`), []string{"workers warn", "rules fail"}, "workers: old"},
	{"a queue without a worker", func(t *testing.T) staged {
		v := rqPatient(t)
		v.serve("served")
		v.rq("queue('other').enqueue('tasks.note')")
		return staged{url: v.redis}
	}, []string{"unserved fail"}, "unserved: other 1"},
	{"workers are suspended", onQueues(`
from rq.suspension import suspend
c.sadd('rq:queues', 'rq:queue:q')
suspend(c)
`), []string{"suspended warn"}, "suspended: no end"},
	{"workers are suspended for a while", onQueues(`
from rq.suspension import suspend
c.sadd('rq:queues', 'rq:queue:q')
suspend(c, 600)
`), []string{"suspended warn"}, "suspended: for"},
	{"a run is left over", onQueues(`
import time
j = queue('q').enqueue('tasks.note', job_id='j')
c.lpop('rq:queue:q')
j.set_status('started')
c.zadd('rq:wip:q', {'j': time.time() - 3600})
`), []string{"running warn"}, "running: q 1"},
	{"ids are stuck between a queue and a worker", onQueues(`
queue('q').enqueue('tasks.note', job_id='j')
c.lmove('rq:queue:q', 'rq:queue:q:intermediate')
`), []string{"intermediate warn"}, "intermediate: q 1"},
	{"scheduled jobs are overdue", onQueues(`
queue('q').enqueue_at(datetime.utcnow() - timedelta(minutes=10), 'tasks.note', job_id='j')
`), []string{"scheduler fail"}, "scheduler: 1 scheduled job overdue"},
	{"a deferred job whose parents have ended", onQueues(`
p = queue('q').enqueue('tasks.note', job_id='p')
queue('q').enqueue('tasks.note', job_id='child', depends_on=p)
c.lpop('rq:queue:q')
c.hset('rq:job:p', mapping={'status': 'finished', 'ended_at': '2026-01-01T00:00:00.000000Z'})
c.expire('rq:job:p', 1000)
import time
c.zadd('rq:finished:q', {'p': time.time() + 1000})
`), []string{"rules fail"}, "rules: deferred-ready"},
	{"an id stands twice", onQueues(`
queue('q').enqueue('tasks.note', job_id='j')
c.rpush('rq:queue:q', 'j')
`), noWorker("rules fail"), "rules: queue-duplicate-id"},
	{"jobs with a ttl may be evicted", func(t *testing.T) staged {
		v := rqPatient(t, redistest.WithArgs("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"))
		v.rq("queue('q').enqueue('tasks.note', ttl=600)")
		return staged{url: v.redis}
	}, noWorker("eviction warn"), "eviction: ttl"},
	{"a job waits for long", func(t *testing.T) staged {
		v := rqPatient(t)
		v.rq("queue('q').enqueue('tasks.note')")
		return staged{url: v.redis, args: []string{"--max-wait", "1ms"}}
	}, noWorker("waiting warn"), "waiting: head of q"},
	{"a queue grows", growing, noWorker("growing warn"), "growing: q"},
}

// growing has RQ enqueue one job after another until the test ends.
func growing(t *testing.T) staged {
	v := rqPatient(t)
	done := v.beside(`
queue('q').enqueue_many([queue('q').prepare_data('tasks.note') for i in range(150)])
while not c.exists('stop'):
    queue('q').enqueue('tasks.note')
    c.blpop('nothing', timeout=0.05)
`)
	t.Cleanup(func() { v.s.Do("RPUSH", "stop", "1"); <-done })
	until(t, "the jobs", func() bool { return v.s.Do("LLEN", "rq:queue:q").(int64) > 150 })
	return staged{url: v.redis}
}

var faultsOfSnapshots = []fault{
	{"no snapshot", func(t *testing.T) staged {
		return staged{url: patient(t).URL(), args: []string{"--store", filepath.Join(t.TempDir(), "store")}}
	}, []string{"snapshot fail"}, "snapshot: no snapshot yet"},
	{"an old snapshot that nobody verified", func(t *testing.T) staged {
		v := saved(t)
		return staged{url: v.redis, args: []string{"--store", v.store, "--max-age", "1ms"}}
	}, []string{"snapshot warn", "verified warn"}, "verified: ever verified"},
	{"an old verified snapshot", func(t *testing.T) staged {
		v := saved(t)
		v.want(0, "verify")
		return staged{url: v.redis, args: []string{"--store", v.store, "--max-age", "1ms"}}
	}, []string{"snapshot warn", "verified warn"}, "verified: old"},
	{"a damaged snapshot", func(t *testing.T) staged {
		v := saved(t)
		damage(t, v)
		v.want(5, "verify")
		return staged{url: v.redis, args: []string{"--store", v.store}}
	}, []string{"verified fail"}, "verified: failed"},
	{"restarted since the snapshot", func(t *testing.T) staged {
		v := saved(t)
		v.want(0, "verify")
		v.s.Save()
		v.s.Restart(false)
		return staged{url: v.redis, args: []string{"--store", v.store}}
	}, []string{"restarted warn"}, "restarted: Redis was started"},
	{"a replica took over since the snapshot", func(t *testing.T) staged {
		master := rqPatient(t, redistest.WithTCP())
		master.s.Do("SADD", "rq:queues", "rq:queue:q")
		replica := patient(t, redistest.WithArgs("--repl-diskless-sync-delay", "0"))
		follow(t, replica, master.s)
		began := time.Now()
		until(t, "a second", func() bool { return time.Since(began) > 2*time.Second }) // its uptime counts seconds
		master.backup()
		master.want(0, "verify")
		master.s.Kill()
		replica.Do("REPLICAOF", "NO", "ONE")
		return staged{url: replica.URL(), args: []string{"--store", master.store}}
	}, []string{"restarted warn", "log warn"}, "restarted: another server took over"},
}

// saved is a server of which there is a snapshot.
func saved(t *testing.T) *vault {
	v := rqPatient(t)
	v.s.Do("SADD", "rq:queues", "rq:queue:q")
	v.backup()
	return v
}

// damage flips a byte in the middle of the only stored dump.
func damage(t *testing.T, v *vault) {
	found, err := filepath.Glob(filepath.Join(v.store, "*", "snapshots", "*", "dump.rdb.zst"))
	if err != nil || len(found) != 1 {
		t.Fatal(fmt.Errorf("dumps: %q, %w", found, err))
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(found[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}
