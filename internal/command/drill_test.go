package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rqvault/internal/redistest"
	"rqvault/internal/s3test"
)

// drillDoc is drill --json.
type drillDoc struct {
	Snapshot, Source, Into, Server string
	OK                             bool
	Seconds                        map[string]float64
	Counts                         map[string]int
	Differences                    []struct {
		DB        int
		Key, What string
		JobID     string `json:"job_id"`
	}
}

func (v *vault) drill(code int, args ...string) drillDoc {
	v.t.Helper()
	var d drillDoc
	v.want(code, append([]string{"drill", "--json"}, args...)...).into(v.t, &d)
	return d
}

// stamps lists the files that were stored beside the snapshots about their verification.
func (v *vault) stamps() []string {
	v.t.Helper()
	files, err := filepath.Glob(filepath.Join(v.store, "default", "verified", "*", "*"))
	if err != nil {
		v.t.Fatal(err)
	}
	return files
}

// wantEmpty fails the test if a directory holds anything.
func wantEmpty(t testing.TB, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestADrillProvesASnapshot(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	before := fill(t, v, 0, 3)
	v.backup()
	temp := shortDir(t)
	d := v.drill(0, "--temp-dir", temp)
	if !d.OK || d.Counts["keys"] != len(before) || d.Counts["jobs"] < 80 || d.Counts["differences"] != 0 || d.Into != "" || !strings.Contains(d.Server, " ") {
		t.Errorf("got %+v, want %d keys and no difference", d, len(before))
	}
	for _, stage := range []string{"fetch", "load", "recovery", "compare", "total"} {
		if s, ok := d.Seconds[stage]; !ok || s < 0 || s > d.Seconds["total"] {
			t.Errorf("%s took %v of %v seconds", stage, s, d.Seconds["total"])
		}
	}
	wantEmpty(t, temp)
	files := v.stamps()
	if len(files) != 1 || !strings.HasPrefix(filepath.Base(files[0]), "drill-") || !strings.HasSuffix(files[0], "-ok.json") {
		t.Fatalf("stored: %q", files)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var stamp struct {
		Kind, Snapshot string
		OK             bool
		Seconds        map[string]float64
		Counts         map[string]int
	}
	if err := json.Unmarshal(b, &stamp); err != nil || stamp.Kind != "drill" || !stamp.OK || stamp.Counts["keys"] != len(before) || stamp.Seconds["total"] != d.Seconds["total"] {
		t.Errorf("stored: %v, %s", err, b)
	}
	if r := v.want(0, "snapshots"); !strings.Contains(r.out, "ago by drill") {
		t.Errorf("snapshots says\n%s", r.out)
	}
	if r := v.want(0, "show"); !strings.Contains(r.out, "drilled ") {
		t.Errorf("show says\n%s", r.out)
	}
	if r := v.want(0, "drill", "--no-stamp"); strings.Count(r.out, "\n") != 1 || !strings.Contains(r.out, "came back whole") || len(v.stamps()) != 1 {
		t.Errorf("it says\n%s", r.out)
	}
}

func TestADrillTakesEverySnapshot(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	bucket := s3test.Start(t)
	for _, c := range []struct {
		name, via, store string
		empty            bool
	}{{"by bgsave", "bgsave", "", false}, {"by scan", "scan", "", false}, {"in S3", "sync", bucket.URL("vault"), false}, {"of nothing", "sync", "", true}} {
		t.Run(c.name, func(t *testing.T) {
			v := &vault{t: t, s: v.s, redis: v.redis, store: filepath.Join(t.TempDir(), "store")}
			if c.store != "" {
				v.store, v.env = c.store, bucket.Env()
			}
			v.s.Do("FLUSHALL")
			keys := 0
			if !c.empty {
				keys = len(fill(t, v, 0))
			}
			v.want(0, "backup", "--via", c.via)
			if d := v.drill(0); d.Counts["keys"] != keys {
				t.Errorf("compared %d keys, want %d", d.Counts["keys"], keys)
			}
			staging := redistest.Start(t)
			v.drill(0, "--into", staging.URL())
		})
	}
}

// What a server does to values when it loads them must not look like a difference.
func TestADrillSeesThroughEncodings(t *testing.T) {
	t.Parallel()
	v := newVault(t, redistest.WithArgs("--hash-max-listpack-entries", "0", "--list-max-listpack-size", "3", "--set-max-intset-entries", "0",
		"--zset-max-listpack-entries", "0", "--rdbcompression", "no", "--stream-node-max-entries", "3"))
	before := fill(t, v, 0)
	v.rq("c.sadd('ints', *range(50)); c.zadd('z', {'a': 1.5, 'b': float('inf')}); c.rpush('l', *range(40)); [c.xadd('x', {'a': i}) for i in range(20)]; c.xgroup_create('x', 'g', 0); c.xreadgroup('g', 'me', {'x': '>'}, 3)")
	v.backup()
	if d := v.drill(0); d.Counts["keys"] != len(before)+4 {
		t.Errorf("compared %d keys, want %d", d.Counts["keys"], len(before)+4)
	}
}

func TestADrillIntoAServer(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	before := fill(t, v, 0, 1)
	v.backup()
	staging := redistest.Start(t)
	d := v.drill(0, "--into", staging.URL())
	if want := len(before.without(runs)); d.Counts["keys"] != want || d.Counts["left_out"] != len(before)-want || d.Into == "" {
		t.Errorf("got %+v, want %d keys", d, want)
	}
	same(t, "in the target", look(t, staging).without(runs), before.without(runs))
	v.want(7, "drill", "--into", staging.URL())
	v.drill(0, "--into", staging.URL(), "--replace-all")
	v.want(7, "drill", "--into", v.s.URL(), "--replace-all")
	v.want(2, "drill", "--replace-all")
}

// What has expired since the snapshot is no difference, whatever else named it.
func TestADrillForgivesWhatHasExpired(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
queue('q').enqueue('tasks.answer', job_id='short', result_ttl=3)
queue('q').enqueue('tasks.answer', job_id='long', result_ttl=3600)
work('q')
c.set('session', 'x', px=2500)
`)
	v.backup()
	gone := []any{"EXISTS", "rq:job:short", "rq:results:short", "session"}
	if n := v.s.Do(gone...); n != int64(3) {
		t.Fatalf("%v of 3 keys outlived the snapshot", n)
	}
	err := redistest.Poll(30*time.Second, func() error {
		if n := v.s.Do(gone...); n != int64(0) {
			return fmt.Errorf("%v keys are still there", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	staging := redistest.Start(t)
	for _, args := range [][]string{{}, {"--into", staging.URL()}} {
		if d := v.drill(0, args...); d.Counts["expired"] != 3 || d.Counts["keys"] < 4 || d.Counts["jobs"] != 1 {
			t.Errorf("drill %v: %v, want 3 expired keys, 1 job", args, d.Counts)
		}
	}
}

// Between the restore and the comparison somebody changes the target.
func TestADrillThatFindsADifferenceSaysSo(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for i in range(3): queue('q').enqueue('tasks.note', '` + marker + `', job_id='o%d' % i)
c.set('session', '` + marker + `', ex=9999)
c.set('other', 'x')
`)
	v.backup()
	staging := redistest.Start(t)
	for name, c := range map[string]struct {
		change []any
		says   []string
	}{
		"a key changed":      {[]any{"APPEND", "session", "!"}, []string{`key "session" has other content`}},
		"a key gone":         {[]any{"DEL", "other"}, []string{`key "other" is missing`}},
		"a key more":         {[]any{"SET", "more", "x"}, []string{"at least 1 more than the snapshot"}},
		"another type":       {[]any{"EVAL", "redis.call('DEL', 'other') return redis.call('RPUSH', 'other', 'x')", "0"}, []string{`key "other" is a list, and a string in the snapshot`}},
		"another expiry":     {[]any{"PERSIST", "session"}, []string{`key "session" expires never`}},
		"an id out of order": {[]any{"LMOVE", "rq:queue:q", "rq:queue:q", "LEFT", "RIGHT"}, []string{`key "rq:queue:q" has other content`, `job "o1" stands in other places`}},
		"a job's status":     {[]any{"HSET", "rq:job:o2", "status", "failed"}, []string{`job "o2" is failed, and queued in the snapshot`}},
		"a job gone":         {[]any{"EVAL", "redis.call('LREM', 'rq:queue:q', 0, 'o0') return redis.call('DEL', 'rq:job:o0')", "0"}, []string{`key "rq:job:o0" is missing`, `job "o0" is missing`}},
	} {
		t.Run(name, func(t *testing.T) {
			staging.Do("FLUSHALL")
			g := newGate(t, staging.Socket(), "dump") // which the comparison begins with
			g.arm(0, func() {
				staging.Do(c.change...)
				g.left = 1 << 30 // what was cut off only reads, and is asked again
			})
			v := &vault{t: t, s: v.s, redis: v.redis, store: v.store}
			page := filepath.Join(t.TempDir(), "drill.html")
			d := v.drill(3, "--into", g.url(), "--report", page)
			if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), d.Snapshot) || strings.Contains(string(html), marker) {
				t.Errorf("the report: %v, %d bytes", err, len(html))
			}
			var said []string
			for _, x := range d.Differences {
				switch {
				case x.Key != "":
					said = append(said, fmt.Sprintf("key %q %s", x.Key, x.What))
				case x.JobID != "":
					said = append(said, fmt.Sprintf("job %q %s", x.JobID, x.What))
				default:
					said = append(said, x.What)
				}
			}
			for _, want := range c.says {
				if !strings.Contains(strings.Join(said, "\n"), want) {
					t.Errorf("it says %q, want %q", said, want)
				}
			}
			if d.OK || d.Counts["differences"] != len(d.Differences) {
				t.Errorf("got %+v", d)
			}
		})
	}
	files := v.stamps()
	if len(files) == 0 || !strings.HasSuffix(files[len(files)-1], "-failed.json") {
		t.Errorf("stored: %q", files)
	}
	if r := v.want(0, "snapshots"); !strings.Contains(r.out, "drill FAILED") {
		t.Errorf("snapshots says\n%s", r.out)
	}
}

