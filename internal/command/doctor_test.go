package command_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/doctor"
	"rqvault/internal/redistest"
)

type doctorDoc struct {
	At, Redis, Headline string
	OK                  bool
	Steps               []struct{ Do, Command string }
	Checks              []struct {
		Name, Level, What, Next string
		Values                  map[string]any
	}
}

// findings are the checks that warn or fail, as "name level", sorted.
func (d doctorDoc) findings() []string {
	all := []string{}
	for _, c := range d.Checks {
		if c.Level == "warn" || c.Level == "fail" {
			all = append(all, c.Name+" "+c.Level)
		}
	}
	slices.Sort(all)
	return all
}

// what is the sentence of one check.
func (d doctorDoc) what(name string) string {
	for _, c := range d.Checks {
		if c.Name == name {
			return c.What
		}
	}
	return ""
}

// examine runs doctor --json against a URL and fails the test if a payload or a password
// shows.
func examine(t testing.TB, url string, args ...string) (doctorDoc, int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := process(t, append([]string{"rqvault", "doctor", "--json", "--redis", url}, args...))
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its exit code is the result
	r := result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	for _, secret := range []string{marker, "hunter2"} {
		if strings.Contains(r.out+r.err, secret) {
			t.Errorf("doctor prints a secret:\n%s%s", r.out, r.err)
		}
	}
	var d doctorDoc
	r.into(t, &d)
	return d, r.code
}

// wantFindings fails the test unless exactly these checks warn or fail.
func wantFindings(t testing.TB, d doctorDoc, code int, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := d.findings(); !slices.Equal(got, want) {
		for _, c := range d.Checks {
			t.Logf("%s %s: %s", c.Level, c.Name, c.What)
		}
		t.Errorf("found %q, want %q", got, want)
	}
	if wantCode := min(len(want), 1) * 3; code != wantCode || d.OK != (len(want) == 0) {
		t.Errorf("exit %d, ok %v with %d findings", code, d.OK, len(want))
	}
	for _, c := range d.Checks {
		if (c.Level == "warn" || c.Level == "fail") && (c.Next == "" || strings.Contains(c.Next, "$")) {
			t.Errorf("%s: the next command is %q", c.Name, c.Next)
		}
	}
}

// saves are the settings of a server that keeps its data by itself.
func saves() redistest.Option { return redistest.WithArgs("--save", "3600 1") }

// patient is a server that RQ used once and that nothing is wrong with, but for what the
// options say.
func patient(t testing.TB, opts ...redistest.Option) *redistest.Server {
	t.Helper()
	s := redistest.Start(t, append([]redistest.Option{saves()}, opts...)...)
	s.Do("SADD", "rq:queues", "rq:queue:q")
	return s
}

// rqPatient is a vault whose server keeps its data, for what real RQ brings about.
func rqPatient(t testing.TB, opts ...redistest.Option) *vault {
	t.Helper()
	return newVault(t, append([]redistest.Option{saves()}, opts...)...)
}

// serve runs a real worker of these queues, with a scheduler, until the test ends.
func (v *vault) serve(names string) {
	v.t.Helper()
	done := v.beside(fmt.Sprintf(`
import threading, signal
from rq import Worker
def wait():
    redis.from_url(os.environ['REDIS_URL']).blpop('stop')
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=wait, daemon=True).start()
Worker([queue(n) for n in '%s'.split()], connection=c).work(with_scheduler=True, logging_level='CRITICAL')
`, names))
	v.t.Cleanup(func() { v.s.Do("RPUSH", "stop", "1"); <-done })
	until(v.t, "the worker", func() bool { return v.s.Do("SCARD", "rq:workers").(int64) > 0 })
}

func TestAHealthyRedisGivesACleanSheet(t *testing.T) {
	t.Parallel()
	v := rqPatient(t, redistest.WithTCP())
	v.serve("q slow")
	v.rq(`
for i in range(5): queue('q').enqueue('tasks.note', '` + marker + `', job_id='j%d' % i)
queue('slow').enqueue_in(timedelta(hours=1), 'tasks.note', job_id='later')
`)
	until(t, "the jobs to end", func() bool { return v.s.Do("ZCARD", "rq:finished:q").(int64) == 5 })
	v.backup()
	v.want(0, "verify")
	digest := v.s.Digest(t.Context())
	d, code := examine(t, v.redis, "--store", v.store)
	wantFindings(t, d, code)
	if v.s.Digest(t.Context()) != digest {
		t.Error("doctor changed something")
	}
	seen := map[string]bool{}
	for _, c := range d.Checks {
		seen[c.Name] = true
		if c.Level != "ok" {
			t.Errorf("%s is %s: %s", c.Name, c.Level, c.What)
		}
	}
	for _, def := range doctor.Definitions {
		if !seen[def.Name] && def.Name != "tls" && def.Name != "cluster" {
			t.Errorf("%s was not looked at; there are %q", def.Name, slices.Sorted(maps.Keys(seen)))
		}
	}
	r := v.want(0, "doctor", "--redis", v.redis)
	if first, _, _ := strings.Cut(r.out, "\n"); !strings.HasPrefix(first, "all is well: ") {
		t.Errorf("the first line is %q", first)
	}
}

