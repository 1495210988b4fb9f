package command_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// running is rqvault in a process of its own, and what it has written so far.
type running struct {
	cmd   *exec.Cmd
	mu    sync.Mutex
	out   bytes.Buffer
	ended chan struct{}
}

// start starts rqvault. It is killed when the test ends, if it lives by then.
func start(t testing.TB, args ...string) *running {
	t.Helper()
	r := &running{cmd: process(t, args), ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = r, r
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
		if t.Failed() {
			t.Logf("%v, pid %d:\n%s", args, r.cmd.Process.Pid, r.text())
		}
	})
	return r
}

func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(b)
}

func (r *running) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

func (r *running) signal(s syscall.Signal) { _ = r.cmd.Process.Signal(s) }

// wait returns the exit code.
func (r *running) wait() int {
	<-r.ended
	return r.cmd.ProcessState.ExitCode()
}

// station is a source with its store and its configuration, and daemons that serve it.
type station struct {
	t    testing.TB
	v    *vault
	file string
}

// newStation writes a configuration with those lines below schedule:, and others at its end.
func newStation(t testing.TB, schedule, rest string) *station {
	t.Helper()
	v := newVault(t)
	st := &station{t: t, v: v, file: filepath.Join(t.TempDir(), "rqvault.yml")}
	st.write(schedule, rest)
	return st
}

func (st *station) write(schedule, rest string) {
	st.t.Helper()
	text := fmt.Sprintf("stores: {main: {url: %s}}\nsources:\n  default:\n    redis: %s\n    via: sync\n    schedule: {%s}\n%s", st.v.store, st.v.redis, schedule, rest)
	if err := os.WriteFile(st.file, []byte(text), 0o600); err != nil {
		st.t.Fatal(err)
	}
}

// quiet is a schedule of which nothing but the tasks named is left.
const quiet = "verify: '', diff: '', fsck: '', "

// unlit says that no metrics are served, and that leaders are replaced soon.
const unlit = "daemon: {listen: '', lease_ttl: 5s, grace: 5s}\n"

// daemon starts rqvault schedule in a process of its own.
func (st *station) daemon() *running {
	st.t.Helper()
	return start(st.t, "rqvault", "schedule", "--config", st.file)
}

// slots lists the slots of which there are snapshots, in order of the snapshots.
func (st *station) slots() []string {
	st.t.Helper()
	var slots []string
	for _, dir := range entries(filepath.Join(st.v.store, "default", "snapshots")) {
		b, err := os.ReadFile(filepath.Join(st.v.store, "default", "snapshots", dir, "manifest.json"))
		if err != nil {
			continue // it is being written
		}
		var m struct{ Slot string }
		if err := json.Unmarshal(b, &m); err != nil {
			st.t.Fatal(err)
		}
		slots = append(slots, m.Slot)
	}
	return slots
}

