package source_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/redistest"
	"rqvault/internal/rq"
	"rqvault/internal/source"
	"rqvault/verify"
)

// oddities gives a server what hashes of jobs and the names around them can be, in two
// databases.
func oddities(r *redistest.Server) {
	fill(r)
	r.Do("EVAL", `
		local at = '2026-11-23T06:32:30.111182Z'
		local function job(id, ...) redis.call('hset', 'rq:job:'..id, 'data', 'x', 'origin', 'q', 'created_at', at, ...) end
		job('started', 'status', 'started', 'started_at', at, 'last_heartbeat', at, 'worker_name', 'w1', 'timeout', '-1')
		redis.call('zadd', 'rq:wip:q', 5, 'started:0123456789abcdef0123456789abcdef')
		redis.call('zadd', 'rq:executions:started', 5, '0123456789abcdef0123456789abcdef')
		job('finished', 'status', 'finished', 'ended_at', at, 'result_ttl', '500', 'description', 'a.b(1)')
		redis.call('zadd', 'rq:finished:q', 1795415550, 'finished')
		redis.call('pexpireat', 'rq:job:finished', 4102444800123)
		redis.call('xadd', 'rq:results:finished', '1795415550123-0', 'type', '1', 'return_value', 'secret')
		job('child', 'status', 'deferred', 'dependency_id', 'started', 'dependency_ids', '["started","finished"]')
		redis.call('zadd', 'rq:deferred:q', 5, 'child')
		redis.call('sadd', 'rq:job::child:dependencies', 'started', 'finished')
		redis.call('sadd', 'rq:job:started:dependents', 'child')
		local many = {}
		for i = 1, 3000 do many[i] = '"parent-'..string.format('%030d', i)..'"' end
		job('many', 'status', 'deferred', 'dependency_ids', '['..table.concat(many, ',')..']')
		local function written(id, ...) job(id, 'started_at', '', 'ended_at', '', 'enqueued_at', at, 'worker_name', '', ...) end
		written('waits', 'status', 'queued', 'worker_name', 'w0')
		redis.call('pexpireat', 'rq:job:waits', 4102444800123)
		written('runs', 'status', 'started', 'worker_name', 'w1')
		written('follows', 'status', 'deferred', 'dependency_ids', '["runs"]')
		written('ended', 'status', 'finished', 'ended_at', at)
		redis.call('pexpireat', 'rq:job:ended', 4102444800123)
		written('canceled', 'status', 'canceled', 'dependency_ids', '{')
		written('nowhere', 'status', 'queued', 'origin', '')
		written('odd', 'status', 'exploded')
		written('wide', 'status', 'queued', 'last_heartbeat', string.rep('z', 100000))
		redis.call('hset', 'rq:job:stub', 'last_heartbeat', at)
		redis.call('hset', 'rq:job:stub2', 'status', 'queued', 'created_at', at)
		redis.call('hset', 'rq:job:nodata', 'data', '', 'status', 'queued', 'created_at', at)
		redis.call('hset', 'rq:job:bare', 'data', 'x')
		redis.call('hset', 'rq:job:foreign', 'colour', 'red')
		redis.call('hset', 'rq:job:x:dependents', 'data', 'x', 'status', 'queued', 'created_at', at)
		redis.call('hset', 'rq:job:a:b.c d', 'data', 'x', 'status', 'queued', 'created_at', at)
		redis.call('hset', 'rq:job:b\0\255', 'data', 'x', 'status', 'queued', 'created_at', at)
		job('poison', 'status', 'exploded', 'enqueued_at', 'yesterday', 'timeout', 'soon')
		job('poison2', 'status', 'queued', 'dependency_ids', '{')
		job('large', 'status', 'queued', 'data', string.rep('y', 3000000), 'meta', string.rep('z', 100000))
		redis.call('set', 'rq:job:string', 'x')
		redis.call('rpush', 'rq:job:list', 'x')
		redis.call('set', 'rq:queue:wrong', 'x')
		redis.call('sadd', 'rq:finished:wrong', 'x')
		redis.call('rpush', 'rq:queue:q:intermediate', 'job007')
		redis.call('rpush', 'rq:queue:q', 'ghost', 'a:b.c d')
		redis.call('sadd', 'rq:group:g', 'job001', 'job002')
		redis.call('sadd', 'rq:groups', 'g')
		redis.call('hset', 'rq:worker:w1', 'birth', at, 'last_heartbeat', at, 'current_job', 'started', 'version', '1.16')
		redis.call('sadd', 'rq:workers', 'rq:worker:w1')
		redis.call('set', 'rq:suspended', '1')
		redis.call('set', 'rq:scheduler-lock:q', '1', 'px', 100000000)
		redis.call('select', 3)
		job('there', 'status', 'failed', 'failure_ttl', '-1', 'group_id', 'g', 'retries_left', '2', 'repeats_left', '1', 'enqueue_at_front', '1',
			'allow_dependency_failures', '1')
		redis.call('zadd', 'rq:failed:q', -1, 'there')`, 0)
}

