package backup

import (
	"context"
	"fmt"
	"time"

	"rqvault/internal/lineage"
	"rqvault/internal/snapshot"
)

// Guard says how far live data must fall between two snapshots to count as wiped. The
// shares are of the jobs, and of the keys, that the earlier one holds; the zero value
// stands for DefaultGuard.
type Guard struct {
	Lost    float64 // less than this is left, and Redis provably lost data: default 0.5
	Unknown float64 // less than this is left, and nothing tells whether it lost data: default 0.1
	Least   int64   // without proof, fewer keys than this tell nothing: default 100
}

// DefaultGuard is far from what a working queue does: work that is done makes jobs vanish by
// the thousand, but not by a restart that loads nothing, and not to the last key.
var DefaultGuard = Guard{Lost: 0.5, Unknown: 0.1, Least: 100}

// Collapsed judges by two snapshots of one source, the earlier first, and what lineage says
// of the time between them, whether live data was wiped. It returns what showed it, nil if
// it was not.
//
//   - Redis came back empty or older, or was flushed: a fall below Lost.
//   - Nothing tells what became of the data (a server that hides its run id, counters that
//     were set back, eviction): a fall below Unknown.
//   - The same process ran on and rules a loss out: only if no key at all is left, since
//     queues drain; then somebody deleted everything one by one.
func (g Guard) Collapsed(prev, next *snapshot.Manifest, j lineage.Judgement) []string {
	if g == (Guard{}) {
		g = DefaultGuard
	}
	below := g.Unknown
	switch {
	case j.Mode == lineage.Older || j.Flushed:
		below = g.Lost
	case prev.Counts.Keys < g.Least:
		return nil
	case j.Mode == lineage.Complete && !j.Blind:
		if next.Counts.Keys > 0 {
			return nil
		}
	}
	var fell []string
	say := func(what string, was, is int64) {
		if float64(is) < float64(was)*below {
			fell = append(fell, fmt.Sprintf("%d of %d %s are left", is, was, what))
		}
	}
	say("jobs", prev.Counts.Jobs, next.Counts.Jobs)
	say("keys", prev.Counts.Keys, next.Counts.Keys)
	if fell == nil {
		return nil
	}
	if n := len(j.Reasons); n > 0 {
		fell = append(fell, j.Reasons[n-1])
	}
	return fell
}

// guard freezes retention if live data collapsed since the previous snapshot. It comes
// before the commit: a freeze too many harms nobody, and a snapshot of what was left is
// never the newest without one.
func (s *saver) guard(ctx context.Context, m *snapshot.Manifest) error {
	if s.prev == nil {
		return nil
	}
	j, err := judge(s.prev, s.dump.Before, s.watermark())
	if err != nil {
		return nil // what cannot be compared says nothing
	}
	why := s.o.Guard.Collapsed(s.prev, m, j)
	if why == nil {
		return nil
	}
	m.Warnings = append(m.Warnings, fmt.Sprintf("live data collapsed since snapshot %s (%s): retention is frozen, so that nothing older is removed. When what was lost is back, or was meant to go: rqvault thaw %s",
		s.prev.ID, why[0], s.prev.ID))
	return s.o.Catalog.Freeze(ctx, snapshot.Freeze{Snapshot: s.prev.ID, Since: m.CreatedAt, Reasons: why})
}

// watermark is the newest instant in the data from before the server's start, zero for none.
func (s *saver) watermark() time.Time {
	if us := s.builder.Watermark(); us != 0 {
		return time.UnixMicro(us)
	}
	return time.Time{}
}

// judge says what a server's data is to a snapshot.
func judge(prev *snapshot.Manifest, facts lineage.Facts, watermark time.Time) (lineage.Judgement, error) {
	past := lineage.NewPast(prev.Lineage.Before, prev.Lineage.After, prev.CreatedAt, prev.Dump.Aux)
	return lineage.Judge(past, facts, watermark)
}
