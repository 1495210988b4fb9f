package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"rqvault/internal/job"
)

// CheckOptions say what to hold RQ's invariants against.
type CheckOptions struct {
	Schema     job.Schema
	Rows       func() Rows         // the jobs, from the beginning
	Marks      *Marks              // of all keys
	Registered map[string][]string // names in the set of queues, by database
	Workers    []job.Worker        // none for a snapshot
	Now        time.Time           // of the data
	// Moment says that the data is one instant of a server that worked, so that what a job
	// on the move breaks for a moment tells nothing.
	Moment bool
}

// How far apart two clocks, or two commands of one transaction, may write an instant.
const (
	ttlSlack     = time.Minute
	overdueAfter = 2 * time.Minute
	wipDead      = 11 * time.Minute // RQ's maintenance comes every ten
)

// checker holds rows against the invariants.
type checker struct {
	o       CheckOptions
	found   []Breach
	parents map[JobKey]*job.Row // of deferred jobs: as the first pass saw them, nil if it did not
	waiting []*job.Row          // deferred jobs
	plain   map[queueName]bool  // registries of running jobs with bare ids
	paired  map[queueName]bool  // and with "job:execution"
}

// Check holds a keyspace against the invariants of RQ and returns what breaks them, the
// worst first.
func Check(o CheckOptions) ([]Breach, error) {
	c := &checker{o: o, parents: map[JobKey]*job.Row{}, plain: map[queueName]bool{}, paired: map[queueName]bool{}}
	for row, err := range o.Rows() {
		if err != nil {
			return nil, err
		}
		c.row(row)
	}
	if len(c.waiting) > 0 {
		if err := c.meetParents(); err != nil {
			return nil, err
		}
		for _, r := range c.waiting {
			c.deferred(r)
		}
	}
	c.keys()
	if o.Moment {
		c.found = slices.DeleteFunc(c.found, func(b Breach) bool { return fleeting[b.Invariant] || passing[b.Invariant] })
	}
	sortBreaches(c.found)
	return slices.CompactFunc(c.found, func(a, b Breach) bool { return a.key() == b.key() }), nil
}

// add notes a breach. A repair that the invariant names can be withheld.
func (c *checker) add(name string, r *job.Row, p *job.Place, format string, args ...any) *Breach {
	inv := InvariantOf(name)
	b := Breach{Invariant: name, Severity: inv.Severity, Repair: inv.Repair, Detail: fmt.Sprintf(format, args...), Place: p, Seen: r}
	if r != nil {
		b.DB, b.JobID, b.RawID, b.Queue = r.DB, r.ID, Raw(r.ID), r.Queue
	}
	if p != nil {
		b.Queue = p.Queue
	}
	c.found = append(c.found, b)
	return &c.found[len(c.found)-1]
}

func (c *checker) row(r *job.Row) {
	if !r.Exists {
		c.absent(r)
		return
	}
	if r.Status == "unknown" || r.Status != "" && !r.Status.Known() {
		c.add("hash-unknown-status", r, nil, "its status is none of RQ's")
		return // whatever else is wrong, nobody can say what would be right
	}
	if r.Problem != "" {
		c.add("hash-unparsable-field", r, nil, "%s", r.Problem)
		return
	}
	c.portable(r)
	c.queues(r)
	c.running(r)
	c.registries(r)
	c.group(r)
	c.ahead(r)
	if r.Status == job.Deferred {
		c.waiting = append(c.waiting, r)
		for _, p := range r.Parents {
			c.parents[JobKey{r.DB, p}] = nil
		}
	}
}

// absent is for an id without a job.
func (c *checker) absent(r *job.Row) {
	if r.Stub && r.Part(job.ExecutionsPart) == nil {
		b := c.add("hash-missing-data", r, nil, "a hash without a job in it")
		if len(r.Places) > 0 {
			b.Repair = ""
			b.Detail += ", and its id is listed"
		}
	}
	names := map[job.PlaceKind]string{job.InQueue: "queue-id-without-hash", job.InWip: "wip-without-hash", job.InDeferred: "deferred-without-hash",
		job.InScheduled: "scheduled-without-hash", job.InFinished: "finished-without-hash", job.InFailed: "failed-without-hash",
		job.InCanceled: "canceled-without-hash", job.InGroup: "group-without-job", job.InIntermediate: "intermediate-stale",
		job.InReady: "ready-stale", job.InRateAllowed: "rate-limit-slot-stale", job.InCompact: "compact-leftover"}
	for i := range r.Places {
		p := &r.Places[i]
		if name := names[p.Kind]; name != "" {
			c.add(name, r, p, "%s, and there is no job", placeWords(p))
		}
	}
	if len(r.Places) > 0 {
		return
	}
	if r.Part(job.ExecutionsPart) != nil {
		c.add("execution-orphan", r, nil, "a run is signed for, and there is no job")
	} else if r.Part(job.ResultsPart) != nil {
		c.add("results-orphan", r, nil, "results, and there is no job")
	}
}