// told is what a comparison can see of an image, and what fsck says of it. A blurred one
// tells expiries to the minute.
func told(t testing.TB, url, via string, blur bool) (all map[string]string, wrong []string) {
	t.Helper()
	schema := rq.Schema{}
	image, err := source.Image(t.Context(), source.ImageOptions{Options: options(dial(t, url), via), TempDir: t.TempDir(),
		Before: time.Now(), Marks: verify.NewMarks(schema)})
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	all = map[string]string{
		"workers": fmt.Sprint(image.Workers()), "watermark": image.Watermark().String(), "registered": fmt.Sprint(image.Registered()),
	}
	for row, err := range image.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		r := *row
		r.Func = ""
		r.Problem, _, _ = strings.Cut(r.Problem, "field ") // which of several is met first is the order of the fields
		r.Parts = nil
		unit := int64(1)
		if blur {
			unit = time.Minute.Milliseconds()
		}
		r.ExpireAt = (r.ExpireAt + unit/2) / unit
		for _, p := range row.Parts {
			r.Parts = append(r.Parts, job.Part{Name: p.Name, ExpireAt: (p.ExpireAt + unit/2) / unit})
		}
		all[fmt.Sprintf("%d/%s", r.DB, r.ID)] = fmt.Sprintf("%+v", r)
	}
	return all, breaches(t, image, schema)
}

// versions is what tells the jobs' versions: see verify.Look.
func versions(t testing.TB, url string, alone bool) map[string]string {
	t.Helper()
	image, err := source.Image(t.Context(), source.ImageOptions{Options: options(dial(t, url), source.Scan), TempDir: t.TempDir(), Versions: alone})
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	all := map[string]string{}
	for r, err := range image.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		seen := fmt.Sprint(r.Exists, r.Stub, r.Status, r.Queue, r.CreatedAt, r.EnqueuedAt, r.StartedAt, r.EndedAt,
			r.HeartbeatAt, r.ParentSet, r.ListedBy, r.ResultAt, r.ResultType, r.Places)
		if r.Status != job.Queued {
			seen += fmt.Sprint(r.ExpireAt)
		}
		switch r.Status {
		case job.Started:
			seen += r.Worker
		case job.Deferred:
			seen += fmt.Sprint(r.Parents)
		}
		all[fmt.Sprintf("%d/%s", r.DB, r.ID)] = seen
	}
	return all
}

