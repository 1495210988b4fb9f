package command_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/rq"
	"rqvault/internal/s3test"
	"rqvault/internal/snapshot"
)

// lookedAlone is what a comparison says that has looked at the jobs asked for alone.
const lookedAlone = "nothing was looked at but the jobs asked for"

// alike fails the test unless jobs that are compared alone get the verdicts that they get
// with everything in view, and the same plan: the first of them, and some together.
// Whoever calls diff does so too.
func (v *vault) alike(d diffDoc, args []string) {
	v.t.Helper()
	var own []string // of the flags, those that have a say in verdicts
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--assume", "--job", "--out", "--report", "--queue", "--status", "--via":
			i++
		case "--extend-ttl":
			return // by how much is another answer at every moment
		default:
			own = append(own, args[i])
		}
	}
	var ids []string
	for _, f := range d.Findings {
		if !slices.Contains(ids, f.JobID) && len(ids) < 4 {
			ids = append(ids, f.JobID)
		}
	}
	if len(ids) > 0 {
		v.alikeFor(ids[:1], own)
	}
	if len(ids) > 1 {
		v.alikeFor(ids, own)
	}
}

// alikeFor compares some jobs in both ways, and reports whether they were alone in one.
// Where workers are at it, a moment may lie between; only a difference that stays counts.
func (v *vault) alikeFor(ids, args []string) bool {
	v.t.Helper()
	var whole, few string
	for range 3 {
		var alone bool
		whole, _ = v.compared("sync", ids, args)
		if few, alone = v.compared("scan", ids, args); few == whole {
			return alone
		}
	}
	v.t.Errorf("jobs %q are in everything\n%s\nand alone\n%s", ids, whole, few)
	return false
}

