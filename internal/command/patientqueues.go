package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"rqvault/internal/doctor"
	"rqvault/internal/job"
	"rqvault/internal/live"
	"rqvault/internal/rq"
	"rqvault/verify"
)

// Between the two looks at the queues, and the bounds of what they look at.
const (
	betweenLooks = time.Second
	mostQueues   = 1000 // of one database
	mostWorkers  = 2000
	mostPopped   = 100   // ids of one queue between pop and preparation
	mostKeys     = 20000 // up to so many, RQ's invariants are checked too
)

// When what is left over counts, as RQ's invariants have it.
const (
	overdueAfter = 2 * time.Minute
	staleAfter   = 11 * time.Minute
	stuckAfter   = time.Minute
	workerLimit  = 10 * time.Minute // for a worker whose record has no expiry
)

// queueLook is one look at one database.
type queueLook struct {
	p     *patient
	ctx   context.Context
	db    int
	err   error
	reply []any // of the last ask

	before map[string]int64    // the queues' lengths at the first look
	popped map[string][]string // the ids between pop and preparation
	busy   bool                // there is any of either
}

// ask runs reading commands. A key of another type is for RQ's invariants to find; after
// any other error it does nothing.
func (l *queueLook) ask(commands ...[]any) {
	if l.err != nil {
		l.reply = make([]any, len(commands))
		return
	}
	l.reply, l.err = l.p.probe.Server.Pipeline(l.ctx, l.db, commands)
	for _, r := range l.reply {
		var refused *live.ReplyError
		if err, is := r.(error); is && l.err == nil && errors.As(err, &refused) && refused.Code() != "WRONGTYPE" {
			l.err = refused
		}
	}
}

func (l *queueLook) num(i int) int64 { n, _ := l.reply[i].(int64); return n }

func (l *queueLook) texts(i int) []string {
	all, _ := l.reply[i].([]any)
	out := make([]string, len(all))
	for j := range all {
		out[j], _ = all[j].(string)
	}
	return out
}

// Queues looks at each database that holds keys, twice, with a pause if any job waits.
func (p *patient) Queues(ctx context.Context, s *doctor.Server) *doctor.Queues {
	out := &doctor.Queues{}
	var looks []*queueLook
	busy := false
	for _, db := range heldDatabases(s, p.probe.Target.DB) {
		l := &queueLook{p: p, ctx: ctx, db: db}
		l.first()
		busy = busy || l.busy
		looks = append(looks, l)
	}
	if busy && !rest(ctx, betweenLooks) {
		out.Problem = "there was no time"
		return out
	}
	for _, l := range looks {
		l.suspension(out)
		workers := l.workers()
		out.Workers = append(out.Workers, workers...)
		out.All = append(out.All, l.second(workers)...)
		if l.err != nil {
			out.Problem = reason(l.err)
		}
	}
	if out.Problem == "" {
		p.rules(ctx, s, out)
	}
	return out
}

