// Package job holds the neutral words for work that waits in Redis: a job row, the
// places its id stands in, the parts that belong to it, and the Schema through which
// one queue library (RQ first) explains its keys. Nothing here knows a key name.
package job

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Status is where a job is in its life, in the words of RQ.
type Status string

// The statuses a job can have.
const (
	Created     Status = "created"
	Queued      Status = "queued"
	Started     Status = "started"
	Deferred    Status = "deferred"
	Finished    Status = "finished"
	Failed      Status = "failed"
	Stopped     Status = "stopped"
	Scheduled   Status = "scheduled"
	Canceled    Status = "canceled"
	RateLimited Status = "rate_limited"
	Ready       Status = "ready_to_enqueue"
)

var statuses = []Status{Created, Queued, Started, Deferred, Finished, Failed, Stopped, Scheduled, Canceled, RateLimited, Ready}

// Statuses returns them all.
func Statuses() []Status { return slices.Clone(statuses) }

// Known reports whether s is a status some released or announced RQ writes.
func (s Status) Known() bool { return slices.Contains(statuses, s) }

// Ended reports whether the job's run is over: it must not run again by itself.
func (s Status) Ended() bool {
	return s == Finished || s == Failed || s == Stopped || s == Canceled
}

// PlaceKind says what sort of structure an id stands in.
type PlaceKind string

// The kinds of place. Intermediate is the list of ids popped but not yet prepared,
// Compact the leftover of an interrupted queue clean-up, Wip the registry of running jobs.
const (
	InQueue        PlaceKind = "queue"
	InIntermediate PlaceKind = "intermediate"
	InCompact      PlaceKind = "compact"
	InWip          PlaceKind = "wip"
	InFinished     PlaceKind = "finished"
	InFailed       PlaceKind = "failed"
	InDeferred     PlaceKind = "deferred"
	InScheduled    PlaceKind = "scheduled"
	InCanceled     PlaceKind = "canceled"
	InReady        PlaceKind = "ready"
	InRateLimited  PlaceKind = "rate_limited"
	InRateAllowed  PlaceKind = "rate_allowed"
	InGroup        PlaceKind = "group"
)

// Ordered reports whether a place is a list, where Position counts, rather than a
// set with scores.
func (k PlaceKind) Ordered() bool { return k == InQueue || k == InIntermediate || k == InCompact }

// Place is one spot an id stands in.
type Place struct {
	Kind     PlaceKind `json:"kind" parquet:"kind,dict"`
	Queue    string    `json:"queue" parquet:"queue,dict"`             // queue, group or rate-limit key the place belongs to
	Position int64     `json:"position" parquet:"position"`            // distance from the head of a list, 0 runs first
	Score    float64   `json:"score" parquet:"score"`                  // score in a registry
	Member   string    `json:"member,omitempty" parquet:"member,dict"` // the member as stored, where it is not the bare id
}

// PartName names a key that belongs to one job.
type PartName string

// The parts of a job. Executions is never restored; it is evidence of a run.
const (
	HashPart         PartName = "hash"
	DependentsPart   PartName = "dependents"
	DependenciesPart PartName = "dependencies"
	ResultsPart      PartName = "results"
	ExecutionsPart   PartName = "executions"
)

// Part is one key of a job and where its value lies in the dump.
type Part struct {
	Name     PartName `json:"name" parquet:"name,dict"`
	Type     int32    `json:"type" parquet:"type"`           // RDB type byte
	ExpireAt int64    `json:"expire_at" parquet:"expire_at"` // Unix ms, 0 none
	Offset   int64    `json:"offset" parquet:"offset"`       // of the raw value in the dump; -1 when live
	Length   int64    `json:"length" parquet:"length"`       // bytes of the raw value
	Frame    int32    `json:"frame" parquet:"frame"`         // frame of dump.rdb.zst in which it begins
	Digest   int64    `json:"digest" parquet:"digest"`       // xxHash64 of type byte and raw value, its bits as int64
}

