package restore

import (
	"slices"
	"strings"

	"rqvault/internal/job"
	"rqvault/verify"
)

// task is a step of a plan on its way, and what is noted of it: the plan may be used by
// others.
type task struct {
	*Step
	found  bool // the snapshot has the job
	placed bool // its id stands in its queue already
	others bool // and no run of a restore put it there
}

// anew changes the step of this run only.
func (t *task) anew(change func(s *Step)) {
	s := *t.Step
	change(&s)
	t.Step = &s
}

// tasks are the steps of a plan about jobs that are acted on, in the order of the index.
type tasks struct {
	all  []task
	next int // where at goes on
}

func newTasks(steps []Step, hold func(*Step)) *tasks {
	n := 0
	for i := range steps {
		if s := &steps[i]; s.Key == "" && s.Action != verify.Hold {
			n++
		}
	}
	t := &tasks{all: make([]task, 0, n)}
	for i := range steps {
		switch s := &steps[i]; {
		case s.Key != "":
		case s.Action == verify.Hold:
			hold(s)
		default:
			t.all = append(t.all, task{Step: s})
		}
	}
	slices.SortFunc(t.all, func(a, b task) int { return a.compare(b.DB, b.JobID) })
	return t
}

func (t *task) compare(db int32, id string) int {
	if t.DB != db {
		return int(t.DB) - int(db)
	}
	return strings.Compare(t.JobID, id)
}

// of returns the task about a job, nil for none.
func (t *tasks) of(db int32, id string) *task {
	at, ok := slices.BinarySearchFunc(t.all, id, func(x task, id string) int { return x.compare(db, id) })
	if !ok {
		return nil
	}
	return &t.all[at]
}

// at returns the task about a row, nil for none, where rows come in the order of the index.
func (t *tasks) at(row *job.Row) *task {
	for t.next < len(t.all) {
		x := &t.all[t.next]
		order := x.compare(row.DB, row.ID)
		if order > 0 {
			return nil
		}
		t.next++
		if order == 0 {
			return x
		}
	}
	return nil
}

// dbs lists the databases that there are tasks for, ascending.
func (t *tasks) dbs() []int32 {
	var dbs []int32
	for i := range t.all {
		if n := len(dbs); n == 0 || dbs[n-1] != t.all[i].DB {
			dbs = append(dbs, t.all[i].DB)
		}
	}
	return dbs
}
