package restore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/redistest"
	"rqvault/restore"
)

// fill makes jobs j00000, j00001 …: queued in q, and every third finished instead.
func fill(s *redistest.Server, n int) {
	s.Do("EVAL", `for i = 0, tonumber(ARGV[2]) - 1 do
		local id, status = string.format('j%05d', i), i % 3 == 2 and 'finished' or 'queued'
		redis.call('hset', 'rq:job:'..id, 'data', string.rep('x', 500)..i, 'status', status, 'origin', 'q', 'created_at', ARGV[1], 'enqueued_at', ARGV[1])
		if status == 'queued' then
			redis.call('rpush', 'rq:queue:q', id)
		else
			redis.call('zadd', 'rq:finished:q', i, id)
			redis.call('xadd', 'rq:results:'..id, '5-0', 'type', '1')
		end
	end
	redis.call('sadd', 'rq:queues', 'rq:queue:q')`, 0, created, n)
}

// The first jobs go one a call, the others by the dozen; what one of them meets is not its
// neighbours' trouble, and the next run does nothing any more.
func TestManyJobsShareACall(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	fill(s, 900)
	want := look(t, s)
	d := take(t, s)
	for _, user := range []string{"", "limited"} { // who may not RESTORE learns that from few
		s.Do("FLUSHALL")
		plan := d.plan(s, everything)
		c, calls := connect(t, s, user), 0
		c.before = func() { calls++ }
		out := d.apply(s, c, plan)
		if out.err != nil || len(out.with(restore.Restored)) != 900 || !slices.IsSorted(out.progress) {
			t.Fatalf("as user %q: %v, %d restored", user, out.err, len(out.with(restore.Restored)))
		}
		if calls < 128+900/64-4 || calls > 2*(128+1024/32) {
			t.Errorf("as user %q: %d calls", user, calls)
		}
		same(t, "as user "+user, without(look(t, s)), want)
		if out := d.apply(s, connect(t, s, user), plan); out.err != nil || len(out.with(restore.Skipped)) != 900 {
			t.Errorf("as user %q, again: %v, %d skipped", user, out.err, len(out.with(restore.Skipped)))
		}
		same(t, "again as user "+user, without(look(t, s)), want)
	}
}

// Of the jobs of one call some are there, some half there, and some cannot be written.
func TestTroubleInAFullCall(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	fill(s, 600)
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	s.Do("HSET", "rq:job:j00300", "data", "newer", "status", "queued")
	s.Do("HSET", "rq:job:j00301", "last_heartbeat", created)
	s.Do("SET", "rq:job:j00303", "no hash at all")
	s.Do("XADD", "rq:results:j00305", "9-0", "type", "2")
	s.Do("SET", "rq:finished:q", "no registry")
	out := d.apply(s, connect(t, s, ""), plan)
	if out.err != nil {
		t.Fatal(out.err)
	}
	wantIDs(t, "skipped", out.with(restore.Skipped), "j00300", "j00303")
	wantIDs(t, "held", out.with(restore.Held), "j00301")
	if got := out.with(restore.Restored); len(got) != 397 { // queued ones, less three
		t.Errorf("%d restored", len(got))
	}
	if got := out.with(restore.Failed); len(got) != 200 || !strings.Contains(out.of(t, "j00302").Reason, "WRONGTYPE") {
		t.Errorf("%d failed, one with %q", len(got), out.of(t, "j00302").Reason)
	}
	if n := s.Do("XLEN", "rq:results:j00305"); n != int64(1) {
		t.Errorf("live's results now have %v entries", n)
	}
	for _, id := range []string{"j00300", "j00302"} { // neither is signed for
		if s.Do("HEXISTS", restore.LedgerKey, restore.JobEntry(id)) != int64(0) {
			t.Errorf("the ledger has %s", id)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	const jobs = 5000
	s := redistest.Start(b)
	fill(s, jobs)
	d := take(b, s)
	s.Do("FLUSHALL")
	plan, c := d.plan(s, everything), connect(b, s, "")
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s.Do("FLUSHALL")
		b.StartTimer()
		out := &told{}
		if err := restore.Apply(b.Context(), plan, d.options(s, c, out)); err != nil || len(out.with(restore.Restored)) != jobs {
			b.Fatal(fmt.Errorf("%d restored: %w", len(out.with(restore.Restored)), err))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/jobs, "ns/job")
}
