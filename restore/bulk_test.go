package restore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"rqvault/internal/job"
	"rqvault/internal/live"
	"rqvault/internal/redistest"
	"rqvault/restore"
)

// middleman stands between a restore and Redis, and has its way with the calls about many
// jobs that live has nothing of.
type middleman struct {
	*conn
	bulk  atomic.Int32 // how many batches of them were sent
	calls func(n int, calls []restore.Call)
	reply func(replies []any)
}

func (m *middleman) Run(ctx context.Context, db int, script restore.Script, calls []restore.Call) ([]any, error) {
	bulk := strings.Contains(script.Source, "return untouched")
	if bulk {
		if n := int(m.bulk.Add(1)); m.calls != nil {
			m.calls(n, calls)
		}
	}
	replies, err := m.conn.Run(ctx, db, script, calls)
	if bulk && m.reply != nil {
		m.reply(replies)
	}
	return replies, err
}

// through applies a plan through the middleman.
func (m *middleman) through(d *taken, s *redistest.Server, p *restore.Plan) *told {
	d.t.Helper()
	out := &told{}
	o := d.options(s, m.conn, out)
	o.Redis = m
	out.err = restore.Apply(d.t.Context(), p, o)
	return out
}

// What Redis does not take among many jobs is tried again by itself, and nothing of it is
// there twice or half.
func TestResultsThatAreRefusedAmongManyJobs(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	fill(s, 600)
	want := look(t, s)
	d := take(t, s)
	s.Do("FLUSHALL")
	spoilt := 0
	m := &middleman{conn: connect(t, s, ""), calls: func(_ int, calls []restore.Call) {
		for _, c := range calls {
			if p, ok := c.Args[len(c.Args)-1].([]byte); ok && c.Args[5] != 0 {
				p[len(p)-1] ^= 1 // of the checksum
				spoilt++
			}
		}
	}}
	out := m.through(d, s, d.plan(s, everything))
	if out.err != nil || len(out.with(restore.Restored)) != 600 || spoilt == 0 {
		t.Fatalf("%v, %d restored, %d results spoilt", out.err, len(out.with(restore.Restored)), spoilt)
	}
	same(t, "restored", without(look(t, s)), want)
}

// A job whose time passes on the way leaves nothing, whatever stands beside it.
func TestJobsThatExpireAmongMany(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	fill(s, 600)
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	for _, id := range []string{"j00300", "j00302"} { // one that waits, one that is finished
		d.row(id).Part(job.HashPart).ExpireAt = d.at.UnixMilli() - 1000
	}
	d.row("j00301").Part(job.HashPart).ExpireAt = 4102444800123
	m := &middleman{conn: connect(t, s, "")}
	out := m.through(d, s, plan)
	if out.err != nil || m.bulk.Load() == 0 {
		t.Fatalf("%v, %d batches of many jobs", out.err, m.bulk.Load())
	}
	wantIDs(t, "skipped", out.with(restore.Skipped), "j00300", "j00302")
	if n := len(out.with(restore.Restored)); n != 598 {
		t.Errorf("%d restored", n)
	}
	for _, id := range []string{"j00300", "j00302"} {
		if s.Do("EXISTS", "rq:job:"+id, "rq:results:"+id) != int64(0) || s.Do("ZSCORE", "rq:finished:q", id) != nil ||
			s.Do("HEXISTS", restore.LedgerKey, restore.JobEntry(id)) != int64(0) || slices.Contains(queue(t, s), id) {
			t.Errorf("something of %s is there", id)
		}
	}
	if at := s.Do("PTTL", "rq:job:j00301"); at.(int64) <= 0 {
		t.Errorf("j00301 lives for %v ms", at)
	}
}

// An answer in no known form says nothing about a job, so it counts as failed.
func TestAnswersInNoKnownForm(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	fill(s, 200)
	d := take(t, s)
	for _, r := range []any{"OK", []any{int64(0)}, []any{int64(65)}, []any{"1"}, []any{int64(2), int64(1)}, slices.Repeat([]any{int64(1)}, 80), errors.New("ERR no")} {
		s.Do("FLUSHALL")
		m := &middleman{conn: connect(t, s, ""), reply: func(replies []any) {
			for i := range replies {
				replies[i] = r
			}
		}}
		out := m.through(d, s, d.plan(s, everything))
		if out.err != nil || len(out.with(restore.Failed)) != 72 || len(out.with(restore.Restored)) != 128 {
			t.Errorf("%v: %v, %d failed, %d restored", r, out.err, len(out.with(restore.Failed)), len(out.with(restore.Restored)))
		}
	}
}

// Redis is killed while several batches are on their way: there is one error, what was
// answered is told, and the next run completes it.
func TestAServerThatGoesAwayBetweenBatches(t *testing.T) {
	t.Parallel()
	s := durable(t)
	fill(s, 6000)
	want := look(t, s)
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	for n := 1; n <= 4; n++ {
		s.Do("FLUSHALL")
		m := &middleman{conn: connect(t, s, ""), calls: func(batch int, _ []restore.Call) {
			if batch == n {
				s.Kill()
			}
		}}
		out := m.through(d, s, plan)
		if !errors.Is(out.err, live.ErrUnreachable) || strings.Contains(out.err.Error(), "\n") || len(out.with(restore.Failed)) > 0 {
			t.Errorf("killed before batch %d: got %v, %d failed", n, out.err, len(out.with(restore.Failed)))
		}
		s.Restart(false)
		whole(t, "killed", look(t, s))
		if out := d.apply(s, connect(t, s, ""), plan); out.err != nil || len(out.outcomes) != 6000 || len(out.with(restore.Failed)) > 0 {
			t.Errorf("killed before batch %d, then again: %v, %d outcomes", n, out.err, len(out.outcomes))
		}
		same(t, "killed, then again", without(look(t, s)), want)
	}
}