func entries(dir string) []string {
	list, _ := os.ReadDir(dir)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// await fails the test unless the condition comes true within a minute and a half.
func await(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(90 * time.Second); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// One leader at a time does each slot once, and whoever takes over makes up for what was
// missed: after kill -9, while the leader stands still, and after an orderly end.
func TestDaemonsTakeOver(t *testing.T) {
	t.Parallel()
	st := newStation(t, quiet+"backup: '@every 2s'", unlit)
	st.v.rq(`queue('q').enqueue('tasks.note', 1, job_id='a')`)
	first, second := st.daemon(), st.daemon()
	leads := func(p *running) bool {
		return strings.Count(p.text(), "this process leads") > strings.Count(p.text(), "leads no more")+strings.Count(p.text(), "lease is given back")
	}
	taken := func(n int) {
		had := len(st.slots())
		await(t, "more snapshots", func() bool { return len(st.slots()) >= had+n })
	}
	await(t, "a leader", func() bool { return leads(first) != leads(second) })
	leader, other := first, second
	if leads(second) {
		leader, other = second, first
	}
	taken(2)
	leader.signal(syscall.SIGSTOP)
	await(t, "the other to lead", func() bool { return leads(other) })
	taken(2)
	leader.signal(syscall.SIGCONT)
	taken(2)
	leader, other = other, leader
	leader.signal(syscall.SIGKILL)
	_ = leader.wait()
	await(t, "the other to lead", func() bool { return leads(other) })
	taken(2)
	third := st.daemon()
	other.signal(syscall.SIGTERM)
	if code := other.wait(); code != 0 {
		t.Errorf("a daemon that is told to stop ends with %d:\n%s", code, other.text())
	}
	await(t, "the third to lead", func() bool { return leads(third) })
	taken(2)
	third.signal(syscall.SIGTERM)
	if code := third.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	slots := st.slots()
	if unique := slices.Compact(slices.Sorted(slices.Values(slots))); len(unique) != len(slots) || !slices.IsSorted(slots) {
		t.Errorf("slots were done twice or out of order: %v", slots)
	}
	// What lies between two is either nothing, or was noted as missed by who came next.
	missed := map[string]int{}
	for _, name := range entries(filepath.Join(st.v.store, "default", "runs", "backup")) {
		var r struct {
			Slot   string
			Missed int
			OK     bool
		}
		b, err := os.ReadFile(filepath.Join(st.v.store, "default", "runs", "backup", name))
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil || !r.OK {
			t.Fatalf("run %s: %v %+v", name, err, r)
		}
		missed[r.Slot] = r.Missed
	}
	for i, s := range slots[1:] {
		at, _ := time.Parse(time.RFC3339, s)
		before, _ := time.Parse(time.RFC3339, slots[i])
		if n, ok := missed[s]; ok && at.Sub(before) != time.Duration(n+1)*2*time.Second {
			t.Errorf("%s follows %s, and %d were missed", s, slots[i], n)
		}
	}
}

// After a restart a missed run is made up for once, and none is repeated.
func TestADaemonGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	st := newStation(t, quiet+"backup: '@hourly'", unlit)
	for range 3 {
		d := st.daemon()
		await(t, "the daemon to know what to do next", func() bool {
			return strings.Contains(d.text(), "this process leads") && len(st.slots()) > 0 && len(entries(filepath.Join(st.v.store, "default", "runs", "backup"))) > 0
		})
		d.signal(syscall.SIGTERM)
		if code := d.wait(); code != 0 {
			t.Fatalf("exit %d: %s", code, d.text())
		}
	}
	if n := len(st.slots()); n > 2 { // two, if an hour began meanwhile
		t.Errorf("%d snapshots in an hour: %v", n, st.slots())
	}
}

// hooks notes what is posted to it.
type hooks struct {
	mu     sync.Mutex
	bodies []string
}

func (h *hooks) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies = append(h.bodies, r.URL.Path+" "+string(b))
}

func (h *hooks) has(parts ...string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.bodies, func(b string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(b, p) })
	})
}