func TestWhenRedisIsDownTheFirstLineSaysSo(t *testing.T) {
	t.Parallel()
	r := newVault(t).want(3, "doctor", "--redis", "redis://:hunter2@127.0.0.1:1/0")
	lines := strings.Split(r.out, "\n")
	if want := "Redis is down: nothing listens at 127.0.0.1:1"; lines[0] != want {
		t.Errorf("the first line is %q, want %q", lines[0], want)
	}
	steps := []string{"systemctl status redis-server", "journalctl", "df -h", "cp -a", "systemctl start", "rqvault doctor --redis", "rqvault diff --redis", "rqvault restore --apply --redis"}
	at := 0
	for _, step := range steps {
		i := strings.Index(r.out[at:], step)
		if i < 0 {
			t.Fatalf("%q does not come next in\n%s", step, r.out)
		}
		at += i
	}
	if strings.Contains(r.out, "hunter2") {
		t.Errorf("a password:\n%s", r.out)
	}
}

func TestDoctorWatches(t *testing.T) {
	t.Parallel()
	s := patient(t)
	cmd := process(t, []string{"rqvault", "doctor", "--redis", s.URL(), "--watch", "--every", "100ms"})
	path := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	says := func(what string) func() bool {
		return func() bool { b, _ := os.ReadFile(path); return strings.Contains(string(b), what) }
	}
	until(t, "the first look", says("all is well"))
	s.Do("SET", "rq:suspended", 1)
	until(t, "the change", says("WARN     suspended"))
	s.Do("DEL", "rq:suspended")
	until(t, "the change back", says("OK       suspended"))
	s.Do("SET", "rq:suspended", 1)
	until(t, "the next change", func() bool { b, _ := os.ReadFile(path); return strings.Count(string(b), "WARN     suspended") == 2 })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit %d, want 3", code)
	}
	if b, _ := os.ReadFile(path); strings.Count(string(b), "all is well") != 2 || bytes.Contains(b, []byte("\x1b")) {
		t.Errorf("more than the changes:\n%s", b)
	}
}

func TestDoctorRefusesWhatMeansNothing(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.want(2, "doctor", "latest")
	v.want(2, "doctor", "--json", "--watch")
	v.want(2, "doctor", "--watch", "--every", "0s")
	v.want(2, "doctor", "--redis", "http://x")
}

// TestTheRightsThatDoctorAsksForAreTheDocumentedOnes holds doctor's list against docs/cli.md.
func TestTheRightsThatDoctorAsksForAreTheDocumentedOnes(t *testing.T) {
	for _, p := range doctor.Purposes {
		var words []string
		for word := range strings.FieldsSeq(documented(t, p.Name)) {
			if name, is := strings.CutPrefix(word, "+"); is && name != "get" && name != "set" { // those of --suspend
				words = append(words, name)
			}
		}
		if !slices.Equal(words, p.Commands) {
			t.Errorf("%s: docs/cli.md lists %q, doctor asks for %q", p.Name, words, p.Commands)
		}
	}
}

// TestTheDocumentedRightsAreEnoughForTheDoctor looks as a user with exactly the rights
// that docs/cli.md lists: no check may be refused its facts.
func TestTheDocumentedRightsAreEnoughForTheDoctor(t *testing.T) {
	t.Parallel()
	rights := documented(t, "backup --via scan") + " " + documented(t, "diff") + " " + documented(t, "doctor")
	v := rqPatient(t, redistest.WithTCP(), redistest.WithUser("bob on >hunter2 resetchannels "+rights))
	v.rq("queue('q').enqueue('tasks.note')")
	d, code := examine(t, "redis://bob:hunter2@"+v.s.Addr())
	wantFindings(t, d, code, noWorker("rights warn")...)
	for _, c := range d.Checks {
		if c.Level == "unknown" {
			t.Errorf("%s cannot tell: %s", c.Name, c.What)
		}
	}
}
