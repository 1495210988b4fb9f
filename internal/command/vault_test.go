package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/redistest"
)

// marker stands in every argument, result, exception and meta value of the tests' jobs.
// It must never leave the snapshot.
const marker = "payload-marker-31337"

// vault is one Redis with one store. rqvault is called as a process: its command line
// library has a global variable, so that two at once in one process would race.
type vault struct {
	t     testing.TB
	s     *redistest.Server
	redis string
	store string
	env   []string // variables for rqvault
}

// newVault starts a server that gives a replica its dump at once.
func newVault(t testing.TB, opts ...redistest.Option) *vault {
	t.Helper()
	opts = append([]redistest.Option{redistest.WithArgs("--repl-diskless-sync-delay", "0")}, opts...)
	s := redistest.Start(t, opts...)
	tasks, err := os.ReadFile(filepath.Join("testdata", "tasks.py"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(s.Socket()), "tasks.py"), tasks, 0o600); err != nil {
		t.Fatal(err)
	}
	return &vault{t: t, s: s, redis: s.URL(), store: filepath.Join(t.TempDir(), "store")}
}

// result is what one command line came to.
type result struct {
	code     int
	out, err string
}

// args completes a command line with where Redis and the store are.
func (v *vault) args(args []string) []string {
	full := append([]string{"rqvault"}, args...)
	if !slices.Contains(args, "--store") && !slices.Contains([]string{"key identity", "key signer"}, strings.Join(args[:min(2, len(args))], " ")) {
		full = append(full, "--store", v.store)
	}
	if slices.Contains([]string{"backup", "diff", "restore"}, args[0]) && !slices.Contains(args, "--redis") {
		full = append(full, "--redis", v.redis)
	}
	return full
}

// run calls rqvault and fails the test if a payload shows in what it prints.
func (v *vault) run(args ...string) result {
	v.t.Helper()
	var out, err bytes.Buffer
	cmd := process(v.t, v.args(args), v.env...)
	cmd.Stdout, cmd.Stderr = &out, &err
	_ = cmd.Run() // its exit code is the result
	r := result{cmd.ProcessState.ExitCode(), out.String(), err.String()}
	if strings.Contains(r.out+r.err, marker) {
		v.t.Errorf("rqvault %s prints a payload:\n%s%s", strings.Join(args, " "), r.out, r.err)
	}
	return r
}

// want calls rqvault and fails the test unless it exits with that code.
func (v *vault) want(code int, args ...string) result {
	v.t.Helper()
	r := v.run(args...)
	if r.code != code {
		v.t.Fatalf("rqvault %s: exit %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// into decodes the one JSON document that a command printed.
func (r result) into(t testing.TB, doc any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(r.out))
	if err := d.Decode(doc); err != nil {
		t.Fatalf("not JSON: %v\n%s%s", err, r.out, r.err)
	}
	if d.More() {
		t.Fatalf("more than one JSON document:\n%s", r.out)
	}
}

type finding struct {
	DB                                            int
	JobID                                         string `json:"job_id"`
	Queue, Status, Verdict, Action, Reason, Guard string
}

type diffDoc struct {
	Snapshot, Mode string
	Counts         map[string]int
	Deleted        int
	Findings       []finding
}

type outcome struct {
	DB                            int
	JobID                         string `json:"job_id"`
	Key                           string
	Queue, Action, Result, Reason string
}

type restoreDoc struct {
	Snapshot string
	Applied  bool
	Mode     string
	Counts   map[string]int
	Outcomes []outcome
}

// diff compares by one instant of the live data and returns the document.
func (v *vault) diff(code int, args ...string) diffDoc {
	v.t.Helper()
	var d diffDoc
	v.want(code, append([]string{"diff", "--json", "--via", "sync"}, args...)...).into(v.t, &d)
	v.alike(d, args)
	return d
}

// look is diff for those who do not know what it will find.
func (v *vault) look(args ...string) diffDoc {
	v.t.Helper()
	var d diffDoc
	r := v.run(append([]string{"diff", "--json", "--via", "sync"}, args...)...)
	if r.code != 0 && r.code != 3 {
		v.t.Fatalf("rqvault diff: exit %d\n%s", r.code, r.err)
	}
	r.into(v.t, &d)
	return d
}

// restore applies and returns the document.
func (v *vault) restore(code int, args ...string) restoreDoc {
	v.t.Helper()
	var d restoreDoc
	v.want(code, append([]string{"restore", "--json", "--apply", "--via", "sync"}, args...)...).into(v.t, &d)
	return d
}

// backup takes a snapshot the fastest way.
func (v *vault) backup() { v.t.Helper(); v.want(0, "backup", "--via", "sync") }

// verdict returns what a diff says of one job.
func (d diffDoc) verdict(t testing.TB, id string) finding {
	t.Helper()
	for _, f := range d.Findings {
		if f.JobID == id {
			return f
		}
	}
	return finding{JobID: id, Verdict: "intact", Action: "none"}
}

// results counts outcomes and lists the ids with one result, sorted.
func (d restoreDoc) with(result string) []string {
	ids := []string{}
	for _, o := range d.Outcomes {
		if o.Result == result {
			ids = append(ids, o.JobID+o.Key)
		}
	}
	slices.Sort(ids)
	return ids
}

// rq runs a Python script with the connection c, a function queue and the tests' tasks.
func (v *vault) rq(script string) string {
	v.t.Helper()
	return redistest.RQ(v.t, v.s, `
import os, redis, json
from datetime import datetime, timedelta
from rq import Queue, Retry, SimpleWorker
from rq.job import Dependency, Job
c = redis.from_url(os.environ['REDIS_URL'])
def queue(name): return Queue(name, connection=c)
def work(*names): SimpleWorker([queue(n) for n in names], connection=c).work(burst=True, logging_level='CRITICAL')
`+script)
}

// ran returns what the jobs' file says, in order, as "db queue id", and empties it.
func (v *vault) ran() []string {
	v.t.Helper()
	path := filepath.Join(filepath.Dir(v.s.Socket()), "ran")
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		v.t.Fatal(err)
	}
	_ = os.Remove(path)
	var lines []string
	for line := range strings.Lines(string(b)) {
		var l []any
		if err := json.Unmarshal([]byte(line), &l); err != nil || len(l) != 3 {
			v.t.Fatalf("line %q of the jobs' file: %v", line, err)
		}
		lines = append(lines, strings.Join([]string{jsonText(l[0]), jsonText(l[1]), jsonText(l[2])}, " "))
	}
	return lines
}

func jsonText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// list returns a queue's ids in database 0, head first.
func (v *vault) list(queue string) []string {
	v.t.Helper()
	ids, err := v.s.Client().LRange(context.Background(), "rq:queue:"+queue, 0, -1).Result()
	if err != nil {
		v.t.Fatal(err)
	}
	return ids
}

// wantList fails the test unless a queue holds exactly these ids in this order.
func (v *vault) wantList(queue string, want ...string) {
	v.t.Helper()
	if got := v.list(queue); !slices.Equal(got, want) {
		v.t.Errorf("queue %s: got %q, want %q", queue, got, want)
	}
}

// status is one job's status, "" without a hash.
func (v *vault) status(id string) string {
	v.t.Helper()
	s, _ := v.s.Do("HGET", "rq:job:"+id, "status").(string)
	return s
}
