package restore

import (
	"math"
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/verify"
)

// fixes are the safe repairs, by the invariant's name. Each returns why it does nothing,
// or "".
var fixes = map[string]func(*repairer, *mend) string{
	"queue-duplicate-id":                fixDuplicate,
	"queue-status-mismatch":             fixStatus,
	"queue-origin-mismatch":             fixOrigin,
	"queued-job-not-in-queue":           fixUnlisted,
	"intermediate-stale":                fixIntermediate,
	"compact-leftover":                  fixCompact,
	"started-job-not-in-wip":            fixStarted,
	"results-ahead":                     fixAhead,
	"scheduled-job-not-in-registry":     fixUnregistered,
	"finished-job-not-in-registry":      fixUnregistered,
	"failed-job-not-in-registry":        fixUnregistered,
	"canceled-job-not-in-registry":      fixUnregistered,
	"deferred-job-not-in-registry":      fixUnregistered,
	"deferred-missing-dependencies-set": fixDependencies,
	"deferred-missing-reverse-link":     fixDependents,
	"deferred-ready":                    fixReady,
	"finished-ttl-mismatch":             fixTTL,
	"failed-ttl-mismatch":               fixTTL,
	"hash-missing-data":                 func(_ *repairer, m *mend) string { m.step("DEL", m.hash()); return "" },
	"job-without-group":                 fixGroup,
	"queue-id-without-hash":             fixTakeOut,
	"wip-status-mismatch":               fixTakeOut,
	"wip-without-hash":                  fixTakeOut,
	"finished-status-mismatch":          fixTakeOut,
	"failed-status-mismatch":            fixTakeOut,
	"deferred-without-hash":             fixTakeOut,
	"scheduled-without-hash":            fixTakeOut,
	"canceled-without-hash":             fixTakeOut,
	"group-without-job":                 fixTakeOut,
	"ready-stale":                       fixTakeOut,
	"rate-limit-slot-stale":             fixTakeOut,
}

// list is the list of a queue's waiting ids.
func (r *repairer) list(queue string) string { return r.o.Schema.PlaceKey(job.InQueue, queue) }

// takeOut removes the id from one place.
func (r *repairer) takeOut(m *mend, p *job.Place) {
	key := r.o.Schema.PlaceKey(p.Kind, p.Queue)
	switch kindOf(p.Kind) {
	case "list":
		m.step("LREM", key, 0, m.b.JobID)
	case "set":
		m.step("SREM", key, m.b.JobID)
	default:
		m.step("ZREM", key, member(p, m.b.JobID))
	}
}

func fixTakeOut(r *repairer, m *mend) string {
	r.takeOut(m, m.b.Place)
	return ""
}

// unlisted demands that no list the job could stand in has it, nor a running worker.
func (r *repairer) unlisted(m *mend, queue string) {
	m.demand("out", "list", r.list(queue), m.b.JobID)
	m.demand("out", "list", r.o.Schema.PlaceKey(job.InIntermediate, queue), m.b.JobID)
	m.demand("out", "zset", r.o.Schema.PlaceKey(job.InWip, queue), m.b.JobID)
}

// push puts the id at the head of its queue.
func (r *repairer) push(m *mend, queue string) {
	m.step("SADD", r.o.Schema.QueuesKey(), r.list(queue))
	m.step("LPUSH", r.list(queue), m.b.JobID)
}

func (r *repairer) set(m *mend, fields map[string]string) {
	m.step(append([]any{"HSET", m.hash()}, pairs(fields)...)...)
}

// fixDuplicate keeps the place that runs first: of the intermediate list, else of the
// job's own queue, else of the first that has it.
func fixDuplicate(r *repairer, m *mend) string {
	row := m.b.Seen
	keep := row.Place(job.InIntermediate)
	for i := range row.Places {
		if p := &row.Places[i]; keep == nil && p.Kind == job.InQueue && p.Queue == row.Queue {
			keep = p
		}
	}
	if keep == nil {
		keep = row.Place(job.InQueue)
	}
	done := map[string]bool{}
	for i := range row.Places {
		p := &row.Places[i]
		key := r.o.Schema.PlaceKey(p.Kind, p.Queue)
		if p.Kind != job.InQueue && p.Kind != job.InIntermediate || done[key] {
			continue
		}
		done[key] = true
		kept := 0
		if p.Kind == keep.Kind && p.Queue == keep.Queue {
			kept = 1
		}
		m.step("!once", key, m.b.JobID, kept)
	}
	return ""
}

