package backup_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"rqvault/backup"
	"rqvault/internal/lineage"
	"rqvault/internal/rq"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/storetest"
)

func counted(jobs, keys int64) *snapshot.Manifest {
	return &snapshot.Manifest{Counts: snapshot.Counts{Jobs: jobs, Keys: keys}}
}

func TestWhatCountsAsWiped(t *testing.T) {
	older := lineage.Judgement{Mode: lineage.Older, Empty: true, Reasons: []string{"another process", "it started without loading any key"}}
	flushed := lineage.Judgement{Mode: lineage.Vanished, Flushed: true, Reasons: []string{"flushall was called once since the snapshot"}}
	unsure := lineage.Judgement{Mode: lineage.Vanished, Unsure: true}
	evicted := lineage.Judgement{Mode: lineage.Vanished}
	same := lineage.Judgement{Mode: lineage.Complete, Reasons: []string{"the same process"}}
	blind := lineage.Judgement{Mode: lineage.Complete, Blind: true}
	for _, c := range []struct {
		name       string
		prev, next *snapshot.Manifest
		j          lineage.Judgement
		says       string // "" for no collapse
	}{
		{"restarted empty", counted(1000, 2000), counted(0, 0), older, "0 of 1000 jobs are left"},
		{"restarted empty, and refilled a little", counted(1000, 2000), counted(499, 1000), older, "499 of 1000 jobs are left"},
		{"restarted older, with most of it", counted(1000, 2000), counted(500, 1000), older, ""},
		{"even the smallest", counted(1, 5), counted(0, 0), older, "0 of 1 jobs are left"},
		{"it had nothing to lose", counted(0, 0), counted(0, 0), older, ""},
		{"sessions were most of it", counted(2, 9000), counted(2, 50), older, "50 of 9000 keys are left"},
		{"flushed", counted(1000, 2000), counted(3, 9), flushed, "3 of 1000 jobs are left"},
		{"flushed, and all enqueued again", counted(1000, 2000), counted(900, 1800), flushed, ""},
		{"nothing tells, and a tenth is left", counted(1000, 2000), counted(100, 200), unsure, ""},
		{"nothing tells, and less is left", counted(1000, 2000), counted(99, 400), unsure, "99 of 1000 jobs are left"},
		{"nothing tells, of little", counted(20, 99), counted(0, 0), unsure, ""},
		{"eviction took nearly all", counted(1000, 2000), counted(10, 20), evicted, "10 of 1000 jobs are left"},
		{"the queues were worked off", counted(100000, 200000), counted(0, 7), same, ""},
		{"all was deleted one by one", counted(1000, 2000), counted(0, 0), same, "0 of 1000 jobs are left"},
		{"the counters were set back", counted(1000, 2000), counted(0, 7), blind, "0 of 1000 jobs are left"},
		{"it grew", counted(10, 200), counted(1000, 2000), older, ""},
	} {
		got := strings.Join(backup.Guard{}.Collapsed(c.prev, c.next, c.j), "; ")
		if (got == "") != (c.says == "") || !strings.HasPrefix(got, c.says) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.says)
		}
	}
	strict := backup.Guard{Lost: 0.99, Unknown: 0.9, Least: 1}
	if strict.Collapsed(counted(100, 100), counted(98, 98), older) == nil || strict.Collapsed(counted(2, 2), counted(1, 1), unsure) == nil {
		t.Error("the thresholds given are not those that count")
	}
	if why := (backup.Guard{}).Collapsed(counted(9, 9), counted(0, 0), older); why[len(why)-1] != "it started without loading any key" {
		t.Errorf("got %q, want the evidence last", why)
	}
}

// emptied is a Redis that came back empty since another process of it was saved.
type emptied struct{ fileSource }

func (s emptied) Open(ctx context.Context) (*backup.Dump, error) {
	d, err := s.fileSource.Open(ctx)
	if err == nil {
		d.Before = lineage.Facts{RunID: "after", ServerTime: d.At, UptimeSeconds: 5, Version: "7.0.15", Replication: lineage.Replication{Role: "master"}}
	}
	return d, err
}

// TestNoSnapshotOfWhatWasLeftWithoutAFreeze lets the process die at each operation of the
// backup that finds live data collapsed. Wherever that is: once its snapshot is the newest,
// retention is frozen.
func TestNoSnapshotOfWhatWasLeftWithoutAFreeze(t *testing.T) {
	t.Parallel()
	for at := 0; ; at++ {
		cat, s := local(t)
		prev := plant(t, cat, time.Now().Add(-time.Hour), func(m *snapshot.Manifest) {
			m.Counts = snapshot.Counts{Keys: 9000, Jobs: 4000, Rows: 4000}
			m.Dump.Keys = 9000
			m.Lineage.Before = lineage.Facts{RunID: "before"}
		})
		crashing := storetest.NewCrashing(s, at)
		m, err := backup.Save(t.Context(), backup.Options{Catalog: catalogIn(t, crashing), Source: emptied{fileSource{realDump}}, Schema: rq.Schema{},
			Now: time.Now, Random: rand.Reader, ToolVersion: "test"})
		if err == nil && !strings.Contains(strings.Join(m.Warnings, "\n"), "live data collapsed since snapshot "+string(prev)) {
			t.Fatalf("the warnings are %q", m.Warnings)
		}
		ids, listErr := cat.IDs(t.Context())
		frozen, freezeErr := backup.Frozen(t.Context(), cat)
		if listErr != nil || freezeErr != nil {
			t.Fatal(listErr, freezeErr)
		}
		if len(ids) > 1 && (len(frozen) != 1 || frozen[0].Snapshot != prev || len(frozen[0].Reasons) == 0) {
			t.Errorf("crash at operation %d: the newest snapshot is of what was left, frozen are %+v", at, frozen)
		}
		if !crashing.Failed() {
			if err != nil || len(frozen) != 1 {
				t.Fatalf("without a crash: %v, frozen are %+v", err, frozen)
			}
			return
		}
	}
}
