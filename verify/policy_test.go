package verify_test

import (
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/verify"
)

func TestPolicyOfOneQueue(t *testing.T) {
	other := row("k", job.Queued, func(r *job.Row) { r.Queue = "other" })
	c := verify.Context{Lineage: modes["older"], Policy: verify.AtLeastOnce, Queues: map[string]verify.Policy{"other": verify.AtMostOnce}, Taken: taken}
	all := compare(t, c, rows(row("j", job.Queued), other), rows())
	if all[0].Action != verify.Restore || all[1].Action != verify.Hold {
		t.Errorf("got %s and %s, want restore and hold", all[0].Action, all[1].Action)
	}
}

// The snapshot is an hour old; its jobs could wait for half an hour.
func TestExtendedTTL(t *testing.T) {
	ttl := func(r *job.Row) { r.TTL, r.ExpireAt = 1800, taken.Add(30*time.Minute).UnixMilli() }
	extended := taken.Add(90 * time.Minute).UnixMilli()
	for name, c := range map[string]struct {
		snap, live *job.Row
		mode       string
		asIs       bool // --extend-ttl is not given
		verdict    verify.Verdict
		expireAt   int64
	}{
		"its time has passed":                  {snap: row("j", job.Queued, ttl), mode: "older", asIs: true, verdict: verify.Expired},
		"its time has passed, and is extended": {snap: row("j", job.Queued, ttl), mode: "older", verdict: verify.Lost, expireAt: extended},
		"deferred ones":                        {snap: row("j", job.Deferred, ttl), mode: "older", verdict: verify.Lost, expireAt: extended},
		"scheduled ones":                       {snap: row("j", job.Scheduled, ttl), mode: "older", verdict: verify.Lost, expireAt: extended},
		"results keep their end":               {snap: row("j", job.Finished, ttl), mode: "older", verdict: verify.Expired},
		"an expiry that is no ttl":             {snap: row("j", job.Queued, expiry(now.Add(-time.Minute))), mode: "older", verdict: verify.Expired},
		"nothing was lost":                     {snap: row("j", job.Queued, ttl), mode: "complete", verdict: verify.Expired},
		"nothing was lost, and its id waits":   {snap: row("j", job.Queued, ttl), live: traces(places(at(job.InQueue))), mode: "complete", verdict: verify.Lost, expireAt: extended},
		"it would have lived": {snap: row("j", job.Queued, func(r *job.Row) { r.TTL, r.ExpireAt = 7200, now.Add(time.Minute).UnixMilli() }), mode: "older",
			verdict: verify.Lost, expireAt: now.Add(61 * time.Minute).UnixMilli()},
		"it has no ttl": {snap: row("j", job.Queued), mode: "older", verdict: verify.Lost},
	} {
		f := compare(t, verify.Context{Lineage: modes[c.mode], Taken: taken, ExtendTTL: !c.asIs}, rows(c.snap), rows(c.live))[0]
		if f.Verdict != c.verdict || f.ExpireAt != c.expireAt {
			t.Errorf("%s: got %s until %d, want %s until %d; because %q", name, f.Verdict, f.ExpireAt, c.verdict, c.expireAt, f.Reason)
		}
	}
}
