package report_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rqvault/internal/lineage"
	"rqvault/internal/report"
	"rqvault/verify"
)

// at is an instant of the tests' day.
func at(clock string) time.Time {
	t, err := time.Parse(time.DateTime, "2026-11-23 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// outage is what a restore found after Redis came back empty: a few queues, of which each
// verdict is there.
func outage(kind report.Kind) *report.Data {
	d := &report.Data{
		Kind: kind, Source: "default", Version: "0.1", MadeAt: at("06:40:20"), Command: "rqvault restore --apply --report incident.html",
		Snapshot: report.Snapshot{ID: "20261123T060000.120Z-4f2a9c01", Taken: at("06:00:00"), Via: "sync", Atomic: true, Jobs: 9310, Keys: 12044},
		Lineage: lineage.Judgement{Mode: lineage.Older, Empty: true, StartedAt: at("06:12:04"),
			Reasons: []string{"this is another Redis process than at the snapshot (run id now d836f1f1…, at the snapshot fe74647c…)", "it started without loading any key"}},
		Then: lineage.Facts{Server: "redis", Version: "7.0.15", RunID: "fe74647cf1b2a3d4e5f6", UptimeSeconds: 3_456_000, ServerTime: at("06:00:00"),
			Keyspace: []lineage.DBFacts{{DB: 0, Keys: 12044}}},
		Now: lineage.Facts{Server: "redis", Version: "7.0.15", RunID: "d836f1f1a2b3c4d5e6f7", UptimeSeconds: 1676, ServerTime: at("06:40:00"),
			Keyspace: []lineage.DBFacts{{DB: 0, Keys: 31}}},
		Compared: at("06:40:00"), Policy: "at-least-once",
		Counts: map[verify.Verdict]int{}, Intact: map[verify.Queue]int{{Name: "mail"}: 6200, {Name: "reports"}: 1400, {Name: "thumbnails"}: 1288},
		Meanings: map[verify.Verdict]string{},
	}
	for _, v := range verify.Verdicts {
		d.Meanings[v] = "what " + string(v) + " means"
	}
	d.Counts[verify.Intact] = 8888
	add := func(n int, queue, status string, v verify.Verdict, a verify.Action, result, reason string) {
		if kind != report.Applied {
			result = ""
		}
		for i := range n {
			d.Jobs = append(d.Jobs, report.Job{ID: fmt.Sprintf("%s-%s-%s-%04d", queue, status, v, i), Queue: queue, Status: status, Verdict: v, Action: a, Result: result, Reason: reason})
		}
		d.Counts[v] += n
	}
	add(280, "mail", "queued", verify.Lost, verify.Restore, "restored", "gone, and nothing says that it ended")
	add(128, "reports", "deferred", verify.Lost, verify.Restore, "restored", "gone, and nothing says that it ended")
	add(4, "invoices", "finished", verify.Lost, verify.Restore, "restored", "its record is gone; it comes back as a record and does not run")
	add(3, "invoices", "started", verify.InFlight, verify.Hold, "held", "it was running at the snapshot; if no worker has shown itself by 2026-11-23T06:45:04Z, its run is dead: compare again then")
	add(2, "mail", "queued", verify.Misplaced, verify.Place, "repaired", "queued, but in no list: no worker would ever take it")
	add(7, "thumbnails", "queued", verify.Expired, verify.None, "", "its own expiry passed 2026-11-23T06:20:00Z")
	add(41, "mail", "queued", verify.New, verify.None, "", "only the live server has it")
	d.Jobs[0].Evidence = []string{"no hash, no place and no result of it is in live", "Redis came back without any key"}
	if kind == report.Applied {
		d.Restored = report.Span{From: at("06:40:02"), To: at("06:40:19")}
	}
	d.Decide = []report.Choice{{Title: "jobs of queue invoices may still be running", Why: "Wait until their runs are over for sure, then compare again.",
		Names: []string{"invoices-started-in_flight-0000", "invoices-started-in_flight-0001", "invoices-started-in_flight-0002"}, Count: 3, Command: "rqvault diff 20261123T060000.120Z-4f2a9c01"}}
	d.Next = []report.Choice{{Title: "See that nothing is missing", Command: "rqvault diff 20261123T060000.120Z-4f2a9c01"}}
	return d
}

func write(t testing.TB, d *report.Data) string {
	t.Helper()
	var b strings.Builder
	if err := report.Write(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
