// Package rq is what rqvault knows of python-rq: the grammar of its key names, the
// fields of a job's hash, and where a job of each status must stand. It implements
// job.Schema and knows neither RDB nor network. The forms are those of RQ 1.0 to 2.10
// and of the announced 3.0, read in rq/job.py, rq/queue.py, rq/registry.py,
// rq/results.py and rq/executions.py and seen in key dumps.
package rq

import (
	"bytes"
	"strings"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
)

const (
	prefix       = "rq:"
	jobPrefix    = "rq:job:"
	queuePrefix  = "rq:queue:"
	queuesKey    = "rq:queues"
	groupPrefix  = "rq:group:"
	groupsKey    = "rq:groups"
	resultPrefix = "rq:results:"
	ratePrefix   = "rq:rl:"
	workerPrefix = "rq:worker:"
	suspendedKey = "rq:suspended"

	schedulerLock = "rq:scheduler-lock:"
	compactName   = "_compact:"

	dependents   = ":dependents"
	dependencies = ":dependencies"
	intermediate = ":intermediate"
	firstSeen    = ":intermediate:first_seen:"
)

// Schema is RQ's job.Schema.
type Schema struct{}

var _ job.Schema = Schema{}

// Name returns "rq".
func (Schema) Name() string { return "rq" }

// Prefix returns "rq:".
func (Schema) Prefix() string { return prefix }

// registries maps a zset's prefix to its place.
var registries = []struct {
	prefix string
	place  job.PlaceKind
}{
	{"rq:wip:", job.InWip},
	{"rq:finished:", job.InFinished},
	{"rq:failed:", job.InFailed},
	{"rq:deferred:", job.InDeferred},
	{"rq:scheduled:", job.InScheduled},
	{"rq:canceled:", job.InCanceled},
	{"rq:ready:", job.InReady},
}

// volatile lists the prefixes and names that must never come back: a lock without its
// expiry stops maintenance or scheduling for good, a worker's key stops a worker of
// that name from starting.
var volatile = []struct {
	prefix string
	flag   job.Flag
}{
	{"rq:execution:", job.Beats},
	{"rq:workers:", job.NoFlag},
	{"rq:clean_registries:", job.Locks},
	{schedulerLock, job.SchedulerLock},
	{"rq:scheduler:", job.Beats},
	{"rq:cron_scheduler:", job.Beats},
	{"rq:cron_job:", job.NoFlag},
	{"rq:registry:", job.NoFlag},
	{workerPrefix, job.NoFlag}, // a worker's set of executions, or a key of the wrong type
}

var volatileNames = []string{"rq:workers", suspendedKey, "rq:cron_schedulers"}

// Classify takes one key's name apart. The Redis type decides where a name has two
// readings: a hash rq:job:x:dependents is the job "x:dependents", a set of that name
// holds the children of the job x.
func (Schema) Classify(name []byte, kind keyspace.Kind) job.Key {
	if !bytes.HasPrefix(name, []byte(prefix)) {
		return job.Key{}
	}
	switch kind {
	case keyspace.Hash:
		if id, ok := after(name, jobPrefix); ok {
			return job.Key{Role: job.Hash, ID: id, Part: job.HashPart}
		}
		if k, ok := after(name, ratePrefix); ok {
			return job.Key{Role: job.Plain, Queue: k}
		}
		if w, ok := after(name, workerPrefix); ok {
			return job.Key{Role: job.WorkerHash, Queue: w, Flag: job.Beats}
		}
	case keyspace.Set:
		return classifySet(name)
	case keyspace.ZSet:
		if k := classifyZSet(name); k.Role != job.Unknown {
			return k
		}
	case keyspace.List:
		if k, ok := classifyList(name); ok {
			return k
		}
	case keyspace.Stream:
		if id, ok := after(name, resultPrefix); ok {
			return job.Key{Role: job.Owned, ID: id, Part: job.ResultsPart}
		}
	}
	return classifyVolatile(name, kind)
}