// fixStatus takes the id out of the queue; a job that would then wait nowhere becomes a
// queued one and stays.
func fixStatus(r *repairer, m *mend) string {
	row := m.b.Seen
	homeless := row.Status == job.Created || row.Status == job.Scheduled && row.Place(job.InScheduled) == nil ||
		row.Status == job.Deferred && row.Place(job.InDeferred) == nil
	if homeless {
		r.set(m, r.o.Schema.Queue(r.o.Now()))
		return ""
	}
	r.takeOut(m, m.b.Place)
	return ""
}

func fixOrigin(r *repairer, m *mend) string {
	own := r.list(m.b.Seen.Queue)
	m.demand("out", "list", own, m.b.JobID)
	r.takeOut(m, m.b.Place)
	m.step("SADD", r.o.Schema.QueuesKey(), own)
	m.step("RPUSH", own, m.b.JobID)
	return ""
}

func fixUnlisted(r *repairer, m *mend) string {
	if r.o.Manned && r.o.Policy(m.b.Seen.Queue) == verify.AtMostOnce {
		return "a worker that is slow to begin may have it, and " + string(verify.AtMostOnce) + " forbids to guess"
	}
	r.unlisted(m, m.b.Seen.Queue)
	r.push(m, m.b.Seen.Queue)
	return ""
}

func fixIntermediate(r *repairer, m *mend) string {
	row, p := m.b.Seen, m.b.Place
	m.demand("out", "zset", r.o.Schema.PlaceKey(job.InWip, p.Queue), m.b.JobID)
	r.takeOut(m, p)
	if row.Exists && row.Status == job.Queued {
		m.demand("out", "list", r.list(p.Queue), m.b.JobID)
		r.push(m, p.Queue)
	}
	return ""
}

func fixCompact(r *repairer, m *mend) string {
	row, p := m.b.Seen, m.b.Place
	m.step("LREM", r.o.Schema.PlaceKey(p.Kind, p.Queue), 0, m.b.JobID)
	if row.Exists && row.Status == job.Queued && row.Place(job.InQueue) == nil && row.Place(job.InIntermediate) == nil {
		r.unlisted(m, row.Queue)
		r.push(m, row.Queue)
	}
	return ""
}

// fixStarted does with a job whose run is dead what a restore does.
func fixStarted(r *repairer, m *mend) string {
	row, now := m.b.Seen, r.o.Now()
	if dead, ok := verify.DeadAt(row, time.UnixMicro(row.Version())); !ok {
		return "it may run for ever: nothing in Redis tells when it is dead"
	} else if now.Before(dead) {
		return "its run may be alive until " + dead.UTC().Format(time.RFC3339)
	}
	m.demand("out", "zset", r.o.Schema.PlaceKey(job.InWip, row.Queue), m.b.JobID)
	started := r.o.Started
	if started == "" && r.o.Policy(row.Queue) == verify.AtLeastOnce {
		started = verify.StartedRequeue
	}
	switch started {
	case verify.StartedRequeue:
		fields, expireAt := r.o.Schema.Requeue(row, now)
		r.unlisted(m, row.Queue)
		r.set(m, fields)
		if expireAt != 0 {
			m.step("PEXPIREAT", m.hash(), expireAt)
		}
		r.push(m, row.Queue)
	case verify.StartedFail:
		fields, score, expireAt, result := r.o.Schema.Fail(row, now, abandoned)
		r.set(m, fields)
		m.step("ZADD", r.o.Schema.PlaceKey(job.InFailed, row.Queue), scoreText(score), m.b.JobID)
		stream := r.o.Schema.PartKey(m.b.JobID, job.ResultsPart)
		m.step(append([]any{"XADD", stream, "*"}, pairs(result)...)...)
		if expireAt != 0 {
			m.step("PEXPIREAT", m.hash(), expireAt)
			m.step("PEXPIREAT", stream, expireAt)
		}
	default:
		return "its run is dead: --started requeue or --started fail says what becomes of it"
	}
	return ""
}