func sameTold(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for k, w := range want {
		if got[k] != w {
			t.Errorf("%s: %s\n got %s\nwant %s", what, k, got[k], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: got %d entries, want %d", what, len(got), len(want))
	}
}

// breaches is what fsck finds in an image, in words.
func breaches(t testing.TB, image verify.Image, schema job.Schema) []string {
	t.Helper()
	found, err := verify.Check(verify.CheckOptions{Schema: schema, Rows: image.Rows, Marks: image.Marks(), Registered: image.Registered(),
		Workers: image.Workers(), Now: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, b := range found {
		what, _, _ := strings.Cut(b.Detail, "field ")
		all = append(all, fmt.Sprintf("%d/%s %s %s %s", b.DB, b.JobID+b.Key, b.Invariant, b.Severity, what))
	}
	slices.Sort(all)
	return all
}

// By fields, by whole values and from one instant's dump, a server is the same to whoever
// compares it. Users who may not run the commands for fields read whole values.
func TestFieldsSayWhatWholeValuesSay(t *testing.T) {
	r := redistest.Start(t, redistest.WithUser("whole on >pw ~* +@all -hmget"), redistest.WithUser("old on >pw ~* +@all -pexpiretime"))
	for _, fill := range []func(*redistest.Server){oddities, realJobs} {
		fill(r)
		as := func(user string) string { return strings.Replace(r.SocketURL(), "unix://", "unix://"+user+":pw@", 1) }
		want, wrong := told(t, as("whole"), source.Scan, false)
		if len(want) < 20 || len(wrong) < 3 {
			t.Fatalf("got %d entries and %d breaches: nothing to compare", len(want), len(wrong))
		}
		for _, other := range []struct {
			what, url, via string
		}{{"by fields", r.SocketURL(), source.Scan}, {"one instant", r.SocketURL(), source.Sync}} {
			got, breaches := told(t, other.url, other.via, false)
			sameTold(t, other.what, got, want)
			if !slices.Equal(breaches, wrong) {
				t.Errorf("%s: got breaches\n%s\nwant\n%s", other.what, strings.Join(breaches, "\n"), strings.Join(wrong, "\n"))
			}
		}
		want, _ = told(t, as("whole"), source.Scan, true)
		got, _ := told(t, as("old"), source.Scan, true)
		sameTold(t, "before Redis 7", got, want)
		sameTold(t, "versions", versions(t, r.SocketURL(), true), versions(t, as("whole"), false))
	}
}

// Most jobs need no more than a glance: of a real RQ's, too.
func TestAGlanceIsEnoughForMostJobs(t *testing.T) {
	r := redistest.Start(t)
	realJobs(r)
	r.Do("CONFIG", "RESETSTAT")
	versions(t, r.SocketURL(), true)
	calls := func(name string) int {
		n, _, _ := strings.Cut(strings.TrimPrefix(r.Info("commandstats", "cmdstat_"+name), "calls="), ",")
		got, _ := strconv.Atoi(n)
		return got
	}
	if whole, all := calls("hstrlen"), calls("hmget"); whole == 0 || whole > all/3 {
		t.Errorf("of %d questions about jobs, %d were for everything", all, whole)
	}
}

// realJobs gives the server the data of a real RQ.
func realJobs(r *redistest.Server) {
	dump, err := os.ReadFile("../../testdata/rdb/rq.rdb")
	if err == nil {
		r.Kill()
		err = os.WriteFile(r.DumpPath(), dump, 0o600)
	}
	if err != nil {
		panic(err)
	}
	r.Restart(false)
}

// Whoever reads fields while jobs run, and vanish between the commands about them, gets
// each job that stays, and none that never was.
func TestFieldsOfJobsOnTheMove(t *testing.T) {
	r := redistest.Start(t)
	fill(r)
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			p := r.Client().Pipeline()
			p.Do(ctx, "HSET", fmt.Sprintf("rq:job:come%d", n), "data", "x", "status", "queued", "created_at", "2026-11-23T06:32:30.111182Z")
			p.Do(ctx, "DEL", fmt.Sprintf("rq:job:come%d", n-40))
			_, _ = p.Exec(ctx)
		}
	})
	for range 30 {
		image, err := source.Image(t.Context(), source.ImageOptions{Options: options(dial(t, r.SocketURL()), ""), TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		stayed := 0
		for row, err := range image.Rows() {
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(row.ID, "job") || row.ID == "other" {
				stayed++
			}
			if !row.Exists || row.Problem != "" || row.Status != job.Queued {
				t.Errorf("%s: got %+v", row.ID, *row)
			}
		}
		if stayed != 501 {
			t.Errorf("got %d of the jobs that stay, want 501", stayed)
		}
		if err := image.Close(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	busy.Wait()
}