// Row is all that is known of one job from one image of a keyspace. Times are Unix
// microseconds in UTC, 0 where absent; expiries are Unix milliseconds, 0 for none.
type Row struct {
	DB                int32    `parquet:"db"`
	ID                string   `parquet:"job_id"`
	Exists            bool     `parquet:"exists"` // the job's hash is there and holds a job
	Stub              bool     `parquet:"stub"`   // a hash of that name without a job in it
	Status            Status   `parquet:"status,dict"`
	Queue             string   `parquet:"queue,dict"` // the queue the job belongs to
	Func              string   `parquet:"func,dict"`  // dotted name of the function, never its arguments
	CreatedAt         int64    `parquet:"created_at,timestamp(microsecond)"`
	EnqueuedAt        int64    `parquet:"enqueued_at,timestamp(microsecond)"`
	StartedAt         int64    `parquet:"started_at,timestamp(microsecond)"`
	EndedAt           int64    `parquet:"ended_at,timestamp(microsecond)"`
	HeartbeatAt       int64    `parquet:"heartbeat_at,timestamp(microsecond)"`
	ExpireAt          int64    `parquet:"expire_at"` // of the hash
	Timeout           int64    `parquet:"timeout"`   // seconds, 0 unknown, -1 none
	TTL               int64    `parquet:"ttl"`       // seconds a queued job stays useful, 0 for ever
	ResultTTL         int64    `parquet:"result_ttl,optional"`
	HasResultTTL      bool     `parquet:"has_result_ttl"`
	FailureTTL        int64    `parquet:"failure_ttl,optional"`
	HasFailureTTL     bool     `parquet:"has_failure_ttl,optional"`
	RetriesLeft       int64    `parquet:"retries_left"`
	RepeatsLeft       int64    `parquet:"repeats_left"`
	AtFront           bool     `parquet:"at_front"`
	AllowParentFailed bool     `parquet:"allow_dependency_failures"`
	Parents           []string `parquet:"parents,list"`             // as the job's hash names them
	ParentSet         []string `parquet:"parent_set,list,optional"` // as the set of its dependencies does
	ListedBy          []string `parquet:"listed_by,list,optional"`  // the jobs whose sets of dependents name it
	Group             string   `parquet:"group,dict"`
	Worker            string   `parquet:"worker,dict"`
	ResultAt          int64    `parquet:"result_at"`   // Unix ms of the newest entry of the results stream
	ResultType        int32    `parquet:"result_type"` // its type: 1 success, 2 failed, 4 retried, 5 retries exceeded
	Problem           string   `parquet:"problem,dict"`
	Places            []Place  `parquet:"places,list"`
	Parts             []Part   `parquet:"parts,list"`
}

// Part returns the part of that name, or nil.
func (r *Row) Part(name PartName) *Part {
	for i := range r.Parts {
		if r.Parts[i].Name == name {
			return &r.Parts[i]
		}
	}
	return nil
}

// Place returns the first place of that kind, or nil.
func (r *Row) Place(kind PlaceKind) *Place {
	for i := range r.Places {
		if r.Places[i].Kind == kind {
			return &r.Places[i]
		}
	}
	return nil
}

// Runs returns the place from which the job's id would have been taken to run, or nil.
func (r *Row) Runs() *Place {
	return cmp.Or(r.Place(InQueue), r.Place(InCompact), r.Place(InIntermediate))
}

// Version is the instant, in Unix microseconds, of the newest thing known to have
// happened to the job. A cancel writes no time into the hash, so its registry score
// counts. Only two rows with one CreatedAt can be compared by it.
func (r *Row) Version() int64 { return max(r.VersionWithoutResult(), r.ResultAt*1000) }

// VersionWithoutResult is the version as told by hash and registries, for comparing with
// a side that lost the results.
func (r *Row) VersionWithoutResult() int64 {
	v := max(r.CreatedAt, r.EnqueuedAt, r.StartedAt, r.EndedAt, r.HeartbeatAt)
	if p := r.Place(InCanceled); p != nil && math.Abs(p.Score*1e6) < math.MaxInt64 { // an infinity is no instant
		v = max(v, int64(p.Score*1e6))
	}
	return v
}

// Compare orders rows as the index stores them: by database, then by id, bytewise.
func Compare(a, b *Row) int {
	if a.DB != b.DB {
		return int(a.DB) - int(b.DB)
	}
	return strings.Compare(a.ID, b.ID)
}
