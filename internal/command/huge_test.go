package command_test

import (
	"slices"
	"testing"
)

// A payload too large to be read in one piece is a job like any other.
func TestAJobOfManyMegabytes(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	fill := `
q = queue('q')
q.enqueue('tasks.note', job_id='first')
q.enqueue('tasks.note', os.urandom(20 << 20), job_id='random')
q.enqueue('tasks.note', 'x' * (20 << 20), description='d', job_id='even')
q.enqueue('tasks.note', job_id='plain', meta={'m': 'm' * (20 << 20)}) # compressed in a dump
q.enqueue('tasks.note', os.urandom(20 << 20), description='d' * (12 << 20), job_id='described')
q.enqueue('tasks.note', job_id='last')
`
	ids := []string{"first", "random", "even", "plain", "described", "last"}
	for _, via := range []string{"bgsave", "sync", "scan"} {
		v.s.Do("FLUSHALL")
		v.rq(fill)
		v.want(0, "backup", "--via", via)
		v.want(0, "verify")
		v.s.Do("FLUSHALL")
		for i, live := range []string{"scan", "sync"} {
			d := v.restore(0, "--via", live)
			if want := slices.Sorted(slices.Values(ids)); i == 0 && !slices.Equal(d.with("restored"), want) {
				t.Errorf("%s: restored %q, want %q", via, d.with("restored"), want)
			} else if i == 1 && len(d.Outcomes) > 0 {
				t.Errorf("%s: again, by %s: %+v", via, live, d.Outcomes)
			}
		}
		v.wantList("q", ids...)
		v.rq(`work('q')`)
		if ran := v.ran(); len(ran) != len(ids) {
			t.Errorf("%s: ran %q", via, ran)
		}
	}
}
