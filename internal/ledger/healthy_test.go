package ledger_test

import (
	"fmt"
	"maps"
	"math/rand"
	"path/filepath"
	"slices"
	"testing"

	"rqvault/internal/redistest"
)

// TestHealthy is the law of silence: a Redis that has only worked on since the snapshot
// gives diff nothing to act on, in the middle of work and at its end. Jobs end, fail, are
// retried, scheduled, canceled, deleted and requeued, and expire meanwhile. Only those
// that are running are not deleted: RQ writes such a job anew when it ends, without what
// belonged to it, and the jobs that follow it never start.
func TestHealthy(t *testing.T) {
	for s := *seed; s < *seed+int64(max(*runs, 4)); s++ {
		t.Run(fmt.Sprintf("seed %d", s), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			healthy(t, s)
			if t.Failed() {
				t.Logf("again: make healthy SEED=%d RUNS=1 DURATION=%s", s, duration)
			}
		})
	}
}

func healthy(t *testing.T, seed int64) {
	t.Helper()
	random := rand.New(rand.NewSource(seed))
	s := redistest.Start(t, redistest.WithArgs("--repl-diskless-sync-delay", "0"))
	c := hire(t, s)
	p := program{t: t, s: s, store: filepath.Join(t.TempDir(), "store")}
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		c.worker(name, workers[name]...)
	}
	c.scheduler("scheduler")
	c.produce("j", seed, jobs(), true)
	c.enqueued(jobs() * (20 + random.Intn(50)) / 100)
	id := p.backup([]string{"bgsave", "sync", "scan"}[random.Intn(3)])
	c.enqueued(jobs() * (80 + random.Intn(20)) / 100)
	p.silent(id, "scan")
	p.silent(id, "sync")
	c.quiet(s)
	p.silent(id, "scan")
}

// silent fails the test if diff finds anything to do or to decide.
func (p *program) silent(id, via string) {
	p.t.Helper()
	var d diffDoc
	code := p.run(&d, []int{0, 3}, "diff", id, "--via", via)
	if code != 0 || d.Mode != "complete" {
		p.t.Errorf("diff --via %s on a healthy Redis: exit %d, mode %s, %q", via, code, d.Mode, d.Reasons)
	}
	for _, f := range d.Findings {
		if f.Action != "none" {
			p.t.Errorf("diff --via %s on a healthy Redis says %s %s: %s (%s)", via, f.Action, f.JobID, f.Reason, f.Verdict)
		}
	}
}