// heldDatabases are those that hold keys, and the one that is meant.
func heldDatabases(s *doctor.Server, meant int) []int {
	found := map[int]bool{meant: true}
	for name, v := range s.Info {
		if digits, is := strings.CutPrefix(name, "db"); is && strings.HasPrefix(v, "keys=") {
			if n, err := strconv.Atoi(digits); err == nil {
				found[n] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// queues are the registered ones, by name.
func (l *queueLook) queues() []string {
	l.ask([]any{"smembers", l.p.e.schema.QueuesKey()})
	var names []string
	for _, list := range l.texts(0) {
		names = append(names, strings.TrimPrefix(list, l.p.e.schema.PlaceKey(job.InQueue, "")))
	}
	slices.Sort(names)
	return names[:min(len(names), mostQueues)]
}

func (l *queueLook) suspension(out *doctor.Queues) {
	l.ask([]any{"pttl", l.p.e.schema.SuspendKey()})
	if ttl := l.num(0); l.err == nil && ttl != -2 { // -1: without an end
		out.Suspended = true
		out.SuspendedFor = max(out.SuspendedFor, time.Duration(ttl)*time.Millisecond)
	}
}

func (l *queueLook) workers() []doctor.Worker {
	l.ask([]any{"smembers", l.p.e.schema.WorkersKey()})
	keys := l.texts(0)
	slices.Sort(keys)
	keys = keys[:min(len(keys), mostWorkers)]
	var commands [][]any
	for _, k := range keys {
		commands = append(commands, []any{"hmget", k, "queues", "last_heartbeat", "death", "birth"}, []any{"pttl", k})
	}
	l.ask(commands...)
	var out []doctor.Worker
	for i, k := range keys {
		w := doctor.Worker{DB: l.db, Name: l.p.e.schema.WorkerName(k)}
		if v := l.texts(2 * i); len(v) == 4 && v[0] != "" && v[2] == "" {
			w.Queues = strings.Split(v[0], ",")
			beat, _ := rq.ParseTime([]byte(v[1]))
			w.Alive = l.num(2*i+1) > 0 || l.p.e.now().Sub(time.UnixMicro(beat)) < workerLimit
		}
		out = append(out, w)
	}
	return out
}

// first notes how long each queue is.
func (l *queueLook) first() {
	names := l.queues()
	var commands [][]any
	for _, name := range names {
		commands = append(commands, []any{"llen", l.p.e.schema.PlaceKey(job.InQueue, name)},
			[]any{"lrange", l.p.e.schema.PlaceKey(job.InIntermediate, name), 0, mostPopped - 1})
	}
	l.ask(commands...)
	l.before, l.popped = map[string]int64{}, map[string][]string{}
	for i, name := range names {
		l.before[name], l.popped[name] = l.num(2*i), l.texts(2*i+1)
		l.busy = l.busy || l.before[name] > 0 || len(l.popped[name]) > 0
	}
}

// second looks at all of each queue.
func (l *queueLook) second(workers []doctor.Worker) []doctor.Queue {
	s, now := l.p.e.schema, l.p.e.now()
	names := l.queues()
	var commands [][]any
	for _, name := range names {
		commands = append(commands,
			[]any{"llen", s.PlaceKey(job.InQueue, name)},
			[]any{"zcount", s.PlaceKey(job.InWip, name), "-inf", now.Add(-staleAfter).Unix()},
			[]any{"zcount", s.PlaceKey(job.InScheduled, name), "-inf", now.Add(-overdueAfter).Unix()},
			[]any{"zcard", s.PlaceKey(job.InDeferred, name)},
			[]any{"exists", s.SchedulerLockKey(name)},
			[]any{"lrange", s.PlaceKey(job.InIntermediate, name), 0, mostPopped - 1},
			[]any{"lindex", s.PlaceKey(job.InQueue, name), 0},
		)
	}
	each := len(commands) / max(1, len(names))
	l.ask(commands...)
	all, heads, stuck := make([]doctor.Queue, len(names)), make([]string, len(names)), make([][]string, len(names))
	for i, name := range names {
		at := i * each
		before, known := l.before[name]
		all[i] = doctor.Queue{DB: l.db, Name: name, Before: before, Depth: l.num(at), Stale: l.num(at + 1), Overdue: l.num(at + 2),
			Deferred: l.num(at + 3), Scheduler: l.num(at+4) > 0}
		if !known {
			all[i].Before = all[i].Depth
		}
		stuck[i] = slices.DeleteFunc(l.texts(at+5), func(id string) bool { return !slices.Contains(l.popped[name], id) })
		heads[i], _ = l.reply[at+6].(string)
	}
	l.heads(all, heads)
	for i, name := range names {
		served := slices.ContainsFunc(workers, func(w doctor.Worker) bool { return w.Alive && slices.Contains(w.Queues, name) })
		for _, id := range stuck[i] {
			if !served || l.seenLongAgo(name, id) {
				all[i].Stuck++
			}
		}
	}
	return all
}

// heads looks at the jobs that are next.
func (l *queueLook) heads(all []doctor.Queue, ids []string) {
	var commands [][]any
	for _, id := range ids {
		key := l.p.e.schema.PartKey(id, job.HashPart)
		commands = append(commands, []any{"hmget", key, "enqueued_at", "created_at"}, []any{"pttl", key})
	}
	l.ask(commands...)
	for i := range ids {
		all[i].Expiring = l.num(2*i+1) > 0
		for _, text := range l.texts(2 * i) {
			if us, readable := rq.ParseTime([]byte(text)); readable && us > 0 && all[i].Oldest.IsZero() {
				all[i].Oldest = time.UnixMicro(us)
			}
		}
	}
}

// seenLongAgo reports whether RQ's own maintenance has noticed an id before.
func (l *queueLook) seenLongAgo(queue, id string) bool {
	l.ask([]any{"get", l.p.e.schema.FirstSeenKey(queue, id)})
	text, _ := l.reply[0].(string)
	at, err := strconv.ParseFloat(text, 64)
	return err == nil && at > 0 && at < math.MaxUint32 && l.p.e.now().Sub(time.Unix(int64(at), 0)) > stuckAfter
}

// ownChecks are the invariants that have a check of their own.
var ownChecks = []string{"suspended-left", "scheduled-overdue", "wip-expired"}

// rules holds a small data set against RQ's invariants, but for those that a job on its
// way breaks for a moment: they need more patience than an outage leaves.
func (p *patient) rules(ctx context.Context, s *doctor.Server, out *doctor.Queues) {
	keys := int64(0)
	for name, v := range s.Info {
		if n, is := strings.CutPrefix(v, "keys="); is && strings.HasPrefix(name, "db") {
			digits, _, _ := strings.Cut(n, ",")
			count, _ := strconv.ParseInt(digits, 10, 64)
			keys += count
		}
	}
	if keys > mostKeys {
		out.RulesProblem = fmt.Sprintf("there are %d keys; rqvault verify --live takes its time", keys)
		return
	}
	var only []string
	for i := range verify.Invariants {
		if inv := &verify.Invariants[i]; inv.Severity.Counts() && !inv.Fleeting() && !slices.Contains(ownChecks, inv.Name) {
			only = append(only, inv.Name)
		}
	}
	r := p.e.liveRedis(p.c, p.probe.Server)
	r.image.Via = "scan"
	r.image.Marks = verify.NewMarks(p.e.schema)
	r.dbs = heldDatabases(s, p.probe.Target.DB)
	up, err := verify.Fsck(ctx, verify.FsckOptions{Live: r, Schema: p.e.schema, Only: only, Now: p.e.now})
	if err != nil {
		out.RulesProblem = reason(err)
		return
	}
	for _, b := range up.Breaches {
		if n := len(out.Rules); n > 0 && out.Rules[n-1].Name == b.Invariant {
			out.Rules[n-1].Count++
			continue
		}
		out.Rules = append(out.Rules, doctor.Broken{Name: b.Invariant, Critical: b.Severity == verify.Critical,
			Means: verify.InvariantOf(b.Invariant).Means, Count: 1})
	}
}