func TestADrillOfADamagedSnapshot(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq("for i in range(50): queue('q').enqueue('tasks.note', i, job_id='o%d' % i)")
	v.backup()
	staging := redistest.Start(t)
	staging.Do("SET", "here", "before")
	for _, name := range []string{"dump.rdb.zst", "keys.parquet", "jobs.parquet"} {
		path := (&session{t: t, vault: v}).find(name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		flip := func() {
			b[len(b)/2] ^= 1
			(&session{t: t, vault: v}).write(path, b)
		}
		flip()
		temp := shortDir(t)
		r := v.want(5, "drill", "--temp-dir", temp)
		if !strings.Contains(r.err, "next: prove which snapshots are whole") {
			t.Errorf("%s: it says %s", name, r.err)
		}
		wantEmpty(t, temp)
		if name == "dump.rdb.zst" { // nothing is emptied for a snapshot that cannot come back
			v.want(5, "restore", "--into", staging.URL(), "--replace-all", "--apply")
			v.want(5, "drill", "--into", staging.URL(), "--replace-all")
			if staging.Do("GET", "here") != "before" {
				t.Error("the target was emptied")
			}
		}
		flip()
	}
	v.drill(0)
}

func TestAMissingServerProgramIsSaid(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.s.Do("SET", "a", "b")
	v.backup()
	for _, program := range []string{"/nonexistent/redis-server", "/bin/true"} {
		r := v.want(1, "drill", "--redis-server", program)
		if !strings.Contains(r.err, "no redis-server found") || !strings.Contains(r.err, "--redis-server PATH") {
			t.Errorf("%s: it says %s", program, r.err)
		}
	}
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rqd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Ctrl-C, or a kill, in the middle of a drill: nothing stays.
func TestADrillThatIsStoppedLeavesNoServer(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.s.Do("DEBUG", "POPULATE", "200000", "k", "500")
	v.backup()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		temp := shortDir(t)
		cmd := process(t, v.args([]string{"drill", "--temp-dir", temp}))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		socket := ""
		err := redistest.Poll(30*time.Second, func() error {
			found, _ := filepath.Glob(filepath.Join(temp, "*", "s"))
			if len(found) == 0 {
				return fmt.Errorf("no server yet")
			}
			socket = found[0]
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Dir(socket))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the server's directory: %v, %v", info, err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // its exit code is looked at
		if code := cmd.ProcessState.ExitCode(); code != 130 && sig != syscall.SIGKILL {
			t.Errorf("after %v: exit %d, want 130", sig, code)
		}
		err = redistest.Poll(20*time.Second, func() error {
			out, _ := exec.CommandContext(context.Background(), "pgrep", "-f", temp).Output()
			if len(out) > 0 {
				return fmt.Errorf("process %s lives on", out)
			}
			return nil
		})
		if err != nil {
			t.Errorf("after %v: %v", sig, err)
		}
		if sig != syscall.SIGKILL {
			wantEmpty(t, temp)
		}
		if len(v.stamps()) > 0 {
			t.Errorf("after %v stored: %q", sig, v.stamps())
		}
	}
}
