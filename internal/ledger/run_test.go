package ledger_test

import (
	"fmt"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

// slots bounds how many runs work at the same time. A run that only waits holds none.
var slots = make(chan struct{}, 2)

// run is one seeded story: work, a snapshot, an outage, and the way back.
type run struct {
	t      testing.TB
	outage outage
	policy string
	seed   int64
	rand   *rand.Rand
	jobs   int  // that the producer enqueues
	wait   bool // until runs that may have been alive are dead for sure

	s       *redistest.Server
	crew    *crew
	program program
	alive   bool // the workers outlive the outage
	b       books
}

// workers are those at work before the outage, and the queues of each.
var workers = map[string][]string{"w1": {"high", "default", "low"}, "w2": {"low", "default"}, "w3": {"default", "high"}}

// tell plays the story and returns what the ledger says of it.
func (r *run) tell() tally {
	r.t.Helper()
	slots <- struct{}{}
	defer func() { <-slots }()
	r.rand = rand.New(rand.NewSource(r.seed))
	r.alive = r.rand.Intn(2) == 0
	if r.outage.name == deleted && !r.wait {
		// Workers that go on throw ids without hashes away, and with them the sign of what was
		// lost. How much that costs is for the full run to count, not for a test to pass or fail.
		r.alive = false
	}
	r.s = redistest.Start(r.t, redistest.WithArgs("--repl-diskless-sync-delay", "0"))
	r.crew = hire(r.t, r.s)
	r.program = program{t: r.t, s: r.s, store: filepath.Join(r.t.TempDir(), "store"), patience: "5s"}
	r.work()
	r.disaster()
	r.recover()
	r.b.read(r.t, r.crew)
	r.b.final = read(r.t, r.s)
	r.b.now = time.Now()
	r.b.ordered = !r.alive
	return r.b.count()
}

// part is a seeded share of the producer's jobs, in percent.
func (r *run) part(from, to int) int { return r.jobs * (from + r.rand.Intn(to-from)) / 100 }

// work lets jobs come and go and takes an old dump and the snapshot in the middle of it.
func (r *run) work() {
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		r.crew.worker(name, workers[name]...)
	}
	r.crew.scheduler("scheduler")
	r.crew.produce("j", r.seed, r.jobs, false)
	old, taken, end := r.part(20, 50), r.part(55, 70), r.part(75, 95)
	via := []string{"bgsave", "sync"}[r.rand.Intn(2)] // those that show one instant
	r.crew.enqueued(old)
	r.s.Save()
	dump, err := os.ReadFile(r.s.DumpPath())
	if err == nil {
		err = os.WriteFile(r.older(), dump, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.crew.enqueued(taken)
	r.b.snapshot = r.program.content(r.program.backup(via))
	r.crew.enqueued(end)
}

func (r *run) older() string { return filepath.Join(r.crew.dir, "older.rdb") }

// disaster is the outage. New jobs come before anybody restores the old ones.
func (r *run) disaster() {
	r.outage.strike(r)
	r.crew.kill("j")
	if r.rand.Intn(2) == 0 {
		r.crew.produce("n", r.seed+1, 6, false)
		r.crew.await("the new jobs", 50*time.Millisecond, func() bool { _, on := r.crew.busy()["n"]; return !on })
	}
	r.b.live = read(r.t, r.s)
}

// crash ends the workers and the scheduler in mid-job, unless the seed lets them live.
func (r *run) crash() {
	if r.alive {
		return
	}
	for _, name := range append(slices.Sorted(maps.Keys(workers)), "scheduler") {
		r.crew.kill(name)
	}
}

// recover does what diff says until it has nothing more to say, as the person on call
// would. A job that may still be running is looked at again at the time that diff names.
func (r *run) recover() {
	r.b.restored, r.b.held = map[string]bool{}, map[string]bool{}
	args := []string{"--policy", r.policy}
	for round := 1; ; round++ {
		d := r.diff(args)
		if d.Deleted > 0 && r.outage.name == deleted && len(args) == 2 {
			args = append(args, "--assume", "vanished") // diff says so to those who know that nobody deleted jobs
			d = r.diff(args)
		}
		if round > 8 {
			r.t.Fatalf("after %d rounds there is still something to do, or to wait for: %+v", round-1, d.open())
		}
		if d.acts() {
			r.restore(args)
		}
		if round == 1 {
			r.b.restoredAt, r.b.first = time.Now(), maps.Clone(r.b.restored)
		}
		r.drain(round)
		d = r.diff(args)
		until, flying := named(&d)
		switch {
		case d.acts(): // the jobs that may still be running can wait
		case flying && r.wait:
			<-slots
			<-time.After(time.Until(until) + time.Second)
			slots <- struct{}{}
		default:
			r.settle(round + 1)
			return
		}
	}
}

func (r *run) diff(args []string) (d diffDoc) {
	r.program.run(&d, []int{0, 3}, append([]string{"diff"}, args...)...)
	for _, f := range d.Findings {
		f.Verdict += " (" + d.Mode + ")"
		r.b.said = append(r.b.said, f)
	}
	for _, f := range d.Findings {
		if f.Action == "hold" && r.b.held != nil {
			r.b.held[f.JobID] = true
		}
	}
	return d
}

func (r *run) restore(args []string) {
	for range 3 {
		var d restoreDoc
		code := r.program.run(&d, []int{0, 6}, append([]string{"restore", "--apply"}, args...)...)
		for _, o := range d.Outcomes {
			r.b.said = append(r.b.said, finding{JobID: o.JobID, Verdict: "restore " + d.Mode, Action: o.Action, Reason: o.Result + ", " + o.Reason})
			if o.Result == "restored" || o.Result == "repaired" {
				r.b.restored[o.JobID] = true
			}
		}
		if code == 0 {
			return
		}
	}
	r.t.Fatal("restore --apply ends with 6, however often")
}

// The time that diff names in its reason.
var compareThen = regexp.MustCompile(`by (\S+Z), its run is dead: compare again then`)

// named returns the latest time at which diff wants to be asked again.
func named(d *diffDoc) (until time.Time, any bool) {
	for _, f := range d.Findings {
		if m := compareThen.FindStringSubmatch(f.Reason); m != nil {
			if at, err := time.Parse(time.RFC3339, m[1]); err == nil && at.After(until) {
				until = at
			}
		}
	}
	return until, !until.IsZero()
}

// drain starts one worker per queue and waits until there is no more to do.
func (r *run) drain(round int) {
	if _, on := r.crew.busy()["scheduler"]; !on {
		// A dead scheduler's lock would keep others off for a minute.
		for _, q := range queues {
			r.s.Do("DEL", "rq:scheduler-lock:"+q)
		}
		r.crew.scheduler("scheduler")
	}
	var names []string
	for _, q := range queues {
		name := fmt.Sprintf("drain%d-%s", round, q)
		names = append(names, name)
		r.crew.worker(name, q)
	}
	r.crew.quiet(r.s)
	r.crew.dismiss(names...)
}

// settle lets RQ itself see to jobs whose workers died in a Redis that kept them: their
// entries among the running ones expire, and maintenance fails or retries them.
func (r *run) settle(round int) {
	until := 0.0
	for _, q := range queues {
		for _, score := range read(r.t, r.s).zsets["wip:"+q] {
			until = max(until, score)
		}
	}
	if until == 0 || !r.wait {
		return
	}
	<-slots
	<-time.After(time.Until(time.Unix(int64(until)+1, 0)))
	slots <- struct{}{}
	r.crew.do(order{"do": "start", "role": "maintenance", "name": "maintenance"}, nil)
	r.crew.await("maintenance", 50*time.Millisecond, func() bool { _, on := r.crew.busy()["maintenance"]; return !on })
	r.drain(round)
}
