package restore_test

import (
	"compress/zlib"
	"context"
	"encoding/base64"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/redistest"
	"rqvault/restore"
	"rqvault/verify"
)

// running makes a job that a worker has in hand.
func running(s *redistest.Server, id string, more ...any) {
	hash(s, id, "started", append([]any{"started_at", created, "last_heartbeat", created, "worker_name", "w", "timeout", "180"}, more...)...)
	s.Do("ZADD", "rq:wip:q", 4102444800, id)
}

// revived is the plan for running jobs whose runs are dead.
func revived(d *taken, action verify.Action) *restore.Plan {
	p := &restore.Plan{Snapshot: snapshotID, Policy: verify.AtLeastOnce}
	for _, r := range d.jobs {
		if r.Status == job.Started {
			p.Steps = append(p.Steps, restore.Step{JobID: r.ID, Queue: "q", List: "q", Status: job.Started, Verdict: verify.Uncertain,
				Action: action, Guard: verify.GuardAbsent})
		}
	}
	return p
}

func TestARunThatDiedBeginsAgain(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	running(s, "plain")
	running(s, "short", "ttl", "600", "retries_left", "3")
	running(s, "last", "retries_left", "0")
	d := take(t, s)
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		enqueue(s, "newer")
		began := clock(t, s)
		plan, err := restore.ParsePlan(marshal(t, revived(d, verify.Requeue)))
		if err != nil {
			t.Fatal(err)
		}
		out := d.apply(s, connect(t, s, user), plan)
		wantIDs(t, "restored", out.with(restore.Restored), "last", "plain", "short")
		wantQueue(t, s, "last", "plain", "short", "newer")
		h := s.Client().HGetAll(context.Background(), "rq:job:short").Val()
		at, err := time.Parse(time.RFC3339, h["enqueued_at"])
		if err != nil || at.Before(began.Add(-time.Second)) || h["status"] != "queued" || h["retries_left"] != "2" || h["data"] != "payload of short" ||
			h["started_at"]+h["ended_at"]+h["last_heartbeat"]+h["worker_name"] != "" || h["created_at"] != created {
			t.Errorf("as user %q: %v", user, h)
		}
		if s.Do("HGET", "rq:job:last", "retries_left") != "0" || s.Do("EXISTS", "rq:wip:q") != int64(0) {
			t.Error("a retry that was not there was used up, or it is called running")
		}
		if ttl := s.Do("PTTL", "rq:job:short").(int64); ttl < 590_000 || ttl > 600_000 || s.Do("PTTL", "rq:job:plain") != int64(-1) {
			t.Errorf("as user %q: short lives %d ms, plain %v", user, ttl, s.Do("PTTL", "rq:job:plain"))
		}
		again := d.apply(s, connect(t, s, user), plan)
		wantIDs(t, "skipped", again.with(restore.Skipped), "last", "plain", "short")
		wantQueue(t, s, "last", "plain", "short", "newer")
	}
}

func TestARunThatDiedIsFailed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	running(s, "plain")
	running(s, "short", "failure_ttl", "600")
	running(s, "kept", "failure_ttl", "-1")
	d := take(t, s)
	s.Do("FLUSHALL")
	began := clock(t, s)
	out := d.apply(s, connect(t, s, ""), revived(d, verify.Fail))
	wantIDs(t, "restored", out.with(restore.Restored), "kept", "plain", "short")
	wantQueue(t, s)
	for id, seconds := range map[string]float64{"plain": 31536000, "short": 600, "kept": -1} {
		score, err := strconv.ParseFloat(s.Do("ZSCORE", "rq:failed:q", id).(string), 64)
		want := seconds
		if seconds > 0 {
			want += float64(began.Unix())
		}
		ttl := float64(s.Do("PTTL", "rq:job:"+id).(int64)) / 1000
		if seconds < 0 {
			ttl *= 1000
		}
		if err != nil || score < want || score > want+5 || ttl > seconds+1 || ttl < seconds-5 {
			t.Errorf("%s: score %v, expires in %v s, want %v and %v", id, score, ttl, want, seconds)
		}
		h := s.Client().HGetAll(context.Background(), "rq:job:"+id).Val()
		if h["status"] != "failed" || !strings.HasSuffix(h["ended_at"], "Z") || h["worker_name"] != "w" {
			t.Errorf("%s: %v", id, h)
		}
		results := s.Client().XRange(context.Background(), "rq:results:"+id, "-", "+").Val()
		if len(results) != 1 || results[0].Values["type"] != "2" {
			t.Fatalf("%s: results %v", id, results)
		}
		z, err := zlib.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(results[0].Values["exc_string"].(string))))
		if err != nil {
			t.Fatal(err)
		}
		if why, err := io.ReadAll(z); err != nil || !strings.Contains(string(why), "rqvault") {
			t.Errorf("%s: it failed for %q, %v", id, why, err)
		}
	}
}

// A job whose time to live is extended, and what goes with it.
func TestANewExpiry(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	enqueue(s, "a")
	s.Do("SADD", "rq:job::a:dependencies", "p")
	s.Do("XADD", "rq:results:a", "1-1", "type", "4")
	for _, key := range []string{"rq:job:a", "rq:job::a:dependencies", "rq:results:a"} {
		s.Do("PEXPIREAT", key, 4102444800000)
	}
	d := take(t, s)
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		plan := d.plan(s, everything)
		plan.Steps[0].ExpireAt = 4102444900000
		if out := d.apply(s, connect(t, s, user), plan); out.err != nil {
			t.Fatal(out.err)
		}
		for key, want := range map[string]int64{"rq:job:a": 4102444900000, "rq:job::a:dependencies": 4102444900000, "rq:results:a": 4102444800000} {
			if got := s.Do("PEXPIRETIME", key); got != want {
				t.Errorf("as user %q: %s expires at %v, want %d", user, key, got, want)
			}
		}
	}
}
