package ledger_test

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// The flags of make ledger and make healthy; see the Makefile.
var (
	runs     = flag.Int("runs", 0, "seeded runs of each outage and policy, with all waits; 0 for one without")
	seed     = flag.Int64("seed", 0, "the first seed")
	duration = flag.Duration("duration", time.Second, "how long the producer of a run is to take, about")
	rate     = flag.Float64("rate", 60, "how many jobs a producer enqueues per second, about")
	atOnce   = flag.Int("at-once", 3, "how many runs work at the same time")
	table    = flag.String("table", "", "a file whose table is to be written anew")
)

// jobs is how many the producer of a run enqueues.
func jobs() int { return int(duration.Seconds() * *rate) }

func TestMain(m *testing.M) {
	flag.Parse()
	if *runs == 0 { // a run waits more than it computes: as many at once as there are cores are too few
		*atOnce = 5
		_ = flag.Set("test.parallel", "5")
	}
	slots = make(chan struct{}, *atOnce)
	dir, err := os.MkdirTemp("", "rqvault-ledger")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var policies = []string{"at-least-once", "at-most-once"}

// TestLedger is the promise: what the snapshot knew runs, what had ended does not run
// again, and the order holds.
func TestLedger(t *testing.T) {
	var mu sync.Mutex
	results := results{}
	t.Run("outage", func(t *testing.T) {
		for s := *seed; s < *seed+int64(max(*runs, 1)); s++ {
			for _, o := range outages {
				for _, policy := range policies {
					t.Run(fmt.Sprintf("%s/%s/seed %d", o.name, policy, s), func(t *testing.T) {
						t.Parallel()
						r := run{t: t, outage: o, policy: policy, seed: s, jobs: jobs(), wait: *runs > 0}
						got := r.tell()
						mu.Lock()
						results.add(o.name, policy, got)
						mu.Unlock()
						for _, f := range r.b.faults {
							t.Error(f)
						}
						for _, n := range r.b.notes {
							t.Log(n)
						}
						if t.Failed() {
							t.Logf("again: make ledger SEED=%d RUNS=1 DURATION=%s RATE=%g ONLY='%s/%s'", s, duration, *rate, o.name, policy)
						}
					})
				}
			}
		}
	})
	results.print()
	if *table != "" && !t.Failed() {
		results.write(t, *table)
	}
}