// portable checks the id against what the workers' versions of RQ take.
func (c *checker) portable(r *job.Row) {
	for _, w := range c.o.Workers {
		if w.DB != r.DB || w.Dead || w.Version == "" {
			continue
		}
		switch {
		case !before(w.Version, "2.8") && strings.ContainsFunc(r.ID, func(ch rune) bool {
			return ch != '_' && ch != '-' && (ch < '0' || ch > '9') && (ch < 'a' || ch > 'z') && (ch < 'A' || ch > 'Z')
		}):
			c.add("job-id-not-portable", r, nil, "worker %s runs RQ %s, which stops at any sign but letters, digits, - and _", w.Name, w.Version)
			return
		case !before(w.Version, "2.0") && strings.Contains(r.ID, ":"):
			c.add("job-id-not-portable", r, nil, "worker %s runs RQ %s, which drops ids with a colon", w.Name, w.Version)
			return
		}
	}
}

// before compares the first two numbers of versions.
func before(version, other string) bool {
	var a, b [2]int
	_, _ = fmt.Sscanf(version, "%d.%d", &a[0], &a[1])
	_, _ = fmt.Sscanf(other, "%d.%d", &b[0], &b[1])
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}

// queues checks the lists that an id stands in.
func (c *checker) queues(r *job.Row) {
	var in []*job.Place
	for i := range r.Places {
		p := &r.Places[i]
		switch p.Kind {
		case job.InQueue, job.InIntermediate:
			in = append(in, p)
		case job.InCompact:
			c.add("compact-leftover", r, p, "it stands in a leftover of %s", r.Queue)
		}
		switch {
		case p.Kind == job.InIntermediate && r.Place(job.InWip) == nil && r.Part(job.ExecutionsPart) == nil:
			c.add("intermediate-stale", r, p, "popped from %s, %s, and not running", p.Queue, r.Status)
		case p.Kind == job.InQueue && r.Status != job.Queued && r.Status != "":
			b := c.add("queue-status-mismatch", r, p, "%s, and it is %s", placeWords(p), r.Status)
			if r.Status == job.Finished || r.Status == job.Failed || r.Status == job.Started {
				b.withhold("it may have been enqueued again under its id while it ran, or be a leftover: if it must not run, LREM it")
			}
		case p.Kind == job.InQueue && r.Queue != "" && p.Queue != r.Queue:
			c.add("queue-origin-mismatch", r, p, "%s, and it belongs to %s", placeWords(p), r.Queue)
		}
	}
	if len(in) > 1 {
		var words []string
		for _, p := range in {
			words = append(words, placeWords(p))
		}
		b := c.add("queue-duplicate-id", r, nil, "it stands in %s", strings.Join(words[:min(len(words), namesShown)], ", "))
		b.Queue = in[0].Queue
	}
	if r.Status == job.Queued && len(in) == 0 && r.Place(job.InWip) == nil && r.Place(job.InCompact) == nil && r.Part(job.ExecutionsPart) == nil {
		c.add("queued-job-not-in-queue", r, nil, "queued since %s", clock(r.EnqueuedAt))
	}
}

// running checks the registry of running jobs.
func (c *checker) running(r *job.Row) {
	listed := false
	for i := range r.Places {
		p := &r.Places[i]
		if p.Kind != job.InWip {
			continue
		}
		listed = true
		k := queueName{r.DB, p.Queue}
		mixed := c.plain[k] && c.paired[k]
		c.plain[k], c.paired[k] = c.plain[k] || p.Member == "", c.paired[k] || p.Member != ""
		if !mixed && c.plain[k] && c.paired[k] {
			c.add("wip-format-mixed", nil, p, "bare ids beside job:execution").DB = r.DB
		}
		popped := r.Status == job.Queued && r.Place(job.InIntermediate) != nil
		switch {
		case r.Status != job.Started && !popped:
			c.add("wip-status-mismatch", r, p, "listed as running, and it is %s", r.Status)
		case p.Score > 0 && p.Score < float64(c.o.Now.Add(-wipDead).Unix()):
			c.add("wip-expired", r, p, "its heartbeat ended %s", clock(int64(p.Score*1e6)))
		}
	}
	if r.Status == job.Started && !listed && r.Part(job.ExecutionsPart) == nil {
		b := c.add("started-job-not-in-wip", r, nil, "started %s", clock(r.StartedAt))
		if r.Timeout < 0 {
			b.Repair = ""
			b.Detail += ", without a time limit: nothing in Redis tells when its run is dead"
		}
	}
}

