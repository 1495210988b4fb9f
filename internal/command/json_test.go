package command_test

import (
	"maps"
	"slices"
	"testing"
)

// wantFields fails the test unless an object has all these fields. More are allowed:
// fields are only ever added.
func wantFields(t testing.TB, what string, object any, fields ...string) map[string]any {
	t.Helper()
	m, ok := object.(map[string]any)
	if !ok {
		t.Fatalf("%s is no object: %v", what, object)
	}
	for _, f := range fields {
		if _, ok := m[f]; !ok {
			t.Errorf("%s has no %q, only %q", what, f, slices.Sorted(maps.Keys(m)))
		}
	}
	return m
}

// firstOf fails the test unless v is a list of that length, and returns its first element.
func firstOf(t testing.TB, what string, v any, length int) any {
	t.Helper()
	l, ok := v.([]any)
	if !ok || len(l) != length {
		t.Fatalf("%s: got %v, want a list of %d", what, v, length)
	}
	if length == 0 {
		return nil
	}
	return l[0]
}

func (v *vault) document(code int, args ...string) any {
	v.t.Helper()
	var doc any
	v.want(code, append(args, "--json")...).into(v.t, &doc)
	return doc
}

func TestJSONDocumentsKeepTheirPromise(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
queue('q').enqueue('tasks.note', '` + marker + `', job_id='a')
queue('q').enqueue('tasks.note', job_id='b')
c.set('session', '` + marker + `')
`)
	manifest := []string{"format", "id", "source", "created_at", "finished_at", "tool_version", "via", "atomic", "dump", "counts",
		"registered_queues", "objects", "lineage", "warnings"}
	saved := wantFields(t, "backup", v.document(0, "backup"), manifest...)
	shown := wantFields(t, "show", v.document(0, "show"), manifest...)
	if saved["id"] != shown["id"] {
		t.Errorf("backup says %v, show %v", saved["id"], shown["id"])
	}
	wantFields(t, "counts of a manifest", saved["counts"], "keys", "jobs", "rows", "by_kind", "by_db", "by_status", "by_queue", "unknown")

	row := []string{"id", "source", "created_at", "via", "jobs", "keys", "size", "stored_size", "verified_at"}
	s := wantFields(t, "snapshots", firstOf(t, "snapshots", v.document(0, "snapshots"), 1), row...)
	if s["verified_at"] != nil || s["jobs"] != 2.0 || s["keys"] != 5.0 {
		t.Errorf("snapshots: %v, want 2 jobs, 5 keys, never verified", s)
	}
	r := wantFields(t, "verify", firstOf(t, "verify", v.document(0, "verify"), 1), "snapshot", "source", "ok", "bytes", "seconds", "problems")
	if r["ok"] != true {
		t.Errorf("verify: %v", r)
	}
	if s := wantFields(t, "snapshots", firstOf(t, "snapshots", v.document(0, "snapshots"), 1), row...); s["verified_at"] == nil {
		t.Error("snapshots: verified_at is null after a verify")
	}
	j := wantFields(t, "jobs", firstOf(t, "jobs", v.document(0, "jobs", "--id", "a"), 1), "db", "job_id", "queue", "status", "exists", "func",
		"created_at", "enqueued_at", "started_at", "ended_at", "expire_at", "places")
	if j["func"] != "tasks.note" || j["started_at"] != nil {
		t.Errorf("jobs: %v", j)
	}

	v.s.Do("FLUSHALL")
	d := wantFields(t, "diff", v.document(3, "diff"), "snapshot", "mode", "reasons", "policy", "counts", "findings")
	verdicts := []string{"intact", "advanced", "completed", "expired", "lost", "regressed", "misplaced", "in_flight", "uncertain", "new"}
	if c := wantFields(t, "counts of diff", d["counts"], verdicts...); c["lost"] != 2.0 || len(c) != len(verdicts) {
		t.Errorf("diff counts %v", c)
	}
	f := wantFields(t, "finding", firstOf(t, "findings", d["findings"], 2), "db", "job_id", "queue", "status", "verdict", "action", "reason")
	if f["job_id"] != "a" || f["verdict"] != "lost" || f["action"] != "restore" {
		t.Errorf("finding: %v", f)
	}

	for _, apply := range []bool{false, true} {
		args := []string{"restore"}
		if apply {
			args = append(args, "--apply")
		}
		d := wantFields(t, "restore", v.document(0, args...), "snapshot", "applied", "mode", "counts", "outcomes")
		c := wantFields(t, "counts of restore", d["counts"], "restored", "repaired", "skipped", "held", "failed")
		if d["applied"] != apply || c["restored"] != 2.0 {
			t.Errorf("restore: applied %v, %v", d["applied"], c)
		}
		wantFields(t, "outcome", firstOf(t, "outcomes", d["outcomes"], 2), "db", "job_id", "queue", "action", "result", "reason")
	}
	d = wantFields(t, "restore --keys", v.document(0, "restore", "--keys", "*", "--apply"), "outcomes")
	if o := wantFields(t, "outcome", firstOf(t, "outcomes", d["outcomes"], 1), "key", "result"); o["key"] != "session" {
		t.Errorf("outcome of a key: %v", o)
	}
	d = wantFields(t, "diff", v.document(0, "diff"), "findings")
	firstOf(t, "findings when all is well", d["findings"], 0)
	d = wantFields(t, "restore", v.document(0, "restore"), "outcomes")
	firstOf(t, "outcomes when all is well", d["outcomes"], 0)
	d = wantFields(t, "prune", v.document(0, "prune"), "source", "policy", "applied", "frozen", "snapshots", "leftovers")
	firstOf(t, "leftovers of prune", d["leftovers"], 0)
}

// Nothing of a payload may be printed, whatever command looks at the jobs.
func TestNoPayloadIsEverPrinted(t *testing.T) {
	t.Parallel()
	v := newVault(t) // whose run looks at all output
	fill(t, v, 0)
	v.backup()
	v.s.Do("FLUSHALL")
	plan := v.store + ".json"
	for _, args := range [][]string{{"show"}, {"show", "--json"}, {"jobs"}, {"jobs", "--json"}, {"verify"}, {"snapshots"},
		{"diff", "--out", plan}, {"diff", "--json"}, {"show", plan}, {"show", plan, "--json"}, {"restore"}, {"restore", "--json"},
		{"restore", "--keys", "*"}, {"restore", "--apply"}, {"restore", "--apply", "--json"}, {"restore", "--keys", "*", "--apply"}} {
		if r := v.run(args...); r.code != 0 && r.code != 3 {
			t.Errorf("%v: exit %d\n%s", args, r.code, r.err)
		}
	}
}