// Redis is emptied at night. The daemon notices, tells, keeps the good snapshot, and lays the
// comparison and the plan beside it, with which a person brings everything back.
func TestAWipeAtNight(t *testing.T) {
	t.Parallel()
	h := &hooks{}
	server := httptest.NewServer(h)
	defer server.Close()
	st := newStation(t, "backup: '@every 2s', verify: '@every 2s', diff: '@every 2s', fsck: '', prune: '@every 2s'",
		"    keep: {last: 2}\n"+unlit+"alarms: {heartbeat_url: '"+server.URL+"/alive', webhooks: {night: {url: '"+server.URL+"/hook-of-night'}}}\n")
	st.v.rq(`for i in range(150): queue('q').enqueue('tasks.note', 'PAYLOAD', i, job_id='o%03d' % i)`)
	d := st.daemon()
	await(t, "snapshots that are proven", func() bool {
		return len(st.slots()) >= 3 && strings.Contains(d.text(), "task=prune") && h.has("/alive")
	})
	st.v.s.Do("FLUSHALL")
	await(t, "the alarm", func() bool {
		return h.has("/hook-of-night", "wipe-detected", "critical") && h.has("/hook-of-night", "jobs-lost")
	})
	await(t, "the plan", func() bool {
		return len(glob(t, filepath.Join(st.v.store, "default", "incidents", "*", "plan.json"))) == 1
	})
	stored := glob(t, filepath.Join(st.v.store, "default", "incidents", "*", "plan.json"))[0]
	plan := filepath.Join(t.TempDir(), "plan.json")
	fetched := st.v.run("show", filepath.Base(filepath.Dir(stored)), "--beside", "plan.json")
	if fetched.code != 0 || os.WriteFile(plan, []byte(fetched.out), 0o600) != nil {
		t.Fatalf("show --beside: exit %d: %s", fetched.code, fetched.err)
	}
	had := len(st.slots())
	await(t, "the next snapshots", func() bool { return len(st.slots()) >= had+3 }) // more than the policy keeps
	if r := st.v.run("restore", "--plan", plan, "--apply", "--json"); r.code != 0 {
		t.Fatalf("restore by the plan: exit %d: %s%s", r.code, r.out, r.err)
	}
	if n := st.v.s.Do("LLEN", "rq:queue:q"); n != int64(150) {
		t.Errorf("%v of 150 ids are back", n)
	}
	d.signal(syscall.SIGTERM)
	_ = d.wait()
	if strings.Contains(d.text(), "PAYLOAD") || strings.Contains(d.text(), "hook-of-night") || h.has("PAYLOAD") {
		t.Errorf("a secret or a payload shows:\n%s", d.text())
	}
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// SIGHUP brings a changed configuration into force, and a wrong one changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	st := newStation(t, quiet+"backup: '@hourly'", unlit)
	d := st.daemon()
	await(t, "the first snapshot", func() bool { return len(st.slots()) == 1 })
	st.write("backup: 'now and then'", "")
	d.signal(syscall.SIGHUP)
	await(t, "the complaint", func() bool { return strings.Contains(d.text(), "is no cron expression") })
	st.write(quiet+"backup: '@every 1s'", unlit)
	d.signal(syscall.SIGHUP)
	await(t, "many snapshots", func() bool { return len(st.slots()) >= 4 })
	text, err := os.ReadFile(st.file)
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(string(text), "sources:\n", "sources:\n  another: {redis: '"+st.v.redis+"', via: sync, schedule: {"+quiet+"backup: '@every 1s'}}\n", 1)
	if err := os.WriteFile(st.file, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGHUP)
	await(t, "snapshots of a source that is new", func() bool { return len(entries(filepath.Join(st.v.store, "another", "snapshots"))) >= 2 })
	if strings.Contains(d.text(), "cannot be read") {
		t.Errorf("the new source had no keys:\n%s", d.text())
	}
	d.signal(syscall.SIGTERM)
	if code := d.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

var sample = regexp.MustCompile(`(?m)^(rqvault_[a-z_]+)(?:\{[^}]*\})? (\S+)$`)

// What the daemon measures can be read, and it says when it is not well.
func TestMetricsOfADaemon(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	st := newStation(t, "backup: '@every 1s', verify: '@every 1s', diff: '@every 1s', fsck: '@every 1s', drill: '@every 1s', prune: '@every 1s'", "daemon: {listen: '"+address+"', lease_ttl: 5s}\n")
	st.v.rq(`
for i in range(5): queue('q').enqueue('tasks.note', i, job_id='o%d' % i)
`)
	d := st.daemon()
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	var page string
	await(t, "all that is measured", func() bool {
		_, page = get("/metrics")
		return !slices.ContainsFunc([]string{
			`rqvault_snapshot_jobs{queue="q",source="default",status="queued"} 5`, `rqvault_last_run_ok{source="default",task="drill"} 1`,
			`rqvault_diff_jobs{source="default",verdict="intact"} 5`, `rqvault_lease_leader{lease="main"} 1`, `rqvault_redis_up{source="default"} 1`,
			`rqvault_last_run_phase_duration_seconds{phase="read",source="default",task="backup"}`, `rqvault_last_run_phase_duration_seconds{phase="load",source="default",task="drill"}`,
			`rqvault_last_run_ok{source="default",task="fsck"} 1`, `rqvault_last_run_ok{source="default",task="prune"} 1`,
		}, func(want string) bool { return !strings.Contains(page, want) })
	})
	if n := len(sample.FindAllString(page, -1)); n < 50 {
		t.Errorf("%d samples:\n%s", n, page)
	}
	if code, text := get("/readyz"); code != 200 {
		t.Errorf("readyz: %d %s", code, text)
	}
	st.v.s.Kill()
	await(t, "the daemon to be unready", func() bool { code, _ := get("/readyz"); return code == 503 })
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("healthz: %d: the daemon itself is well", code)
	}
	d.signal(syscall.SIGTERM)
	_ = d.wait()
}
