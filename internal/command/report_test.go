package command_test

import (
	"html"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rqvault/internal/browsertest"
	"rqvault/internal/redistest"
)

// page reads a report, which only its owner may read and which must hold no payload.
func (v *vault) page(path string) string {
	v.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		v.t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		v.t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
	}
	for _, secret := range []string{marker, "hunter2", "tasks.note("} {
		if strings.Contains(string(b), secret) {
			v.t.Errorf("%s holds %q", path, secret)
		}
	}
	return string(b)
}

// headline is what a report says first.
func headline(page string) string {
	_, rest, _ := strings.Cut(page, "<h1>")
	h1, _, _ := strings.Cut(rest, "</h1>")
	return regexp.MustCompile(`<[^>]*>`).ReplaceAllString(h1, "")
}

var codeOf = regexp.MustCompile(`<code class="command">([^<]*)</code>`)

// commands are those that a report offers, the one that made it last.
func commands(page string) []string {
	var all []string
	for _, m := range codeOf.FindAllStringSubmatch(page, -1) {
		all = append(all, html.UnescapeString(m[1]))
	}
	return all
}

func TestAReportTellsOfAnOutageAndOfItsEnd(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	fill(t, v, 0)
	v.backup()
	v.s.Restart(true)
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before.html"), filepath.Join(dir, "after.html")

	r := v.want(3, "diff", "--via", "sync", "--report", before)
	if want := "the report is in " + before + "\n"; !strings.HasSuffix(r.out, want) {
		t.Errorf("diff ends with %q, want %q", r.out[max(0, len(r.out)-200):], want)
	}
	page := v.page(before)
	if h := headline(page); !regexp.MustCompile(`^Redis came back empty at \d\d:\d\d:\d\d UTC\. \d+ of \d+ jobs are lost; \d+ can be put back, 3 wait for your decision\. Nothing has been changed yet\.$`).MatchString(h) {
		t.Errorf("the report of the diff begins with %q", h)
	}
	if c := commands(page); !strings.HasPrefix(c[len(c)-1], "rqvault diff --via sync --report "+before) {
		t.Errorf("made by %q", c[len(c)-1])
	}
	var d restoreDoc
	v.want(0, "restore", "--json", "--report", filepath.Join(dir, "dry.html")).into(t, &d)
	if h := headline(v.page(filepath.Join(dir, "dry.html"))); !strings.HasSuffix(h, "Nothing has been changed yet.") {
		t.Errorf("the report of a dry run begins with %q", h)
	}
	v.restore(0, "--report", after)
	page = v.page(after)
	if h := headline(page); !regexp.MustCompile(`^Redis came back empty .* jobs were lost; \d+ are back, 3 wait for your decision\.$`).MatchString(h) {
		t.Errorf("the report of the restore begins with %q", h)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}

	p := browsertest.Open(t, after, true)
	p.Width(390)
	if n := browsertest.Value[int](p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); n > 0 {
		t.Errorf("%d pixels do not fit a phone", n)
	}
	p.Type("#search", "fin-ever restored finished")
	p.Wait(`document.querySelectorAll("#table tbody tr").length === 1`)
	if got := browsertest.Value[string](p, `document.querySelector("#table tbody tr").textContent`); !strings.Contains(got, "restored") || !strings.Contains(got, "snapshot: finished") {
		t.Errorf("its row says %q", got)
	}
}

