package job

import (
	"time"

	"rqvault/internal/keyspace"
)

// Role says what a key means to a queue library.
type Role uint8

// The roles of a key.
const (
	Foreign    Role = iota // not a key of this library
	Hash                   // a job's own hash
	Owned                  // another key of one job: Key.Part says which
	List                   // ids in order: Key.Place and Key.Queue say where
	Registry               // ids with scores: likewise
	Members                // a set of ids: likewise (groups)
	QueueList              // the set of all queues' names
	GroupList              // the set of all groups' names
	WorkerHash             // a worker's own hash: Key.Queue is its name; never restored
	Plain                  // restored like any other key
	Volatile               // locks, workers, heartbeats: never restored
	Unknown                // under the library's prefix, in no form we know
)

// Key is a key's name, taken apart. The byte slices point into the name.
type Key struct {
	Role  Role
	ID    []byte // Hash, Owned: the job
	Part  PartName
	Queue []byte // List, Registry, Members: queue, group or rate-limit key; SchedulerLock: the queue
	Place PlaceKind
	Flag  Flag // Volatile, WorkerHash
	Wrong bool // Unknown: the name is one of the library's, the type is not
}

// Flag says what the mere existence of a volatile key does.
type Flag uint8

// The flags. All but Suspends have an expiry, or their word stands for ever.
const (
	NoFlag        Flag = iota
	Suspends           // workers take no new jobs
	Locks              // others are kept out
	SchedulerLock      // likewise, and a scheduler serves the queue
	Beats              // somebody is alive
)

// Field is a field of a job's hash: one of the numbers below, or one of the library's own.
type Field uint8

// The fields that the index does not take, and the first number of those that it does.
const (
	ForeignField Field = iota // the library does not write it
	OwnField                  // the library writes it
	FirstField
)

// Worker is a process that runs jobs, as it says of itself in Redis.
type Worker struct {
	DB          int32
	Name        string
	HeartbeatAt int64  // Unix microseconds, 0 if it does not say
	Job         string // the job it runs, "" for none
	Version     string // of the library it runs, "" if it does not say
	Dead        bool   // it has signed off
	Whole       bool   // it registered itself here; one that outlived a loss has not
}

// Schema explains one queue library's use of Redis. RQ's is rqvault/internal/rq; a
// second library is a second package with this interface and changes nothing else.
// Implementations are stateless and safe for concurrent use.
type Schema interface {
	// Name is the library's name, such as "rq".
	Name() string
	// Prefix begins every key of the library.
	Prefix() string
	// Classify takes a key's name apart. The type decides where a name alone is ambiguous.
	Classify(name []byte, kind keyspace.Kind) Key
	// Settle decides a list whose name has two readings, once the names in the set of
	// queues are known.
	Settle(name []byte, k Key, registered func(list string) bool) Key
	// Field says which field of a job's hash that is.
	Field(name []byte) Field
	// Wants reports whether Fill takes that field of a job's hash.
	Wants(name []byte) bool
	// FieldsToJudge lists the fields that Fill needs of a hash that is there, but for those
	// that may be large: what a job is called and is given tells nothing of its state.
	FieldsToJudge() []string
	// FieldsToCompare lists those of them that tell one version of a job from another, and
	// what it waits for.
	FieldsToCompare() []string
	// FieldsAtFirst is how many of FieldsToCompare, from the first on, are enough for most
	// jobs, and Glance says by their values whether they are enough for one: that its hash
	// has a payload, is not to be doubted then, and what else it says tells a comparison
	// nothing. Some of those can end, and when they do has to be known even so.
	FieldsAtFirst() int
	Glance(first [][]byte) (enough, ends bool)
	// Fill copies one field of a job's hash into the row; a value it cannot read is
	// noted in row.Problem, without the value. names keeps what rows share; it may be nil.
	Fill(row *Row, names *Names, name, value []byte)
	// FillField does so where it is known which field that is, one of FirstField or above.
	FillField(row *Row, names *Names, f Field, name, value []byte)
	// PayloadField is the field whose presence makes a hash a job.
	PayloadField() string
	// Mask returns what may be seen of one field of a job's hash or results where payloads
	// must not be: the value, or something in its place, or, with keep false, nothing.
	Mask(part PartName, field, value []byte) (seen []byte, keep bool)
	// WorkersPattern is a glob that the keys of all workers fit.
	WorkersPattern() string
	// FillFunc names the function from the first bytes of the payload. It is asked only
	// where no other field named it.
	FillFunc(row *Row, payload []byte)
	// FillResult copies the newest result's fields into the row; at is its time in Unix ms.
	FillResult(row *Row, at int64, field, value []byte)
	// FillWorker copies one field of a worker's hash.
	FillWorker(w *Worker, field, value []byte)
	// Done completes a row once all its fields and places are in it.
	Done(row *Row)
	// JobOf returns the job a registry's member stands for. If alt is not nil, the
	// member stands for alt instead when no job of the name id exists.
	JobOf(place PlaceKind, member []byte) (id, alt []byte)
	// PartKey is the name of one key of a job.
	PartKey(id string, part PartName) string
	// PlaceKey is the name of the list, registry or set that a place is in.
	PlaceKey(kind PlaceKind, queue string) string
	// QueuesKey is the set of all queues, GroupsKey that of all groups' names.
	QueuesKey() string
	// SuspendKey is the flag that keeps workers from taking the next job as long as it is
	// there.
	SuspendKey() string
	GroupsKey() string
	// VersionFields are the fields of a job's hash that change with every turn of its life.
	VersionFields() []string
	// VersionTexts returns all that changes with a turn of the job's life, field by field,
	// as the library writes it.
	VersionTexts(r *Row) map[string]string
	// Requeue returns the fields that make a job whose run died a queued one, and when the
	// hash then expires, Unix ms, 0 for never.
	Requeue(r *Row, now time.Time) (fields map[string]string, expireAt int64)
	// Fail returns the fields that make it a failed one, its score in the registry, when the
	// hash then expires, and the fields of its result.
	Fail(r *Row, now time.Time, why string) (fields map[string]string, score float64, expireAt int64, result map[string]string)
	// Finish returns the fields that make it a finished one since that instant, its score in
	// the registry, and when the hash then expires, Unix ms, 0 for never.
	Finish(r *Row, ended, now time.Time) (fields map[string]string, score float64, expireAt int64)
	// Queue returns the fields that make a deferred job a queued one at that instant.
	Queue(now time.Time) map[string]string
	// Homes lists the kinds of place where a job of that status must be found; nil
	// means nowhere. One of them is enough.
	Homes(s Status) []PlaceKind
}
