package command_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestOnlyWhatIsSelectedIsRestored(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for n in ('a1', 'a2', 'a3'): queue('a').enqueue('tasks.note', job_id=n)
for n in ('b1', 'b2'): queue('b').enqueue('tasks.note', job_id=n)
queue('a').enqueue_in(timedelta(hours=1), 'tasks.note', job_id='later')
queue('b').enqueue('tasks.note', job_id='canceled').cancel()
c.set('session:1', 'x'); c.set('session:2', 'y', ex=500); c.set('cache:1', 'z'); c.set('session:gone', 'y', ex=1)
`)
	v.backup()
	for _, c := range []struct {
		args, want []string
	}{
		{[]string{"--queue", "b"}, []string{"b1", "b2", "canceled"}},
		{[]string{"--queue", "a", "--status", "queued"}, []string{"a1", "a2", "a3"}},
		{[]string{"--status", "scheduled", "--status", "canceled"}, []string{"canceled", "later"}},
		{[]string{"--job", "a2", "--job", "b1"}, []string{"a2", "b1"}},
		{[]string{"--job", "a2", "--queue", "b"}, []string{}},
		{[]string{"--keys", "session:[0-9]"}, []string{"session:1", "session:2"}},
		{[]string{"--keys", "cache:*", "--keys", "session:1"}, []string{"cache:1", "session:1"}},
	} {
		v.s.Do("FLUSHALL")
		d := v.restore(0, c.args...)
		if got := d.with("restored"); !slices.Equal(got, c.want) {
			t.Errorf("%v: restored %q, want %q", c.args, got, c.want)
		}
		if n := d.Counts["restored"]; n != len(c.want) || len(d.Outcomes) != n {
			t.Errorf("%v: counts %v and %d outcomes, want %d", c.args, d.Counts, len(d.Outcomes), len(c.want))
		}
	}
	// A part first and the rest later come out in the snapshot's order.
	v.s.Do("FLUSHALL")
	v.restore(0, "--job", "a2")
	v.restore(0)
	v.wantList("a", "a1", "a2", "a3")
	v.restore(0, "--keys", "*")
	v.s.Do("SET", "session:1", "newer")
	v.restore(0, "--keys", "*")
	if got := v.s.Do("GET", "session:1"); got != "newer" {
		t.Errorf("a key that exists was overwritten: %v", got)
	}
}

func TestAPlanIsFollowedAsItWasReviewed(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for i in range(4): queue('q').enqueue('tasks.note', '` + marker + `', i, job_id='o%d' % i, meta={'m': '` + marker + `'})
`)
	v.backup()
	v.s.Do("FLUSHALL")
	plan := v.store + ".json"
	v.diff(3, "--queue", "q", "--out", plan)
	text, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte(marker)) {
		t.Error("the plan holds a payload")
	}
	if info, err := os.Stat(plan); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the plan's rights: %v %v, want 0600", info.Mode(), err)
	}
	// What happens between review and apply.
	v.rq(`queue('q').enqueue('tasks.note', 'other', job_id='o1')`)
	r := v.want(0, "restore", "--plan", plan)
	if !strings.Contains(r.out, "dry run") || v.status("o0") != "" {
		t.Errorf("without --apply the plan was carried out:\n%s", r.out)
	}
	d := v.restore(6, "--plan", plan)
	if got := d.with("refused"); !slices.Equal(got, []string{"o1"}) {
		t.Errorf("refused %q, want o1, which has changed since", got)
	}
	if got := d.with("restored"); !slices.Equal(got, []string{"o0", "o2", "o3"}) {
		t.Errorf("restored %q, want o0, o2, o3", got)
	}
	v.wantList("q", "o0", "o2", "o3", "o1")
	digest := v.s.Digest(t.Context())
	if d := v.restore(6, "--plan", plan); d.Counts["restored"] > 0 || v.s.Digest(t.Context()) != digest {
		t.Errorf("the plan carried out twice did %v", d.Counts)
	}

	for what, change := range map[string]func([]byte) []byte{
		"a job's action": func(b []byte) []byte { return bytes.Replace(b, []byte(`"restore"`), []byte(`"place"`), 1) },
		"a space":        func(b []byte) []byte { return bytes.Replace(b, []byte(`": `), []byte(`":  `), 2) },
		"its end":        func(b []byte) []byte { return b[:len(b)-40] },
		"all of it":      func([]byte) []byte { return nil },
		"its form": func(b []byte) []byte {
			var doc map[string]any
			if err := json.Unmarshal(b, &doc); err != nil {
				t.Fatal(err)
			}
			out, _ := json.Marshal(doc)
			return out
		},
	} {
		edited := v.store + "-edited.json"
		if err := os.WriteFile(edited, change(bytes.Clone(text)), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := v.run("restore", "--plan", edited, "--apply"); r.code != 2 || !strings.Contains(r.err, "next: ") {
			t.Errorf("a plan with %s changed: exit %d, want 2 with a next step\n%s", what, r.code, r.err)
		}
	}

	v.s.Restart(true)
	r = v.want(7, "restore", "--plan", plan, "--apply")
	if !strings.Contains(r.err, "restarted") || v.s.Do("DBSIZE") != int64(0) {
		t.Errorf("a plan for a process that is gone: %s", r.err)
	}
}