func TestTheCommandsOfAReportDecide(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
from time import time
for i in range(8): queue('many jobs').enqueue('tasks.note', 'payload-marker-31337', job_id='m%d' % i)
queue('few').enqueue('tasks.note', job_id="it's; one")
queue('few').enqueue('tasks.note', job_id='broken')
c.hset('rq:job:broken', 'created_at', 'never')
for n, limit in (('dead', 1), ('forever', -1)):
    queue('run').enqueue('tasks.note', job_id=n, job_timeout=limit)
    c.lrem('rq:queue:run', 0, n)
    old = (datetime.utcnow() - timedelta(hours=1)).strftime('%Y-%m-%dT%H:%M:%S.%fZ')
    c.hset('rq:job:' + n, mapping={'status': 'started', 'worker_name': 'w', 'started_at': old})
    c.zadd('rq:wip:run', {n: time() - 3000})
`)
	v.backup()
	v.s.Do("FLUSHALL")
	name := filepath.Join(t.TempDir(), "held.html")
	v.want(3, "diff", "--policy", "at-most-once", "--report", name)
	page := v.page(name)
	var tried []string
	for _, line := range commands(page) {
		if !strings.HasPrefix(line, "rqvault restore") || strings.HasSuffix(line, "--apply") {
			continue
		}
		tried = append(tried, line)
		v.typed(0, line+" --apply")
	}
	if len(tried) != 2 {
		t.Errorf("the report offers %q, want one command for each queue that waited", tried)
	}
	v.wantList("many jobs", "m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7")
	v.wantList("few", "it's; one")
	for _, want := range []string{"8</span> jobs of queue many jobs may have run between the snapshot and the loss", "1</span> job of queue run may still be running",
		"1</span> job of queue run cannot be put right by rqvault alone", "1</span> job of queue few cannot be put right by rqvault alone"} {
		if !strings.Contains(html.UnescapeString(page), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

// typed runs a command line as a shell would.
func (v *vault) typed(code int, line string) {
	v.t.Helper()
	words, word, quoted, begun := []string{}, "", false, false
	for i := 0; i < len(line); i++ {
		switch b := line[i]; {
		case quoted && b != '\'':
			word += string(b)
		case b == '\'':
			quoted, begun = !quoted, true
		case b == '\\':
			i++
			word, begun = word+string(line[i]), true
		case b == ' ':
			if begun {
				words = append(words, word)
			}
			word, begun = "", false
		default:
			word, begun = word+string(b), true
		}
	}
	v.want(code, append(words, word)[1:]...)
}

func TestAReportOfAPlanAndOfKeys(t *testing.T) {
	t.Parallel()
	v := newVault(t, redistest.WithTCP(), redistest.WithPassword("hunter2"))
	v.rq(`
for i in range(3): queue('q').enqueue('tasks.note', job_id='j%d' % i)
for i in range(2): c.set('session:%d' % i, 'payload-marker-31337')
`)
	v.backup()
	v.s.Do("FLUSHALL")
	dir := t.TempDir()
	plan, name := filepath.Join(dir, "plan.json"), filepath.Join(dir, "r.html")
	v.want(3, "diff", "--out", plan, "--report", name, "--redis-password", "hunter2")
	if c := commands(v.page(name)); !strings.Contains(c[len(c)-1], "--redis-password '…'") || !strings.Contains(c[len(c)-1], ":…@") {
		t.Errorf("made by %q, want the passwords blanked", c[len(c)-1])
	}
	v.want(3, "diff", "--out", plan, "--report", name, "--redis-password=hunter2", "--redis="+v.redis)
	if c := commands(v.page(name)); !strings.HasPrefix(c[0], "rqvault restore --plan "+plan+" --apply") {
		t.Errorf("next: %q, want the plan carried out", c[0])
	}
	v.restore(0, "--plan", plan, "--report", name)
	if h := headline(v.page(name)); !strings.HasSuffix(h, "3 of 3 jobs were lost; all 3 are back.") {
		t.Errorf("the report of a plan begins with %q", h)
	}
	v.restore(0, "--keys", "session:*", "--report", name)
	if h := headline(v.page(name)); !strings.HasSuffix(h, "2 of 2 keys were lost; all 2 are back.") {
		t.Errorf("the report of keys begins with %q", h)
	}
}

func TestARestoreThatRedisRefusesIsReported(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for i in range(3): queue('q').enqueue('tasks.note', 'payload-marker-31337', job_id='j%d' % i)
`)
	v.backup()
	v.s.Do("FLUSHALL")
	v.s.Do("CONFIG", "SET", "maxmemory", "1")
	name := filepath.Join(t.TempDir(), "r.html")
	if r := v.run("restore", "--apply", "--report", name); r.code == 0 || !strings.Contains(r.err, "maxmemory") {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	page := html.UnescapeString(v.page(name))
	if h := headline(page); !strings.Contains(h, "none is back, 3 were not reached") {
		t.Errorf("the report begins with %q", h)
	}
	if !strings.Contains(page, "it did not come to its end") || !strings.Contains(page, "Redis is at maxmemory") {
		t.Error("the report does not say why, or not what to do")
	}
}

func TestAReportAgainstTheWrongSnapshotSaysSo(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`queue('q').enqueue('tasks.note', job_id='lost')`)
	v.backup()
	v.s.Restart(true)
	v.rq(`queue('q').enqueue('tasks.note', job_id='new')`)
	v.backup()
	name := filepath.Join(t.TempDir(), "r.html")
	v.want(3, "diff", "--report", name)
	page := v.page(name)
	if !strings.Contains(page, "<strong>But:</strong> Redis had lost data") {
		t.Error("the report does not say that it is about the wrong snapshot")
	}
	v.typed(3, commands(page)[0]) // the snapshot from before
}

func TestAReportOffersTheRepair(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for n in 'ab': queue('q').enqueue('tasks.note', job_id=n)
`)
	v.backup()
	v.s.Do("RPUSH", "rq:queue:q", "a")
	name := filepath.Join(t.TempDir(), "r.html")
	v.want(3, "diff", "--queue", "q", "--report", name)
	line := commands(v.page(name))[0]
	if !strings.HasPrefix(line, "rqvault restore --repair --redis ") {
		t.Fatalf("offered: %q", line)
	}
	v.typed(0, line+" --apply")
	v.wantList("q", "a", "b")
}

// Every password on the command line is blanked, the target's too.
func TestAReportOfADrillHoldsNoPassword(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`queue('q').enqueue('tasks.note', job_id='a')`)
	v.backup()
	to := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("hunter2"))
	target, err := url.Parse(to.URL())
	if err != nil {
		t.Fatal(err)
	}
	target.User = nil
	name := filepath.Join(t.TempDir(), "r.html")
	v.want(0, "drill", "--into", target.String(), "--into-password", "hunter2", "--report", name)
	v.page(name)
	v.want(0, "drill", "--into", target.String(), "--into-password=hunter2", "--replace-all", "--report", name)
	if c := commands(v.page(name)); !strings.Contains(c[len(c)-1], "--into-password=…") {
		t.Errorf("made by %q, want the password blanked", c[len(c)-1])
	}
}
