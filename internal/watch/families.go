package watch

import "github.com/prometheus/client_golang/prometheus"

// family is one metric: all series of one name.
type family struct {
	name   string
	kind   prometheus.ValueType
	labels []string
	desc   *prometheus.Desc
	// lasting is for what is true of this process whoever leads: it stays when the
	// process stands down.
	lasting bool
}

// families lists all metrics, in the order in which they are declared below.
var families []*family

func gauge(name, help string, labels ...string) *family {
	return newFamily(name, help, prometheus.GaugeValue, labels)
}

func counter(name, help string, labels ...string) *family {
	f := newFamily(name, help, prometheus.CounterValue, labels)
	f.lasting = true
	return f
}

// own is a gauge about this process.
func own(name, help string, labels ...string) *family {
	f := gauge(name, help, labels...)
	f.lasting = true
	return f
}

func newFamily(name, help string, kind prometheus.ValueType, labels []string) *family {
	f := &family{name: name, kind: kind, labels: labels, desc: prometheus.NewDesc(name, help, labels, nil)}
	families = append(families, f)
	return f
}

// Where there is a label source, it is the first: what is known of one source can be
// dropped at once.
var (
	buildInfo = own("rqvault_build_info", "Always 1; the labels say which rqvault this is.", "version", "go_version")

	// Runs.
	runs           = counter("rqvault_runs_total", "Runs that ended, by result: ok, failed or aborted.", "source", "task", "result")
	runFailures    = counter("rqvault_run_failures_total", "Runs that failed, by reason.", "source", "task", "reason")
	runSeconds     = counter("rqvault_run_seconds_total", "Time spent in runs that ended.", "source", "task")
	runActive      = gauge("rqvault_run_active", "1 while a run of the task goes on.", "source", "task")
	runStart       = gauge("rqvault_last_run_start_timestamp_seconds", "When the last run began.", "source", "task")
	runEnd         = gauge("rqvault_last_run_end_timestamp_seconds", "When the last run ended.", "source", "task")
	runOK          = gauge("rqvault_last_run_ok", "1 if the last run that was not aborted succeeded, else 0.", "source", "task")
	runDuration    = gauge("rqvault_last_run_duration_seconds", "How long the last run took.", "source", "task")
	phaseDuration  = gauge("rqvault_last_run_phase_duration_seconds", "How long each phase of the last run took.", "source", "task", "phase")
	phaseBytes     = gauge("rqvault_last_run_phase_bytes", "Bytes that each phase of the last run moved.", "source", "task", "phase")
	success        = gauge("rqvault_last_success_timestamp_seconds", "When the last run that succeeded ended.", "source", "task")
	nextRun        = gauge("rqvault_next_run_timestamp_seconds", "When the task runs next.", "source", "task")
	ageLimit       = gauge("rqvault_age_limit_seconds", "How old the last success of the task may be, by the configuration.", "source", "task")
	expectedSince  = gauge("rqvault_expected_since_timestamp_seconds", "Since when the task is scheduled, as far as this process knows.", "source", "task")
	snapshotAt     = gauge("rqvault_snapshot_timestamp_seconds", "The instant that the newest snapshot stands for.", "source")
	snapshotJobs   = gauge("rqvault_snapshot_jobs", "Jobs in the newest snapshot.", "source", "queue", "status")
	snapshotKeys   = gauge("rqvault_snapshot_keys", "Keys in the newest snapshot.", "source")
	snapshotDump   = gauge("rqvault_snapshot_dump_bytes", "Size of the newest snapshot's dump, unpacked.", "source")
	snapshotStored = gauge("rqvault_snapshot_stored_bytes", "Size of the newest snapshot's objects as stored.", "source")
	storedCount    = gauge("rqvault_stored_snapshots", "Snapshots in the store.", "source")
	storedBytes    = gauge("rqvault_stored_bytes", "Size of all snapshots in the store.", "source")
	verifiedAt     = gauge("rqvault_verified_snapshot_timestamp_seconds", "The instant that the newest snapshot stands for which was read back and proved whole.", "source")
	verifyOK       = gauge("rqvault_last_verify_ok", "1 if the last snapshot that was verified is whole, 0 if it is damaged.", "source")
	drilledAt      = gauge("rqvault_drilled_snapshot_timestamp_seconds", "The instant that the newest snapshot stands for which a drill restored.", "source")
	drillOK        = gauge("rqvault_last_drill_ok", "1 if the last drill gave back exactly its snapshot, else 0.", "source")
	drillRecovery  = gauge("rqvault_last_drill_recovery_seconds", "How long a recovery takes, by the last drill: fetch and load.", "source")

	// Jobs.
	diffJobs   = gauge("rqvault_diff_jobs", "Jobs by verdict, by the last comparison of live Redis with a snapshot.", "source", "verdict")
	fsckCounts = gauge("rqvault_fsck_breaches", "Breaches of RQ's rules in live Redis, by the last look.", "source", "severity")
	frozen     = gauge("rqvault_frozen", "1 while a wipe that was detected keeps retention frozen.", "source")

	// Live Redis.
	redisUp     = gauge("rqvault_redis_up", "1 if Redis answered when last asked.", "source")
	queueJobs   = gauge("rqvault_queue_jobs", "Ids that wait in a queue of live Redis.", "source", "queue")
	queueOldest = gauge("rqvault_queue_oldest_job_timestamp_seconds", "When the job at the head of a queue was enqueued.", "source", "queue")
	workers     = gauge("rqvault_workers", "Workers that are alive.", "source")

	// The daemon.
	storeUp     = own("rqvault_store_up", "1 if the store answered when last asked.", "store")
	leading     = own("rqvault_lease_leader", "1 if this process leads.", "lease")
	generation  = own("rqvault_lease_generation", "How often the lease changed hands since it was made.", "lease")
	leaseLost   = counter("rqvault_lease_lost_total", "How often this process stopped leading.", "lease")
	configOK    = own("rqvault_config_last_reload_ok", "1 if the configuration could be read when last asked to.")
	configAt    = own("rqvault_config_last_good_timestamp_seconds", "When the configuration in force was read.")
	alarms      = gauge("rqvault_alarm", "1 for each alarm that holds.", "source", "alarm", "severity")
	sent        = counter("rqvault_messages_total", "Messages to people, by target and result: ok, failed (and tried again) or dropped.", "target", "result")
	sentSuccess = own("rqvault_last_message_timestamp_seconds", "When the last message reached the target.", "target")
)