func classifySet(name []byte) job.Key {
	if rest, ok := after(name, jobPrefix); ok {
		// The parents' set is written with two colons, the children's with one.
		if id, ok := bytes.CutSuffix(rest, []byte(dependencies)); ok && len(id) > 1 && id[0] == ':' {
			return job.Key{Role: job.Owned, ID: id[1:], Part: job.DependenciesPart}
		}
		if id, ok := bytes.CutSuffix(rest, []byte(dependents)); ok && len(id) > 0 {
			return job.Key{Role: job.Owned, ID: id, Part: job.DependentsPart}
		}
		return classifyVolatile(name, keyspace.Set)
	}
	if g, ok := after(name, groupPrefix); ok {
		return job.Key{Role: job.Members, Queue: g, Place: job.InGroup}
	}
	switch string(name) {
	case queuesKey:
		return job.Key{Role: job.QueueList}
	case groupsKey:
		return job.Key{Role: job.GroupList}
	case "rq:rl-keys":
		return job.Key{Role: job.Plain}
	}
	return classifyVolatile(name, keyspace.Set)
}

func classifyZSet(name []byte) job.Key {
	for _, r := range registries {
		if q, ok := bytes.CutPrefix(name, []byte(r.prefix)); ok { // RQ takes a queue of no name
			return job.Key{Role: job.Registry, Queue: q, Place: r.place}
		}
	}
	if id, ok := after(name, "rq:executions:"); ok {
		return job.Key{Role: job.Owned, ID: id, Part: job.ExecutionsPart}
	}
	if rest, ok := after(name, ratePrefix); ok {
		if k, ok := bytes.CutSuffix(rest, []byte(":rate_limited")); ok {
			return job.Key{Role: job.Registry, Queue: k, Place: job.InRateLimited}
		}
		if k, ok := bytes.CutSuffix(rest, []byte(":allowed")); ok {
			return job.Key{Role: job.Registry, Queue: k, Place: job.InRateAllowed}
		}
	}
	return job.Key{Role: job.Unknown}
}

func classifyList(name []byte) (job.Key, bool) {
	rest, ok := bytes.CutPrefix(name, []byte(queuePrefix))
	if !ok {
		return job.Key{}, false
	}
	if q, ok := bytes.CutSuffix(rest, []byte(intermediate)); ok && len(q) > 0 {
		return job.Key{Role: job.List, Queue: q, Place: job.InIntermediate}, true
	}
	if bytes.HasPrefix(rest, []byte(compactName)) {
		return job.Key{Role: job.List, Queue: rest, Place: job.InCompact}, true
	}
	return job.Key{Role: job.List, Queue: rest, Place: job.InQueue}, true
}

func classifyVolatile(name []byte, kind keyspace.Kind) job.Key {
	for _, p := range volatile {
		if q, ok := bytes.CutPrefix(name, []byte(p.prefix)); ok {
			k := job.Key{Role: job.Volatile, Flag: p.flag}
			if p.flag == job.Beats && kind != keyspace.Hash {
				return job.Key{Role: job.Plain} // such as the schedule of the package rq-scheduler
			}
			if p.flag == job.SchedulerLock {
				k.Queue = q
			}
			return k
		}
	}
	if string(name) == suspendedKey {
		return job.Key{Role: job.Volatile, Flag: job.Suspends}
	}
	for _, n := range volatileNames {
		if string(name) == n {
			return job.Key{Role: job.Volatile}
		}
	}
	if rest, ok := after(name, queuePrefix); ok && bytes.Contains(rest, []byte(firstSeen)) {
		return job.Key{Role: job.Volatile}
	}
	return job.Key{Role: job.Unknown, Wrong: mistyped(name)}
}

// mistyped reports whether a name that has another type than it should is one that RQ
// itself would use, and fail at.
func mistyped(name []byte) bool {
	for _, p := range []string{queuePrefix, jobPrefix, resultPrefix, groupPrefix, "rq:executions:"} {
		// People hang keys of their own on jobs, such as rq:job:ID:lock.
		if rest, ok := bytes.CutPrefix(name, []byte(p)); ok && (p == queuePrefix || bytes.IndexByte(rest, ':') < 0) {
			return true
		}
	}
	for _, r := range registries {
		if bytes.HasPrefix(name, []byte(r.prefix)) {
			return true
		}
	}
	return string(name) == queuesKey || string(name) == groupsKey
}

