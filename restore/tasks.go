package restore

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"rqvault/internal/job"
	"rqvault/verify"
)

// task is a step of a plan on its way, and what is noted of it: the plan may be used by
// others.
type task struct {
	*Step
	prefix uint64 // the first bytes of the job's id, which tell most apart without a look at the step
	db     int32
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
			t.all = append(t.all, task{Step: s, db: s.DB, prefix: prefix(s.JobID)})
		}
	}
	slices.SortFunc(t.all, func(a, b task) int {
		if c := a.roughly(b.db, b.prefix); c != 0 {
			return c
		}
		return strings.Compare(a.JobID, b.JobID)
	})
	return t
}

// prefix is a number of which the order is that of the ids, where it tells them apart.
func prefix(id string) uint64 {
	var b [8]byte
	copy(b[:], id)
	return binary.BigEndian.Uint64(b[:])
}

// roughly compares a task with a job of which the database and the prefix are known.
func (t *task) roughly(db int32, prefix uint64) int {
	return cmp.Or(cmp.Compare(t.db, db), cmp.Compare(t.prefix, prefix))
}

func (t *task) compare(db int32, id string) int {
	if c := t.roughly(db, prefix(id)); c != 0 {
		return c
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