// fixAhead ends a job that has succeeded already.
func fixAhead(r *repairer, m *mend) string {
	row := m.b.Seen
	if row.Place(job.InWip) != nil || row.Part(job.ExecutionsPart) != nil {
		return "a worker has signed for it"
	}
	for i := range row.Places {
		if k := row.Places[i].Kind; k == job.InQueue || k == job.InIntermediate {
			r.takeOut(m, &row.Places[i])
		}
	}
	ended := time.UnixMilli(row.ResultAt)
	fields, score, expireAt := r.o.Schema.Finish(row, ended, r.o.Now())
	r.set(m, fields)
	m.step("ZADD", r.o.Schema.PlaceKey(job.InFinished, row.Queue), scoreText(score), m.b.JobID)
	if expireAt != 0 {
		m.step("PEXPIREAT", m.hash(), expireAt)
	}
	return ""
}

// fixUnregistered adds a job to the registry that its status names. The score is the end
// of an ended one's record, and never for one that is kept or waits.
func fixUnregistered(r *repairer, m *mend) string {
	row := m.b.Seen
	kind, score := job.InFinished, math.Inf(1)
	switch row.Status {
	case job.Failed, job.Stopped:
		kind, score = job.InFailed, -1
	case job.Scheduled:
		kind, score = job.InScheduled, float64(r.o.Now().Unix())
	case job.Deferred:
		kind = job.InDeferred
	case job.Canceled:
		kind, score = job.InCanceled, float64(r.o.Now().Unix())
	}
	if row.ExpireAt != 0 && (kind == job.InFinished || kind == job.InFailed) {
		score = float64(row.ExpireAt) / 1e3
	}
	m.step("ZADD", r.o.Schema.PlaceKey(kind, row.Queue), "NX", scoreText(score), m.b.JobID)
	return ""
}

func fixDependencies(r *repairer, m *mend) string {
	key := r.o.Schema.PartKey(m.b.JobID, job.DependenciesPart)
	for some := range slices.Chunk(m.b.Others, membersPerStep) {
		args := []any{"SADD", key}
		for _, id := range some {
			args = append(args, id)
		}
		m.step(args...)
	}
	if at := m.b.Seen.ExpireAt; at != 0 {
		m.step("PEXPIREAT", key, at)
	}
	return ""
}

func fixDependents(r *repairer, m *mend) string {
	for _, parent := range m.b.Others {
		m.step("SADD", r.o.Schema.PartKey(parent, job.DependentsPart), m.b.JobID)
	}
	return ""
}

// fixReady enqueues as RQ does when the last parent ends.
func fixReady(r *repairer, m *mend) string {
	row := m.b.Seen
	for _, id := range row.Parents {
		hash := r.o.Schema.PartKey(id, job.HashPart)
		if state, there := m.b.Parents[id]; there {
			m.demand("version", hash, "1", "status", string(state))
		} else {
			m.demand("nojob", hash, r.o.Schema.PayloadField())
		}
	}
	for _, id := range row.Parents { // which would start it again with their next end
		m.step("SREM", r.o.Schema.PartKey(id, job.DependentsPart), m.b.JobID)
	}
	r.unlisted(m, row.Queue)
	m.step("ZREM", r.o.Schema.PlaceKey(job.InDeferred, row.Queue), m.b.JobID)
	r.set(m, r.o.Schema.Queue(r.o.Now()))
	m.step("SADD", r.o.Schema.QueuesKey(), r.list(row.Queue))
	push := "RPUSH"
	if row.AtFront {
		push = "LPUSH"
	}
	m.step(push, r.list(row.Queue), m.b.JobID)
	return ""
}

func fixTTL(_ *repairer, m *mend) string {
	m.step("PEXPIREAT", m.hash(), int64(m.b.Place.Score*1e3))
	return ""
}

func fixGroup(r *repairer, m *mend) string {
	m.step("SADD", r.o.Schema.GroupsKey(), m.b.Seen.Group)
	m.step("SADD", r.o.Schema.PlaceKey(job.InGroup, m.b.Seen.Group), m.b.JobID)
	return ""
}
