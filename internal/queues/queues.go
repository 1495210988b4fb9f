// Package queues looks at the queues and workers of a running Redis: how much waits, since
// when, whether it moves, and whether anybody works. A look is a few pipelined reads,
// however long the queues are. What it sees is told in the words of doctor, which judges it.
package queues

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"rqvault/internal/doctor"
	"rqvault/internal/job"
	"rqvault/internal/live"
	"rqvault/internal/rq"
)

// The bounds of one look at one database.
const (
	mostQueues  = 1000
	mostWorkers = 2000
	mostPopped  = 100 // ids of one queue between pop and preparation
)

// When what is left over counts, as RQ's invariants have it.
const (
	overdueAfter = 2 * time.Minute
	staleAfter   = 11 * time.Minute
	stuckAfter   = time.Minute
	workerLimit  = 10 * time.Minute // for a worker whose record has no expiry
)

// Redis answers reading commands of one database, each with its reply or a
// *live.ReplyError.
type Redis interface {
	Pipeline(ctx context.Context, db int, commands [][]any) ([]any, error)
}

// Look is one look at one database. The first error ends it: nothing more is asked, and Err
// keeps it.
type Look struct {
	Err error

	ctx    context.Context
	redis  Redis
	db     int
	schema rq.Schema
	now    func() time.Time
	reply  []any // of the last ask

	before map[string]int64    // the queues' lengths at the first look
	popped map[string][]string // the ids between pop and preparation
}

// New begins a look.
func New(ctx context.Context, redis Redis, db int, schema rq.Schema, now func() time.Time) *Look {
	return &Look{ctx: ctx, redis: redis, db: db, schema: schema, now: now, before: map[string]int64{}, popped: map[string][]string{}}
}

// ask runs reading commands. A key of another type is for RQ's invariants to find.
func (l *Look) ask(commands ...[]any) {
	if l.Err != nil || len(commands) == 0 {
		l.reply = make([]any, len(commands))
		return
	}
	if l.reply, l.Err = l.redis.Pipeline(l.ctx, l.db, commands); l.Err != nil {
		l.Err = fmt.Errorf("look at the queues: %w", l.Err)
		l.reply = make([]any, len(commands))
	}
	for _, r := range l.reply {
		var refused *live.ReplyError
		if err, is := r.(error); is && l.Err == nil && errors.As(err, &refused) && refused.Code() != "WRONGTYPE" {
			l.Err = refused
		}
	}
}

func (l *Look) num(i int) int64 { n, _ := l.reply[i].(int64); return n }

func (l *Look) texts(i int) []string {
	all, _ := l.reply[i].([]any)
	out := make([]string, len(all))
	for j := range all {
		out[j], _ = all[j].(string)
	}
	return out
}

// names are those of the registered queues, in order.
func (l *Look) names() []string {
	l.ask([]any{"smembers", l.schema.QueuesKey()})
	var names []string
	for _, list := range l.texts(0) {
		names = append(names, strings.TrimPrefix(list, l.schema.PlaceKey(job.InQueue, "")))
	}
	slices.Sort(names)
	return names[:min(len(names), mostQueues)]
}

// Suspended reports whether workers are told to take nothing, and for how long: negative
// where that has no end.
func (l *Look) Suspended() (bool, time.Duration) {
	l.ask([]any{"pttl", l.schema.SuspendKey()})
	const none = -2
	ttl := l.num(0)
	return l.Err == nil && ttl != none, time.Duration(ttl) * time.Millisecond
}

// Workers lists those that are registered.
func (l *Look) Workers() []doctor.Worker {
	l.ask([]any{"smembers", l.schema.WorkersKey()})
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
		w := doctor.Worker{DB: l.db, Name: l.schema.WorkerName(k)}
		if v := l.texts(2 * i); len(v) == 4 && v[0] != "" && v[2] == "" {
			w.Queues = strings.Split(v[0], ",")
			beat, _ := rq.ParseTime([]byte(v[1]))
			w.Alive = l.num(2*i+1) > 0 || l.now().Sub(time.UnixMicro(beat)) < workerLimit
		}
		out = append(out, w)
	}
	return out
}

// First notes how long each queue is, so that All can say whether it moves. It reports
// whether anything waits or is on its way.
func (l *Look) First() bool {
	names, busy := l.names(), false
	var commands [][]any
	for _, name := range names {
		commands = append(commands, []any{"llen", l.schema.PlaceKey(job.InQueue, name)},
			[]any{"lrange", l.schema.PlaceKey(job.InIntermediate, name), 0, mostPopped - 1})
	}
	l.ask(commands...)
	for i, name := range names {
		l.before[name], l.popped[name] = l.num(2*i), l.texts(2*i+1)
		busy = busy || l.before[name] > 0 || len(l.popped[name]) > 0
	}
	return busy
}

// All looks at all of each queue; what was popped before First and is not prepared by now
// counts as stuck where no worker serves the queue.
func (l *Look) All(workers []doctor.Worker) []doctor.Queue {
	names := l.names()
	var commands [][]any
	for _, name := range names {
		commands = append(commands,
			[]any{"llen", l.schema.PlaceKey(job.InQueue, name)},
			[]any{"zcount", l.schema.PlaceKey(job.InWip, name), "-inf", l.now().Add(-staleAfter).Unix()},
			[]any{"zcount", l.schema.PlaceKey(job.InScheduled, name), "-inf", l.now().Add(-overdueAfter).Unix()},
			[]any{"zcard", l.schema.PlaceKey(job.InDeferred, name)},
			[]any{"exists", l.schema.SchedulerLockKey(name)},
			[]any{"lrange", l.schema.PlaceKey(job.InIntermediate, name), 0, mostPopped - 1},
			[]any{"lindex", l.schema.PlaceKey(job.InQueue, name), 0},
		)
	}
	each := len(commands) / max(1, len(names))
	l.ask(commands...)
	all, heads, stuck := make([]doctor.Queue, len(names)), make([]string, len(names)), make([][]string, len(names))
	for i, name := range names {
		at := i * each
		all[i] = doctor.Queue{DB: l.db, Name: name, Depth: l.num(at), Stale: l.num(at + 1), Overdue: l.num(at + 2),
			Deferred: l.num(at + 3), Scheduler: l.num(at+4) > 0}
		all[i].Before = all[i].Depth
		if n, known := l.before[name]; known {
			all[i].Before = n
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
func (l *Look) heads(all []doctor.Queue, ids []string) {
	var commands [][]any
	for _, id := range ids {
		key := l.schema.PartKey(id, job.HashPart)
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
func (l *Look) seenLongAgo(queue, id string) bool {
	l.ask([]any{"get", l.schema.FirstSeenKey(queue, id)})
	text, _ := l.reply[0].(string)
	at, err := strconv.ParseFloat(text, 64)
	return err == nil && at > 0 && at < math.MaxUint32 && l.now().Sub(time.Unix(int64(at), 0)) > stuckAfter
}
