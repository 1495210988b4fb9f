package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rqvault/internal/doctor"
	"rqvault/internal/queues"
	"rqvault/verify"
)

// Between the two looks at the queues, and up to how many keys RQ's invariants are checked
// too.
const (
	betweenLooks = time.Second
	mostKeys     = 20000
)

// Queues looks at each database that holds keys, twice, with a pause if any job waits.
func (p *patient) Queues(ctx context.Context, s *doctor.Server) *doctor.Queues {
	out := &doctor.Queues{}
	var looks []*queues.Look
	busy := false
	for _, db := range heldDatabases(s, p.probe.Target.DB) {
		l := queues.New(ctx, p.probe.Server, db, p.e.schema, p.e.now)
		busy = l.First() || busy
		looks = append(looks, l)
	}
	if busy && !rest(ctx, betweenLooks) {
		out.Problem = "there was no time"
		return out
	}
	for _, l := range looks {
		if suspended, left := l.Suspended(); suspended {
			out.Suspended, out.SuspendedFor = true, max(out.SuspendedFor, left)
		}
		workers := l.Workers()
		out.Workers = append(out.Workers, workers...)
		out.All = append(out.All, l.All(workers)...)
		if l.Err != nil {
			out.Problem = reason(l.Err)
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
