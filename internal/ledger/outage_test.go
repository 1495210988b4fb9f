package ledger_test

import (
	"os"
	"slices"
	"strings"
	"time"
)

// outage is one way to lose work.
// deleted is the outage in which single keys vanish.
const deleted = "random keys deleted"

type outage struct {
	name   string
	strike func(r *run)
}

var outages = []outage{
	{name: "kill -9, empty start", strike: func(r *run) {
		r.fall()
		r.s.Restart(true)
	}},
	{name: "kill -9, start from an older dump", strike: func(r *run) {
		r.fall()
		if err := os.Rename(r.older(), r.s.DumpPath()); err != nil {
			r.t.Fatal(err)
		}
		r.s.Restart(false)
	}},
	{name: "FLUSHALL", strike: func(r *run) {
		r.crash()
		r.b.outage = time.Now()
		r.s.Do("FLUSHALL")
	}},
	{name: deleted, strike: (*run).shred},
	{name: "worker killed in mid-job", strike: (*run).murder},
}

// downtime is how long Redis is away. What producers wrote in the second before a server
// started does not date the data that it came back with, nor in the one after.
const downtime = 2500 * time.Millisecond

// fall ends Redis, and the workers with it or not.
func (r *run) fall() {
	r.b.outage = time.Now()
	r.s.Kill()
	r.crash()
	<-time.After(time.Until(r.b.outage.Add(downtime)))
}

// shred deletes a quarter of RQ's own keys.
func (r *run) shred() {
	r.crash()
	r.b.outage = time.Now()
	found, _ := r.s.Do("KEYS", "rq:*").([]any)
	var keys []string
	for _, k := range found {
		kind, _, _ := strings.Cut(strings.TrimPrefix(k.(string), "rq:"), ":")
		if slices.Contains([]string{"job", "queue", "queues", "results", "finished", "failed", "deferred", "scheduled", "canceled", "wip"}, kind) {
			keys = append(keys, k.(string))
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if r.rand.Intn(4) == 0 {
			r.s.Do("DEL", k)
		}
	}
}

// murder kills a worker, the process that runs its job, or both, while it runs one.
func (r *run) murder() {
	what := r.rand.Intn(3)
	r.crew.produce("x", r.seed+2, 20, false) // there may be nothing else to do by now
	r.crew.await("a worker in mid-job", 20*time.Millisecond, func() bool {
		for name, jobs := range r.crew.busy() {
			if workers[name] != nil && jobs > 0 {
				r.b.outage = time.Now()
				return r.crew.murder(name, what != 0, what != 1)
			}
		}
		return false
	})
	r.crash()
}
