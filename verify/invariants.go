package verify

// Severity says how bad it is that an invariant does not hold.
type Severity string

// The severities. Critical: a job is lost, doubled, or a worker stands still. High: a job
// comes to a wrong end. Medium: something leaks or is late. Low: untidy, and RQ itself
// leaves it so.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

// Counts reports whether a breach of that severity is a fault to act on.
func (s Severity) Counts() bool { return s != Low }

// Invariant is one thing that holds in a healthy Redis of RQ's.
type Invariant struct {
	Name     string
	Severity Severity
	Means    string // what it means that it does not hold
	Repair   string // what restore --repair does about it; empty if nothing safe can be done
}

// InvariantOf returns the one of that name, or nil.
func InvariantOf(name string) *Invariant {
	for i := range Invariants {
		if Invariants[i].Name == name {
			return &Invariants[i]
		}
	}
	return nil
}

// Invariants lists them all, worst first.
var Invariants = []Invariant{
	{"queue-duplicate-id", Critical, "an id stands more than once in queues: the job runs as often", "keep the place nearest to a head, take out the others"},
	{"queue-status-mismatch", Critical, "an id waits in a queue, but its job does not: it runs all the same", "take it out; a job that then waits nowhere is made a queued one"},
	{"queue-wrong-type", Critical, "a key of RQ's has another type: workers fail at it", ""},
	{"queued-job-not-in-queue", Critical, "a job is queued, and no list has it: it never runs", "put it at the head of its queue"},
	{"compact-leftover", Critical, "a clean-up of a queue was interrupted: the ids in its leftover never run", "put them back into their queues, drop the leftover"},
	{"started-job-not-in-wip", Critical, "a job is called running, and nobody watches it: if its worker dies, nobody notices", "once its run is dead, what --started says"},
	{"wip-status-mismatch", Critical, "a job that does not run is listed as running: RQ will fail it or run it again", "take it off the list of running jobs"},
	{"scheduled-job-not-in-registry", Critical, "a job is scheduled, and no registry has it: it never runs", "schedule it for now"},
	{"deferred-missing-dependencies-set", Critical, "the set of jobs that a job waits for is incomplete: it starts too early", "add what its hash names"},
	{"deferred-missing-reverse-link", Critical, "a job that another one waits for does not know of it: that one never starts", "add it to its dependents"},
	{"deferred-ready", Critical, "all that a job waited for has ended, and nobody started it: it never runs", "enqueue it, as RQ would have"},
	{"hash-unknown-status", Critical, "a job's status is none that RQ knows: its worker stops", ""},
	{"hash-unparsable-field", Critical, "a field of a job has a form that RQ cannot read: its worker stops", ""},
	{"job-id-not-portable", Critical, "a job's id is one that the workers' version of RQ refuses: it is dropped, or a worker stops", ""},
	{"results-ahead", Critical, "a job waits or runs, and has succeeded later than it was enqueued: it would run again", "take it out of its queue, and end it as finished"},
	{"volatile-without-ttl", Critical, "a lock or a sign of life never expires: what it keeps out never comes back", "remove the lock; let the sign of life expire"},

	{"queue-origin-mismatch", High, "an id waits in another queue than its job belongs to", "move it to the end of its own queue"},
	{"intermediate-stale", High, "an id was popped and never prepared: RQ will fail the job", "put it at the head of its queue, if it is queued; drop it from there, if not"},
	{"wip-expired", High, "a running job's heartbeat ended long ago, and no maintenance has seen to it: no worker serves its queue", ""},
	{"deferred-job-not-in-registry", High, "a job is deferred, and no registry has it", "add it, without an end"},
	{"deferred-parent-missing", High, "a job waits for one that does not exist", ""},
	{"scheduled-overdue", High, "a job's time came more than two minutes ago, and no scheduler serves its queue", ""},
	{"hash-missing-data", High, "a hash has a job's name and no job in it", "remove it, if nothing refers to it"},
	{"job-without-group", High, "a job belongs to a group that does not have it: deleting the job fails", "add it to its group"},
	{"suspended-left", High, "workers are suspended: they take no jobs", ""},

	{"queue-id-without-hash", Medium, "an id waits in a queue, and its job is gone", "take it out"},
	{"wip-without-hash", Medium, "a job that is gone is listed as running", "take it off the list of running jobs"},
	{"finished-job-not-in-registry", Medium, "a finished job is in no registry: nothing ever removes it, or people cannot find it", "add it, with its own expiry"},
	{"failed-job-not-in-registry", Medium, "a failed job is in no registry: people cannot find it to requeue it", "add it, with its own expiry"},
	{"canceled-job-not-in-registry", Medium, "a canceled job is in no registry", "add it"},
	{"finished-ttl-mismatch", Medium, "a finished job's record and its place in the registry end at different times", "let the record end when its place does"},
	{"failed-ttl-mismatch", Medium, "a failed job's record and its place in the registry end at different times", "let the record end when its place does"},
	{"deferred-without-hash", Medium, "a job that is gone is listed as deferred", "take it off that list"},
	{"scheduled-without-hash", Medium, "a job that is gone is listed as scheduled: it is asked for every second", "take it off that list"},
	{"ready-stale", Medium, "a job that does not wait to be enqueued is listed so", "take it off that list"},
	{"rate-limit-slot-stale", Medium, "a job that neither waits nor runs holds a slot of a rate limit", "free the slot"},

	{"queue-not-registered", Low, "a queue is not in the set of queues: rq info does not show it", "add it"},
	{"wip-format-mixed", Low, "running jobs are listed in the form of RQ 1 and in that of RQ 2", ""},
	{"finished-status-mismatch", Low, "a job that did not finish is listed as finished, as an earlier job of its id leaves it", "take it off that list"},
	{"failed-status-mismatch", Low, "a job that did not fail is listed as failed: an earlier job of its id leaves it so; requeuing it would run it again", "take it off that list"},
	{"finished-without-hash", Low, "a finished job's record ended before its place in the registry: maintenance removes that", ""},
	{"failed-without-hash", Low, "a failed job's record ended before its place in the registry: maintenance removes that", ""},
	{"canceled-without-hash", Low, "a canceled job's record has ended, and its place stays for ever", "take it off that list"},
	{"deferred-parent-dead", Low, "a job waits for one that failed, was stopped or canceled: RQ leaves it so", ""},
	{"group-without-job", Low, "a group names a job that is gone", "take it out of the group"},
	{"results-orphan", Low, "results of a job that is gone: evidence, which expires", ""},
	{"execution-orphan", Low, "a run of a job that is gone: evidence, which expires", ""},
}