// compared returns what a comparison by that way says of some jobs, its plan included, and
// whether it looked at them alone.
func (v *vault) compared(via string, ids, args []string) (text string, alone bool) {
	v.t.Helper()
	plan := fmt.Sprintf("%s-%s.json", v.store, via)
	if strings.HasPrefix(v.store, "s3:") {
		plan = filepath.Join(v.t.TempDir(), via+".json")
	}
	line := append([]string{"diff", "--json", "--assume", "older", "--via", via, "--out", plan}, args...)
	for _, id := range ids {
		line = append(line, "--job", id)
	}
	r := v.run(line...)
	if r.code != 0 && r.code != 3 {
		return fmt.Sprintf("exit %d", r.code), false
	}
	var doc, steps map[string]any
	r.into(v.t, &doc)
	b, err := os.ReadFile(plan)
	if err == nil {
		err = json.Unmarshal(b, &steps)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	alone = strings.Contains(fmt.Sprint(doc["reasons"]), lookedAlone)
	delete(doc, "reasons")
	for _, changes := range []string{"lineage", "created_at", "settled", "digest"} {
		delete(steps, changes)
	}
	both, err := json.Marshal([]any{doc, steps})
	if err != nil {
		v.t.Fatal(err)
	}
	return string(both), alone
}

// Where single keys were lost, a job is compared alone and goes back behind the nearest one
// before it that is still there.
func TestJobsThatAreComparedAlone(t *testing.T) {
	t.Parallel()
	v := line(t)
	v.s.Do("RPUSH", "rq:queue:q", "later")
	v.evict("o3", "o4", "o7")
	for _, ids := range [][]string{{"o3"}, {"o4"}, {"o7"}, {"o0"}, {"o3", "o4", "o7"}, {"o7", "o2", "later"}} {
		if !v.alikeFor(ids, nil) {
			t.Errorf("%q were not compared alone", ids)
		}
	}
}

// What parents and children, results and registries tell of a job counts, and what an
// earlier restore signed for, as it does with everything in view.
func TestEvidenceAboutJobsThatAreComparedAlone(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
q = queue('q')
for n in ('ended', 'lost', 'failed', 'traced', 'restored'): q.enqueue('tasks.note', job_id=n)
for n in ('ended', 'lost'): q.enqueue('tasks.note', job_id='after-' + n, depends_on=n)
q.enqueue('tasks.note', job_id='last', depends_on=['after-ended', 'after-lost'])
q.enqueue_in(timedelta(days=1), 'tasks.note', job_id='soon')
`)
	v.backup()
	for _, id := range []string{"ended", "lost", "failed", "traced", "restored", "after-lost", "last", "soon"} {
		v.s.Do("DEL", "rq:job:"+id, "rq:job:"+id+":dependents", "rq:job::"+id+":dependencies")
		v.s.Do("LREM", "rq:queue:q", 0, id)
	}
	v.restore(0, "--job", "restored", "--assume", "older")
	v.s.Do("DEL", "rq:job:restored") // it ran, and left
	v.s.Do("LREM", "rq:queue:q", 0, "restored")
	v.s.Do("ZREM", "rq:deferred:q", "after-ended", "after-lost", "last")
	v.s.Do("ZREM", "rq:scheduled:q", "soon")
	v.s.Do("HSET", "rq:job:after-ended", "status", "queued", "enqueued_at", rq.FormatTime(v.serverTime())) // only the end of the other can have started it
	v.s.Do("RPUSH", "rq:queue:q", "after-ended")
	v.s.Do("ZADD", "rq:failed:q", v.serverTime().Unix()+1000, "failed")
	v.s.Do("XADD", "rq:results:traced", fmt.Sprintf("%d-0", v.serverTime().UnixMilli()+5), "type", 1, "created_at", v.serverTime().Unix())
	for id, want := range map[string]string{"ended": "completed", "lost": "lost", "failed": "completed", "traced": "completed", "restored": "completed",
		"after-ended": "advanced", "after-lost": "lost", "last": "lost", "soon": "lost"} {
		if !v.alikeFor([]string{id}, nil) {
			t.Errorf("%s was not compared alone", id)
		}
		var d diffDoc
		v.run("diff", "--json", "--job", id, "--assume", "older").into(t, &d)
		if f := d.verdict(t, id); f.Verdict != want {
			t.Errorf("%s is %+v, want %s", id, f, want)
		}
	}
	if !v.alikeFor([]string{"ended", "lost", "failed", "traced", "restored", "after-ended", "after-lost", "last", "soon"}, nil) {
		t.Error("together they were not compared alone")
	}
	if r := v.want(2, "diff", "--job", "nobody", "--assume", "older"); !strings.Contains(r.err, "no job") {
		t.Errorf("a job that is nowhere: %s", r.err)
	}
}

// Where a job may be running, or is in a wrong place, everything is looked at.
func TestJobsThatAreNotComparedAlone(t *testing.T) {
	t.Parallel()
	v := line(t)
	v.s.Do("LREM", "rq:queue:q", 0, "o1")                   // in no list that anybody knows
	v.s.Do("ZADD", "rq:wip:q", v.serverTime().Unix(), "o2") // a worker has signed for it
	v.s.Do("RPUSH", "rq:queue:other", "o3")                 // twice
	v.s.Do("SADD", "rq:queues", "rq:queue:other")
	for _, ids := range [][]string{{"o1"}, {"o2"}, {"o3"}, {"o0", "o2"}} {
		if v.alikeFor(ids, []string{"--patience", "1ms"}) {
			t.Errorf("%q were compared alone", ids)
		}
	}
	if !v.alikeFor([]string{"o4"}, nil) {
		t.Error("o4 was not compared alone")
	}
	for _, args := range [][]string{{"--assume", "vanished"}, {"--assume", "complete"}, {}} {
		if r := v.run(append([]string{"diff", "--job", "o4"}, args...)...); strings.Contains(r.out, lookedAlone) {
			t.Errorf("%q: %s", args, r.out)
		}
	}
}

// crowd enqueues so many jobs, with ids in no order.
func (v *vault) crowd(n int) (ids []string) {
	v.t.Helper()
	now := v.serverTime().UTC().Format("2006-01-02T15:04:05.000000Z")
	v.s.Do("EVAL", `
redis.call('SADD', 'rq:queues', 'rq:queue:q')
for i = 1, tonumber(ARGV[1]) do
  local id = redis.sha1hex(i)
  redis.call('HSET', 'rq:job:' .. id, 'data', redis.sha1hex(i .. 'x'), 'origin', 'q', 'status', 'queued', 'created_at', ARGV[2],
    'enqueued_at', ARGV[2], 'description', 'f()', 'started_at', '', 'ended_at', '', 'last_heartbeat', '', 'worker_name', '', 'timeout', '180')
  redis.call('RPUSH', 'rq:queue:q', id)
end`, 0, n, now)
	return v.list("q")
}

// A job in the middle of a long queue is put back from S3, encrypted or not, behind the one
// before it, by a few reads; and what is damaged of what is read is noticed.
func TestOneJobOutOfManyInS3(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	m := newMeter(t, server)
	v := newVault(t)
	v.env = server.Env()
	ids := v.crowd(70_000)
	at := len(ids) / 2
	for _, kind := range []string{"plain", "encrypted"} {
		v.store = "s3://" + server.Bucket + "/" + kind + "?endpoint=" + url.QueryEscape(m.front.URL)
		identity := []string{}
		if kind == "encrypted" {
			file, recipient := v.operator("ada")
			v.want(0, "key", "new", recipient)
			identity = []string{"--identity", file}
		}
		v.backup()
		v.s.Do("DEL", "rq:job:"+ids[at])
		v.s.Do("LREM", "rq:queue:q", 0, ids[at])
		var rows []struct {
			StoredSize int64 `json:"stored_size"`
		}
		v.want(0, "snapshots", "--json").into(t, &rows)
		m.bytes.Store(0)
		m.requests.Store(0)
		line := append([]string{"restore", "--apply", "--job", ids[at], "--assume", "older"}, identity...)
		v.want(0, line...)
		read, requests := m.bytes.Load(), m.requests.Load()
		v.wantList("q", ids...)
		// The list, which lies in the dump, is some of it.
		if read > rows[0].StoredSize/2 || requests > 30 {
			t.Errorf("%s: one job cost %d of %d stored bytes in %d reads", kind, read, rows[0].StoredSize, requests)
		}
		t.Logf("%s: one job cost %d of %d stored bytes in %d reads", kind, read, rows[0].StoredSize, requests)
		m.bytes.Store(0)
		r := v.want(0, append([]string{"jobs", "--id", ids[at], "--json"}, identity...)...)
		if read := m.bytes.Load(); !strings.Contains(r.out, ids[at]) || read > rows[0].StoredSize/3 {
			t.Errorf("%s: to show one job cost %d of %d stored bytes: %s", kind, read, rows[0].StoredSize, r.out)
		}
		v.s.Do("DEL", "rqvault:ledger", "rqvault:settled")
	}
}

func TestAPartOfTheIndexThatIsDamagedIsNoticed(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	ids := v.crowd(70_000)
	v.backup()
	v.s.Do("DEL", "rq:job:"+ids[0])
	v.s.Do("LREM", "rq:queue:q", 0, ids[0])
	line := []string{"restore", "--job", ids[0], "--assume", "older"}
	if r := v.want(0, line...); !strings.Contains(r.out, lookedAlone) {
		t.Errorf("it was not compared alone:\n%s", r.out)
	}
	name := v.objects()["jobs.parquet"]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) result {
		b := slices.Clone(whole)
		b[at] ^= 1
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return v.run(line...)
	}
	noticed := 0
	for part := range 8 { // the rows of one id fill a quarter or so of the file
		if r := flip(len(whole) * (2*part + 1) / 16); r.code == 5 {
			noticed++
			if !strings.Contains(r.err, "prove which snapshots are whole") {
				t.Errorf("nothing says what to do: %s", r.err)
			}
		} else if r.code != 0 {
			t.Errorf("exit %d: %s", r.code, r.err)
		}
	}
	if noticed == 0 || noticed > 4 {
		t.Errorf("%d of 8 damaged bytes were noticed", noticed)
	}
	for _, back := range []int{1, 5, 100, 1000} {
		if r := flip(len(whole) - back); r.code != 5 {
			t.Errorf("byte %d from the end: exit %d, %s", back, r.code, r.err)
		}
	}
}

// A snapshot that does not say how its index ends, as earlier versions wrote them, is read
// whole, and gives the same.
func TestAnIndexWithoutDigestsIsReadWhole(t *testing.T) {
	t.Parallel()
	v := line(t)
	v.evict("o0", "o5")
	path := v.objects()["manifest.json"]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	var objects []map[string]json.RawMessage
	if err := errors.Join(snapshot.Unseal(b, &m), json.Unmarshal(m["objects"], &objects)); err != nil {
		t.Fatal(err)
	}
	had := 0
	for _, o := range objects {
		if o["tail"] != nil {
			had++
		}
		delete(o, "tail")
	}
	if had != 1 {
		t.Fatalf("%d objects have a tail", had)
	}
	if m["objects"], err = json.Marshal(objects); err != nil {
		t.Fatal(err)
	}
	if b, err = snapshot.Seal(m); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	v.want(0, "verify")
	if !v.alikeFor([]string{"o0"}, nil) {
		t.Error("o0 was not compared alone")
	}
	if v.alikeFor([]string{"o5"}, nil) {
		t.Error("nothing says where the list lies, and o5 was compared alone")
	}
	v.restore(0, "--assume", "older", "--job", "o5", "--via", "scan")
	v.wantList("q", "o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9")
}

// Where only signed snapshots count, the rows of a job are proven by the signed manifest;
// single frames of the dump are by nothing.
func TestJobsOfASignedSnapshotThatAreComparedAlone(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`for i in range(10): queue('q').enqueue('tasks.note', i, job_id='o%d' % i)`)
	signer := filepath.Join(t.TempDir(), "signer")
	v.want(0, "key", "signer", signer)
	v.want(0, "backup", "--via", "sync", "--sign-key", signer)
	v.evict("o0", "o5")
	trust := []string{"--verify-key", signer + ".pub"}
	if !v.alikeFor([]string{"o0"}, trust) {
		t.Error("o0 was not compared alone")
	}
	if v.alikeFor([]string{"o5"}, trust) {
		t.Error("o5 was compared alone, behind a neighbour that nothing proves")
	}
	v.restore(0, append(trust, "--assume", "older", "--job", "o0", "--via", "scan")...)
	v.wantList("q", "o0", "o1", "o2", "o3", "o4", "o6", "o7", "o8", "o9")
}