// registries checks that an ended or waiting job is listed where people and RQ look.
func (c *checker) registries(r *job.Row) {
	homes := map[job.Status]struct {
		kind job.PlaceKind
		name string
	}{job.Finished: {job.InFinished, "finished"}, job.Failed: {job.InFailed, "failed"}, job.Stopped: {job.InFailed, "failed"},
		job.Scheduled: {job.InScheduled, "scheduled"}, job.Canceled: {job.InCanceled, "canceled"}}
	if h, ok := homes[r.Status]; ok && r.Place(h.kind) == nil {
		c.add(h.name+"-job-not-in-registry", r, nil, "%s, and the registry of %s does not have it", r.Status, r.Queue)
	}
	for i := range r.Places {
		p := &r.Places[i]
		switch p.Kind {
		case job.InFinished:
			// A job enqueued again under its id, or by repetition, stays listed from before.
			if r.Status == job.Failed || r.Status == job.Stopped {
				c.add("finished-status-mismatch", r, p, "listed as finished, and it %s", r.Status)
			}
		case job.InFailed:
			if r.Status == job.Finished {
				c.add("failed-status-mismatch", r, p, "listed as failed, and it finished")
			}
		case job.InScheduled:
			c.overdue(r, p)
		case job.InReady:
			if r.Status != job.Ready {
				c.add("ready-stale", r, p, "about to be enqueued, and it is %s", r.Status)
			}
		case job.InRateAllowed:
			if r.Status != job.Queued && r.Status != job.Started {
				c.add("rate-limit-slot-stale", r, p, "it holds a slot, and it is %s", r.Status)
			}
		}
		c.ttl(r, p)
	}
}

// ttl compares when a record ends with when its place in the registry does.
func (c *checker) ttl(r *job.Row, p *job.Place) {
	name := ""
	switch {
	case p.Kind == job.InFinished && r.Status == job.Finished:
		name = "finished-ttl-mismatch"
	case p.Kind == job.InFailed && (r.Status == job.Failed || r.Status == job.Stopped):
		name = "failed-ttl-mismatch"
	default:
		return
	}
	if p.Score < 0 || math.IsInf(p.Score, 0) || p.Score > 1e11 {
		return
	}
	apart := time.Duration((float64(r.ExpireAt)/1e3 - p.Score) * float64(time.Second)).Abs()
	if r.ExpireAt == 0 {
		b := c.add(name, r, p, "its place ends %s, its record never", clock(int64(p.Score*1e6)))
		if p.Score <= float64(c.o.Now.Unix()) {
			b.withhold("that has passed: the repair would take the record away")
		}
	} else if apart > ttlSlack {
		b := c.add(name, r, p, "its place ends %s, its record %s", clock(int64(p.Score*1e6)), clock(r.ExpireAt*1000))
		if int64(p.Score*1e3) < r.ExpireAt {
			b.withhold("a repair would shorten the record's life")
		}
	}
}

func (c *checker) overdue(r *job.Row, p *job.Place) {
	if r.Status == job.Scheduled && p.Score < float64(c.o.Now.Add(-overdueAfter).Unix()) && !c.o.Marks.scheduled[queueName{r.DB, p.Queue}] {
		c.add("scheduled-overdue", r, p, "due %s, and no scheduler serves %s: start a worker with --with-scheduler", clock(int64(p.Score*1e6)), p.Queue)
	}
}

func (c *checker) group(r *job.Row) {
	if r.Group == "" {
		return
	}
	for i := range r.Places {
		if r.Places[i].Kind == job.InGroup && r.Places[i].Queue == r.Group {
			return
		}
	}
	c.add("job-without-group", r, nil, "group %s does not have it", r.Group)
}

// clockApart is how far the clock of RQ's clients may be behind the server's: results
// carry the server's time, a job's hash the clients'.
const clockApart = 5 * time.Minute

// ahead looks for a job that waits though it succeeded after it was last enqueued.
func (c *checker) ahead(r *job.Row) {
	if r.Status != job.Queued && r.Status != job.Started || r.RepeatsLeft > 0 || r.ResultType != 1 {
		return
	}
	began := max(r.CreatedAt, r.EnqueuedAt, r.StartedAt)
	if late := r.ResultAt*1000 - began; late > clockApart.Microseconds() {
		c.add("results-ahead", r, nil, "%s since %s, and it succeeded %s", r.Status, clock(began), clock(r.ResultAt*1000))
	}
}
