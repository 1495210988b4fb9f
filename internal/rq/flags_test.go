package rq_test

import (
	"testing"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
)

// What a volatile key says by being there, and which names are of the library's under a
// type that it would fail at.
func TestFlagsOfKeys(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  keyspace.Kind
		flag  job.Flag
		wrong bool
	}{
		{"rq:suspended", keyspace.String, job.Suspends, false},
		{"rq:clean_registries:q", keyspace.String, job.Locks, false},
		{"rq:scheduler-lock:q", keyspace.String, job.SchedulerLock, false},
		{"rq:worker:w", keyspace.Hash, job.Beats, false},
		{"rq:execution:j:e", keyspace.Hash, job.Beats, false},
		{"rq:scheduler:s", keyspace.Hash, job.Beats, false},
		{"rq:cron_scheduler:s", keyspace.Hash, job.Beats, false},
		{"rq:workers", keyspace.Set, job.NoFlag, false},
		{"rq:workers:q", keyspace.Set, job.NoFlag, false},
		{"rq:worker:w:executions", keyspace.Set, job.NoFlag, false},
		{"rq:cron_job:c:jobs", keyspace.ZSet, job.NoFlag, false},
		{"rq:scheduler:scheduled_jobs", keyspace.ZSet, job.NoFlag, false}, // of the package rq-scheduler
		{"rq:job:j:lock", keyspace.String, job.NoFlag, false},
		{"rq:job:j", keyspace.String, job.NoFlag, true},
		{"rq:queue:q", keyspace.String, job.NoFlag, true},
		{"rq:queue:q", keyspace.List, job.NoFlag, false},
		{"rq:job:j", keyspace.Set, job.NoFlag, true},
		{"rq:wip:q", keyspace.Hash, job.NoFlag, true},
		{"rq:results:j", keyspace.List, job.NoFlag, true},
		{"rq:queues", keyspace.List, job.NoFlag, true},
		{"rq:future:thing", keyspace.Hash, job.NoFlag, false},
		{"other", keyspace.String, job.NoFlag, false},
	} {
		if k := schema.Classify([]byte(c.name), c.kind); k.Flag != c.flag || k.Wrong != c.wrong {
			t.Errorf("%s as %s: got flag %d, wrong %v, want %d, %v", c.name, c.kind, k.Flag, k.Wrong, c.flag, c.wrong)
		}
	}
}

// The schedule of rq-scheduler is data, though its name begins like a scheduler's.
func TestAnotherPackagesScheduleIsRestored(t *testing.T) {
	if k := schema.Classify([]byte("rq:scheduler:scheduled_jobs"), keyspace.ZSet); k.Role != job.Plain {
		t.Errorf("got role %d, want a plain key", k.Role)
	}
}