// Settle decides a list called rq:queue:x:intermediate. Queues are registered by the
// full name of their list, so if that very name stands in rq:queues it is a queue
// called "x:intermediate"; a list of popped ids is never registered. The same goes
// for a queue whose name begins like a compaction's leftover.
func (Schema) Settle(name []byte, k job.Key, registered func(list string) bool) job.Key {
	if k.Role == job.List && k.Place != job.InQueue && registered(string(name)) {
		return job.Key{Role: job.List, Queue: name[len(queuePrefix):], Place: job.InQueue}
	}
	return k
}

// executionID is the length of an execution's id: a UUID as hex digits.
const executionID = 32

// JobOf returns the job that a member of a registry or list stands for. Since RQ 2.0
// the registry of running jobs holds "job:execution", the execution's id being 32 hex
// digits; before that, the bare id. A job id may itself look like that, so the whole
// member comes first.
func (Schema) JobOf(place job.PlaceKind, member []byte) (id, alt []byte) {
	cut := len(member) - executionID - 1
	if place != job.InWip || cut <= 0 || member[cut] != ':' {
		return member, nil
	}
	for _, c := range member[cut+1:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return member, nil
		}
	}
	return member, member[:cut]
}

// Key names of what is written back.

// PartKey is the name of one key of a job. The set of its parents has two colons, that
// of its children one.
func (Schema) PartKey(id string, part job.PartName) string {
	switch part {
	case job.DependentsPart:
		return jobPrefix + id + dependents
	case job.DependenciesPart:
		return jobPrefix + ":" + id + dependencies
	case job.ResultsPart:
		return resultPrefix + id
	case job.ExecutionsPart:
		return "rq:executions:" + id
	default:
		return jobPrefix + id
	}
}

// PlaceKey is the name of the list, registry or set that a place is in. A place in a
// compaction's leftover has the leftover's own name as its queue.
func (Schema) PlaceKey(kind job.PlaceKind, queue string) string {
	switch kind {
	case job.InQueue, job.InCompact:
		return queuePrefix + queue
	case job.InIntermediate:
		return queuePrefix + queue + intermediate
	case job.InGroup:
		return groupPrefix + queue
	case job.InRateLimited:
		return ratePrefix + queue + ":rate_limited"
	case job.InRateAllowed:
		return ratePrefix + queue + ":allowed"
	}
	for _, r := range registries {
		if r.place == kind {
			return r.prefix + queue
		}
	}
	return ""
}

// QueuesKey is the set of all queues, which holds the names of their lists.
func (Schema) QueuesKey() string { return queuesKey }

// SuspendKey is what workers look for between two jobs. One that waits for a job in its
// list already does not look again before it has run one.
func (Schema) SuspendKey() string { return suspendedKey }

// WorkersKey is the set of all registered workers, by the names of their keys.
func (Schema) WorkersKey() string { return "rq:workers" }

// WorkerName is the name of the worker that has this key.
func (Schema) WorkerName(key string) string { return strings.TrimPrefix(key, workerPrefix) }

// SchedulerLockKey is held by whoever schedules for a queue.
func (Schema) SchedulerLockKey(queue string) string { return schedulerLock + queue }

// FirstSeenKey holds when RQ's maintenance first saw an id that was popped and not
// prepared, in Unix seconds.
func (Schema) FirstSeenKey(queue, id string) string { return queuePrefix + queue + firstSeen + id }

// GroupsKey is the set of all groups' names.
func (Schema) GroupsKey() string { return groupsKey }

func after(name []byte, prefix string) ([]byte, bool) {
	if len(name) > len(prefix) && string(name[:len(prefix)]) == prefix {
		return name[len(prefix):], true
	}
	return nil, false
}
