package backup

import (
	"testing"
	"time"

	"rqvault/internal/lineage"
	"rqvault/internal/snapshot"
)

func TestWhereHistoryWasTorn(t *testing.T) {
	taken := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	now := taken.Add(time.Hour)
	facts := func(runID string, up time.Duration, loaded int64) lineage.Facts {
		return lineage.Facts{RunID: runID, ServerTime: now, UptimeSeconds: int64(up.Seconds()), Version: "7.0.15", Calls: map[string]int64{},
			Replication: lineage.Replication{Role: "master"}, Persistence: lineage.Persistence{LastLoadKeysLoaded: loaded}}
	}
	before := &snapshot.Manifest{ID: "20261123T060000.000Z-00000001", CreatedAt: taken,
		Lineage: snapshot.Lineage{Before: facts("aaaaaaaa", 0, 0), After: facts("aaaaaaaa", 0, 0)}}
	torn1 := *before
	torn1.Lineage.Break = &snapshot.Break{Snapshot: "20261122T060000.000Z-00000000", At: taken.Add(-time.Hour), Mode: lineage.Older}
	flushed := facts("aaaaaaaa", 2*time.Hour, 0)
	flushed.Calls["flushall"] = 1
	for name, c := range map[string]struct {
		prev      *snapshot.Manifest
		facts     lineage.Facts
		watermark time.Time
		from      snapshot.ID // "" for no break
		fresh     bool
	}{
		"the first snapshot":                {nil, facts("bbbbbbbb", time.Minute, 0), time.Time{}, "", false},
		"it ran on":                         {before, facts("aaaaaaaa", 2*time.Hour, 0), time.Time{}, "", false},
		"it ran on since an earlier break":  {&torn1, facts("aaaaaaaa", 2*time.Hour, 0), time.Time{}, torn1.Lineage.Break.Snapshot, false},
		"it came back empty":                {before, facts("bbbbbbbb", time.Minute, 0), time.Time{}, before.ID, true},
		"it came back older":                {before, facts("bbbbbbbb", time.Minute, 9), taken.Add(-time.Hour), before.ID, true},
		"it came back whole":                {before, facts("bbbbbbbb", time.Minute, 9), taken.Add(time.Minute), "", false},
		"it came back, nobody knows how":    {before, facts("bbbbbbbb", time.Minute, 9), time.Time{}, "", false},
		"it was flushed":                    {before, flushed, time.Time{}, before.ID, true},
		"a second break hides the first":    {&torn1, flushed, time.Time{}, torn1.ID, true},
		"it came back whole after a break ": {&torn1, facts("bbbbbbbb", time.Minute, 9), taken.Add(time.Minute), torn1.Lineage.Break.Snapshot, false},
	} {
		b, fresh := torn(c.prev, c.facts, c.watermark, now)
		got := snapshot.ID("")
		if b != nil {
			got = b.Snapshot
		}
		if got != c.from || fresh != c.fresh || fresh && (!b.At.Equal(now) || len(b.Reasons) == 0) {
			t.Errorf("%s: got %+v, fresh %v, want a break after %q, fresh %v", name, b, fresh, c.from, c.fresh)
		}
	}
}
