package doctor

import (
	"fmt"
	"time"
)

// Queues is what RQ keeps in Redis.
type Queues struct {
	Problem      string // why it could not be read
	Suspended    bool
	SuspendedFor time.Duration // 0 if the suspension has no end
	All          []Queue
	Workers      []Worker
	Rules        []Broken // invariants that do not hold
	RulesProblem string   // why that was not looked at
}

// Queue is one queue, at two looks.
type Queue struct {
	DB       int
	Name     string
	Before   int64     // jobs that waited at the first look
	Depth    int64     // and at the second
	Oldest   time.Time // when the one at the head was enqueued; zero if there is none or it does not say
	Expiring bool      // that one has a ttl
	Stuck    int64     // ids that were popped and never prepared
	Stale    int64     // runs whose heartbeat ended long ago
	Overdue  int64     // scheduled jobs whose time came over two minutes ago
	Deferred int64
	// Scheduler says that a scheduler holds the queue's lock.
	Scheduler bool
}

// Worker is a registered worker.
type Worker struct {
	DB     int
	Name   string
	Queues []string
	Alive  bool // it gave a sign of life in time
}

// Broken is an invariant of RQ's that does not hold.
type Broken struct {
	Name     string
	Critical bool
	Means    string
	Count    int
}

// label names a queue, with its database if that is not the first.
func (q *Queue) label() string {
	if q.DB != 0 {
		return fmt.Sprintf("%s (db %d)", q.Name, q.DB)
	}
	return q.Name
}

func (q *Queues) waiting() int64 {
	n := int64(0)
	for i := range q.All {
		n += q.All[i].Depth
	}
	return n
}

func (q *Queues) alive() int {
	n := 0
	for i := range q.Workers {
		if q.Workers[i].Alive {
			n++
		}
	}
	return n
}

// serves is how many living workers serve a queue.
func (q *Queues) serves(of *Queue) int {
	n := 0
	for _, w := range q.Workers {
		for _, name := range w.Queues {
			if w.Alive && w.DB == of.DB && name == of.Name {
				n++
			}
		}
	}
	return n
}

// which lists the queues that something is so of.
func (q *Queues) which(so func(*Queue) (int64, bool)) (list []string, sum int64) {
	for i := range q.All {
		if n, is := so(&q.All[i]); is {
			list = append(list, fmt.Sprintf("%s %d", q.All[i].label(), n))
			sum += n
		}
	}
	return list, sum
}

// unreadQueues is the finding where RQ's keys could not be read, else false.
func (f *Facts) unreadQueues() (finding, bool) {
	if f.Queues.Problem != "" {
		return unknown("RQ's keys cannot be read: %s", f.Queues.Problem), true
	}
	return finding{}, false
}

func judgeSuspended(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	switch q := f.Queues; {
	case q.Suspended && q.SuspendedFor > 0:
		return warn("workers are suspended for %s more: they take no jobs", span(q.SuspendedFor))
	case q.Suspended:
		return warn("workers are suspended, with no end: they take no jobs until somebody resumes them")
	}
	return ok("workers are not suspended")
}

func judgeQueues(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	q := f.Queues
	if len(q.All) == 0 {
		return warn("there is no queue of RQ's: this is not its Redis, or the data is gone")
	}
	deferred := int64(0)
	for i := range q.All {
		deferred += q.All[i].Deferred
	}
	return ok("%s, %s waiting, %d deferred", plural(len(q.All), "queue"), plural(q.waiting(), "job"), deferred).
		with("queues", len(q.All)).with("waiting", q.waiting()).with("deferred", deferred)
}

func judgeWorkers(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	q := f.Queues
	var gone []string
	for _, w := range q.Workers {
		if !w.Alive {
			gone = append(gone, w.Name)
		}
	}
	got := ok("%s alive", plural(q.alive(), "worker"))
	switch {
	case q.alive() == 0 && q.waiting() > 0:
		got = fail("%s waiting, and no worker is alive: nothing runs", plural(q.waiting(), "job"))
	case len(gone) > 0:
		got = warn("%s registered without a sign of life (%s): killed, or cut off", were(int64(len(gone)), "worker"), names(gone))
	}
	return got.with("alive", q.alive()).with("gone", len(gone))
}

func judgeUnserved(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	if f.Queues.alive() == 0 && f.Queues.waiting() > 0 {
		return finding{} // judgeWorkers says so
	}
	list, sum := f.Queues.which(func(q *Queue) (int64, bool) { return q.Depth, q.Depth > 0 && f.Queues.serves(q) == 0 })
	if sum > 0 {
		return fail("%s waiting in queues that no living worker serves: %s", plural(sum, "job"), names(list)).with("waiting", sum)
	}
	return ok("every queue with jobs has a worker")
}

func judgeWaiting(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	worst, name := time.Duration(0), ""
	for i := range f.Queues.All {
		q := &f.Queues.All[i]
		if wait := f.At.Sub(q.Oldest); !q.Oldest.IsZero() && wait > worst {
			worst, name = wait, q.label()
		}
	}
	got := ok("no job waits for long")
	if worst > f.Limits.MaxWait {
		got = warn("the job at the head of %s waits for %s: there are too few workers, or they are stuck", name, span(worst))
	}
	return got.with("seconds", int64(worst.Seconds()))
}

// deepQueue is how many jobs may wait before it matters that they become more.
const deepQueue = 100

func judgeGrowing(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	list, _ := f.Queues.which(func(q *Queue) (int64, bool) { return q.Depth, q.Depth >= deepQueue && q.Depth > q.Before })
	if len(list) > 0 {
		return warn("queues grow while one looks: %s: more comes in than workers take", names(list)).with("queues", len(list))
	}
	return ok("no long queue grows")
}

func judgeScheduler(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	list, sum := f.Queues.which(func(q *Queue) (int64, bool) { return q.Overdue, q.Overdue > 0 && !q.Scheduler })
	if sum > 0 {
		return fail("%s overdue, and no scheduler serves their queue: %s", plural(sum, "scheduled job"), names(list)).with("overdue", sum)
	}
	return ok("no scheduled job is overdue without a scheduler")
}

func judgeRunning(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	list, sum := f.Queues.which(func(q *Queue) (int64, bool) { return q.Stale, q.Stale > 0 })
	if sum > 0 {
		return warn("%s without a heartbeat for over eleven minutes, and no maintenance saw to it: %s", plural(sum, "run"), names(list)).with("runs", sum)
	}
	return ok("no run is left over")
}

func judgeIntermediate(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	list, sum := f.Queues.which(func(q *Queue) (int64, bool) { return q.Stuck, q.Stuck > 0 })
	if sum > 0 {
		return warn("%s popped and never prepared, by a worker that died: %s; RQ would fail these jobs", were(sum, "id"), names(list)).with("ids", sum)
	}
	return ok("no id is stuck between its queue and a worker")
}

func judgeRules(f *Facts) finding {
	if missing, is := f.unreadQueues(); is {
		return missing
	}
	q := f.Queues
	if q.RulesProblem != "" {
		return unknown("RQ's invariants were not looked at: %s", q.RulesProblem)
	}
	level, counts := OK, map[string]int{}
	for _, b := range q.Rules {
		counts[b.Name] = b.Count
		if b.Critical {
			level = Fail
		} else if level == OK {
			level = Warn
		}
	}
	if level == OK {
		return ok("RQ's invariants hold")
	}
	return found(level, "%s: %s", tally(counts), q.Rules[0].Means).with("breaches", counts)
}
