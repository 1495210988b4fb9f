// Package verify finds out what is true: whether a stored snapshot is whole, and what
// became of each of its jobs in a live Redis. It only ever reads. Compare is a pure
// function of two sorted indexes, a lineage and an instant.
package verify

import (
	"unicode/utf8"

	"rqvault/internal/job"
)

// Verdict is what became of one job, by the table in docs/concepts.md.
type Verdict string

// The verdicts.
const (
	Intact    Verdict = "intact"
	Advanced  Verdict = "advanced"
	Completed Verdict = "completed"
	Expired   Verdict = "expired"
	Lost      Verdict = "lost"
	Regressed Verdict = "regressed"
	Misplaced Verdict = "misplaced"
	InFlight  Verdict = "in_flight"
	Uncertain Verdict = "uncertain"
	New       Verdict = "new"
)

// Verdicts lists them all, in the order in which people want to read them.
var Verdicts = []Verdict{Lost, Misplaced, Regressed, Uncertain, InFlight, Expired, Completed, Advanced, New, Intact}

// Action is what a restore would do about a finding.
type Action string

// The actions. Restore puts the whole job back, Place only its id. Forward takes a job that
// live has in an older state out of where it stands there and gives it the snapshot's; Start
// enqueues who was to follow one that ended so, where that was left undone. Requeue and Fail
// put a job back whose run died, to run again or as failed. Hold needs a person.
const (
	None    Action = "none"
	Restore Action = "restore"
	Place   Action = "place"
	Forward Action = "forward"
	Start   Action = "start"
	Requeue Action = "requeue"
	Fail    Action = "fail"
	Hold    Action = "hold"
)

// Decider is what a person has to say for a held job to be acted on: the flag of that name.
type Decider string

// The deciders. What none of them settles has to be put right by hand, or waits.
const (
	ByAssume  Decider = "assume"
	ByPolicy  Decider = "policy"
	ByStarted Decider = "started"
)

// Policy decides what cannot be known.
type Policy string

// The policies. AtLeastOnce restores a job that may have run; AtMostOnce holds it.
const (
	AtLeastOnce Policy = "at-least-once"
	AtMostOnce  Policy = "at-most-once"
)

// Puts reports whether the action puts a job back that live does not have.
func (a Action) Puts() bool { return a == Restore || a == Requeue || a == Fail }

// Guard is the state in which a job must be found for an action on it to be right.
type Guard string

// The guards. Absent: no hash of that name. Same: a job with the snapshot's created_at,
// status and enqueued_at. Waiting: no hash, but the id where it waits. Seen: the job
// exactly as it was compared. Stub: a hash without a job, as it was compared.
const (
	GuardAbsent Guard = "absent"
	GuardSame   Guard = "same"
	GuardWaits  Guard = "waiting"
	GuardSeen   Guard = "seen"
	GuardStub   Guard = "stub"
)

// Finding is the verdict on one job.
type Finding struct {
	DB      int32      `json:"db"`
	JobID   string     `json:"job_id"`
	RawID   []byte     `json:"job_id_raw,omitempty"` // where the id is no UTF-8
	Queue   string     `json:"queue"`
	Status  job.Status `json:"status"` // in the snapshot; in live for new ones
	Verdict Verdict    `json:"verdict"`
	Action  Action     `json:"action"`
	Guard   Guard      `json:"guard,omitempty"`
	Reason  string     `json:"reason"`
	// Evidence is what the verdict rests on, piece by piece, in words.
	Evidence []string `json:"evidence,omitempty"`
	// DecidedBy is what would settle a held job; "" if nothing would, or it is not held.
	DecidedBy Decider `json:"decided_by,omitempty"`
	// ExpireAt is the job's new expiry, Unix ms, where its own is extended; 0 where not.
	ExpireAt int64      `json:"expire_at,omitempty"`
	Moving   bool       `json:"-"` // live knows its id, so it may have been on its way when it was looked at
	Popped   bool       `json:"-"` // a worker may have just taken it from its list
	Seen     *job.Row   `json:"-"` // the job as live has it
	Home     *job.Place `json:"-"` // where its id waits in live: only the hash is missing
	// Of a job to act on, by the snapshot: where its id stood among those that were to run,
	// nil for nowhere, and the jobs it waited for.
	Stood   *job.Place `json:"-"`
	Follows []string   `json:"-"`
	created int64      // when the snapshot's job was, Unix microseconds; 0 if it has none
	deleted bool       // gone, though RQ would still have the record of its end
	torn    bool       // keys of it vanished that RQ does not remove
	orphan  *orphaned  // nil for nearly all
}

// orphaned is a job that some of its parents no longer list.
type orphaned struct{ of, parents []string }

// Raw returns the bytes of a name that JSON cannot carry as a string; nil for all others.
func Raw(name string) []byte {
	if utf8.ValidString(name) {
		return nil
	}
	return []byte(name)
}

// Key names the finding's job across databases.
func (f *Finding) Key() JobKey { return JobKey{f.DB, f.JobID} }

func (f Finding) by(d Decider) Finding {
	f.DecidedBy = d
	return f
}

// In names the queue of the finding's job across databases.
func (f *Finding) In() Queue { return Queue{f.DB, f.Queue} }

// Queue names a queue: names are unique only within one database.
type Queue struct {
	DB   int32
	Name string
}

// JobKey names a job: ids are unique only within one database.
type JobKey struct {
	DB int32
	ID string
}
