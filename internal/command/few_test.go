package command_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// lookedAlone is what a comparison says that has looked at the jobs asked for alone.
const lookedAlone = "nothing was looked at but the jobs asked for"

// alike fails the test unless jobs that are compared alone get the verdicts that they get
// with everything in view, and the same plan: one by one, and together. It returns in how
// many comparisons they were alone. Whoever calls diff does so too.
func (v *vault) alike(d diffDoc, args []string) int {
	v.t.Helper()
	var own []string // of the flags, those that have a say in verdicts
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--assume", "--job", "--out", "--report", "--queue", "--status", "--via":
			i++
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
	sets := [][]string{}
	for _, id := range ids {
		sets = append(sets, []string{id})
	}
	if len(ids) > 1 {
		sets = append(sets, ids)
	}
	n := 0
	for _, set := range sets {
		if v.alikeFor(set, own) {
			n++
		}
	}
	return n
}

// alikeFor compares some jobs in both ways, and reports whether one of them was alone.
func (v *vault) alikeFor(ids, args []string) bool {
	v.t.Helper()
	both := [2]map[string]any{}
	plans := [2]map[string]any{}
	for i, via := range []string{"sync", "scan"} {
		plan := fmt.Sprintf("%s-%s.json", v.store, via)
		line := append([]string{"diff", "--json", "--assume", "older", "--via", via, "--out", plan}, args...)
		for _, id := range ids {
			line = append(line, "--job", id)
		}
		r := v.run(line...)
		if r.code != 0 && r.code != 3 {
			both[i] = map[string]any{"code": r.code}
			continue
		}
		r.into(v.t, &both[i])
		v.want(0, "show", plan, "--json").into(v.t, &plans[i])
	}
	reasons, _ := json.Marshal(both[1]["reasons"])
	alone := strings.Contains(string(reasons), lookedAlone)
	for i := range both {
		delete(both[i], "reasons")
		for _, changes := range []string{"lineage", "created_at", "settled", "digest"} {
			delete(plans[i], changes)
		}
	}
	if !reflect.DeepEqual(both[0], both[1]) || !reflect.DeepEqual(plans[0], plans[1]) {
		for _, x := range []any{both[0], both[1], plans[0], plans[1]} {
			b, _ := json.Marshal(x)
			v.t.Logf("%s", b)
		}
		v.t.Errorf("jobs %q: compared alone (%t) they are other than in everything", ids, alone)
	}
	return alone
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
